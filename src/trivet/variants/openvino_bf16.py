"""bf16 by OpenVINO: onnxruntime has no kernels for it on the CPU."""

from pathlib import Path
from typing import Any, ClassVar

import msgspec

from trivet.engine.openvino import PRECISION
from trivet.errors import ExtraMissingError
from trivet.variants import processor
from trivet.variants._openvino import save
from trivet.variants.builder import Built, Say
from trivet.variants.errors import VariantError
from trivet.variants.int8 import NOT_ONNX, is_onnx
from trivet.variants.source import Source


class Bf16(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The model in OpenVINO's form with a word in it that says in what the engine is to compute.

    anyway: also where the processor has no such instructions.
    """

    name: ClassVar[str] = "bf16"
    answers_change: ClassVar[bool] = True
    anyway: bool = False

    def applies(self, source: Source) -> str:
        if not is_onnx(source):
            return NOT_ONNX
        if not self.anyway and (reason := processor.lacks(processor.BF16)):
            return reason
        _package()
        return ""

    def build(self, source: Source, folder: Path, say: Say) -> Built:
        try:
            model = _package().Core().read_model(str(source.path))
        except RuntimeError as error:  # what its C++ side raises
            raise VariantError(f"OpenVINO cannot read it: {error}") from None
        model.set_rt_info("bf16", PRECISION)
        return Built(save(model, folder), ("products in bf16",), engine="openvino")


def _package() -> Any:
    """Raises: ExtraMissingError: it is not installed."""
    try:
        import openvino
    except ImportError:
        raise ExtraMissingError("bf16", "openvino") from None
    return openvino
