"""fp16 instead of fp32, where the processor computes in it."""

from pathlib import Path
from typing import Any, ClassVar

import msgspec

from trivet.variants import processor
from trivet.variants._models import MODEL_FILE, onnx_package, read_model, write_model
from trivet.variants.builder import Built, Say
from trivet.variants.errors import VariantError
from trivet.variants.source import Source


class Fp16(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Weights and sums in fp16; inputs and outputs stay as they are.

    anyway: also where the processor has no such instructions.
    """

    name: ClassVar[str] = "fp16"
    answers_change: ClassVar[bool] = True
    anyway: bool = False

    def applies(self, source: Source) -> str:
        return "" if self.anyway else processor.lacks(processor.FP16)

    def build(self, source: Source, folder: Path, say: Say) -> Built:
        from onnxruntime.transformers.float16 import convert_float_to_float16

        model = read_model(source.path)
        if not _float_weights(model):
            raise VariantError("the model has no fp32 weights to store in 16 bits")
        write_model(convert_float_to_float16(model, keep_io_types=True), folder / MODEL_FILE)
        return Built((MODEL_FILE,))


def _float_weights(model: Any) -> list[Any]:
    float32 = onnx_package().TensorProto.FLOAT
    return [tensor for tensor in model.graph.initializer if tensor.data_type == float32]
