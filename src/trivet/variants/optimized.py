"""The graph as onnxruntime rewrites it: constants folded, nodes fused. The same answers."""

from pathlib import Path
from typing import ClassVar, Literal

import msgspec

from trivet.variants._models import MODEL_FILE, read_model, write_model
from trivet.variants._session import rewritten
from trivet.variants.builder import Built, Say
from trivet.variants.errors import VariantError
from trivet.variants.source import Source


class Optimized(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """level: onnxruntime's own levels; `all` lays tensors out for this processor, and others may be slower with it."""

    name: ClassVar[str] = "optimized"
    answers_change: ClassVar[bool] = False
    level: Literal["basic", "extended", "all"] = "extended"

    def applies(self, source: Source) -> str:
        return (
            "" if source.declared.engine == "onnxruntime" else "onnxruntime's rewriting is for its own engine"
        )

    def build(self, source: Source, folder: Path, say: Say) -> Built:
        before = [node.op_type for node in read_model(source.path).graph.node]
        draft = folder / "draft.onnx"
        rewritten(source.path, self.level, draft)
        model = read_model(draft)
        draft.unlink()
        after = [node.op_type for node in model.graph.node]
        if before == after:
            raise VariantError(f"there is nothing to rewrite in its {len(before)} nodes")
        write_model(model, folder / MODEL_FILE)
        return Built((MODEL_FILE,), (f"{len(before)} nodes became {len(after)}",))
