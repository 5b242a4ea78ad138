"""Eight bits throughout: scaled as values come, or by ranges that calibration rows have shown."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

import msgspec

from trivet.variants._models import MODEL_FILE, Model, weight_names, write_model
from trivet.variants.builder import Built, Say
from trivet.variants.errors import VariantError
from trivet.variants.quantizing import (
    Form,
    Quantizer,
    Weights,
    between,
    chosen_weights,
    nothing_to_quantize,
    prepared,
    products,
)
from trivet.variants.ranges import Method, ranges_of
from trivet.variants.source import Arrays, Source

Rows = Annotated[int, msgspec.Meta(ge=1)]
Percentile = Annotated[float, msgspec.Meta(gt=50, le=100)]

NOT_ONNX = "only an ONNX model on the CPU is quantized here"


def is_onnx(source: Source) -> bool:
    return source.path.suffix == ".onnx" and source.declared.providers == ("cpu",)


class Int8Dynamic(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """weights, per_channel: as in quantizing.Quantizer; auto: int8 where the processor multiplies bytes without overflow."""

    name: ClassVar[str] = "int8-dynamic"
    answers_change: ClassVar[bool] = True
    weights: Weights = "auto"
    per_channel: bool = True

    def applies(self, source: Source) -> str:
        return "" if is_onnx(source) else NOT_ONNX

    def build(self, source: Source, folder: Path, say: Say) -> Built:
        model = quantizable(source, "dynamic")
        weights = chosen_weights(self.weights)
        nodes = products(model, "dynamic")
        made = Quantizer("dynamic", weights, self.per_channel).quantized(model, nodes)
        write_model(made, folder / MODEL_FILE)
        return Built((MODEL_FILE,), (f"{len(nodes)} products in {weights}",), {"weights": weights})


class Int8Static(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """calibration_rows: at most so many of the rows for fitting.  method: how ranges are found (see ranges.py)."""

    name: ClassVar[str] = "int8-static"
    answers_change: ClassVar[bool] = True
    calibration_rows: Rows = 200
    method: Method = "percentile"
    percentile: Percentile = 99.99
    weights: Weights = "auto"
    per_channel: bool = True

    def applies(self, source: Source) -> str:
        if not is_onnx(source):
            return NOT_ONNX
        return (
            ""
            if len(source.calibration)
            else "no rows to calibrate on: declare `data:` with columns for the inputs"
        )

    def build(self, source: Source, folder: Path, say: Say) -> Built:
        model = quantizable(source, "static")
        weights = chosen_weights(self.weights)
        rows = calibration_rows(source, self.calibration_rows)
        say(f"calibrating on {len(rows)} rows")
        ranges = ranges_of(model, activations(model), rows, self.method, self.percentile)
        nodes = products(model, "static")
        made = Quantizer("static", weights, self.per_channel, ranges).quantized(model, nodes)
        write_model(made, folder / MODEL_FILE)
        notes = (f"{len(nodes)} products in {weights}, ranges by {self.method} of {len(rows)} rows",)
        return Built((MODEL_FILE,), notes, {"weights": weights, "rows": len(rows)})


def quantizable(source: Source, form: Form) -> Model:
    """The model, prepared. Raises: VariantError: there is nothing in it to quantize."""
    model = prepared(source.path, form)
    reason = nothing_to_quantize(model, form)
    if reason:
        raise VariantError(reason)
    return model


def calibration_rows(source: Source, most: int) -> list[Arrays]:
    """Spread evenly over the rows for fitting: the data may be in an order."""
    places = spread(source.calibration, most)
    return [source.rows[place] for place in places]


def spread(places: Sequence[int], most: int) -> list[int]:
    num = len(places)
    return list(places) if num <= most else [places[i * num // most] for i in range(most)]


def activations(model: Model) -> list[str]:
    """The tensors whose ranges static form needs: what its nodes take and give, weights apart."""
    weights = weight_names(model)
    chosen = {*products(model, "static"), *between(model)}
    nodes: list[Any] = [node for node in model.graph.node if node.name in chosen]
    names = dict.fromkeys(name for node in nodes for name in (*node.input, *node.output) if name)
    return [name for name in names if name not in weights]
