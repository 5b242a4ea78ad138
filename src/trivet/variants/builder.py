"""What every builder of variants promises."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from trivet.spec.service import EngineName
from trivet.variants.source import Source

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Built:
    """What a builder has put into its folder.

    files: relative to the folder, the model file first.  notes: plain sentences.
    settings: what the build depended on beside the builder's own options.  stages: as in Variant.
    """

    files: tuple[str, ...]
    notes: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    engine: EngineName = "onnxruntime"
    stages: tuple[dict[str, Any], ...] | None = None


class Builder(Protocol):
    """Makes one kind of variant. One that is a msgspec.Struct has its fields as options in the service file, by `variants:`.

    answers_change: False promises the original's answers; whoever judges holds it to that.
    """

    @property
    def name(self) -> str: ...

    @property
    def answers_change(self) -> bool: ...

    def applies(self, source: Source) -> str:
        """Empty, or why it means nothing for this model or on this machine."""

    def build(self, source: Source, folder: Path, say: Say) -> Built:
        """Write the variant's files into the folder, which is empty. The same source gives the same bytes.

        Raises: VariantError: the model has no such variant: says why.
        """
