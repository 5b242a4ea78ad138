"""Eight bits for OpenVINO, by NNCF: calibrated on rows of the data."""

from pathlib import Path
from typing import Any, ClassVar

import msgspec

from trivet.errors import ExtraMissingError
from trivet.variants._openvino import save
from trivet.variants._session import as_text
from trivet.variants.builder import Built, Say
from trivet.variants.errors import VariantError
from trivet.variants.int8 import NOT_ONNX, Rows, calibration_rows, is_onnx
from trivet.variants.source import Source

_MAX_REASON = 200  # its errors begin with places of its own source


class OpenVinoInt8(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """calibration_rows: at most so many of the rows for fitting."""

    name: ClassVar[str] = "openvino-int8"
    answers_change: ClassVar[bool] = True
    calibration_rows: Rows = 200

    def applies(self, source: Source) -> str:
        if not is_onnx(source):
            return NOT_ONNX
        _packages()
        return (
            ""
            if len(source.calibration)
            else "no rows to calibrate on: declare `data:` with columns for the inputs"
        )

    def build(self, source: Source, folder: Path, say: Say) -> Built:
        nncf, openvino = _packages()
        rows = calibration_rows(source, self.calibration_rows)
        say(f"calibrating on {len(rows)} rows")
        dataset = nncf.Dataset([as_text(row) for row in rows])
        try:
            made = nncf.quantize(
                openvino.Core().read_model(str(source.path)),
                dataset,
                subset_size=len(rows),
                fast_bias_correction=True,
            )
            files = save(made, folder)
        except Exception as error:  # of C++ sides and of graphs that NNCF does not know
            reason = " ".join(str(error).split())[-_MAX_REASON:]
            raise VariantError(f"NNCF cannot quantize it: {type(error).__name__}: {reason}") from None
        return Built(
            files,
            (f"calibrated on {len(rows)} rows",),
            {"rows": len(rows)},
            engine="openvino",
        )


def _packages() -> tuple[Any, Any]:
    """Raises: ExtraMissingError: one of them is not installed."""
    try:
        import nncf
        import openvino
    except ImportError:
        raise ExtraMissingError("int8 for OpenVINO", "nncf") from None
    return nncf, openvino
