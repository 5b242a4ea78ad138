"""One executable form of a model, and one that could not be built: what the store keeps of each."""

from typing import Any

import msgspec

from trivet.spec.service import EngineName

ORIGINAL = "original"
SHORT_DIGEST = 12


class Variant(msgspec.Struct, frozen=True, kw_only=True):
    """Records accept unknown fields; each new one has a default.

    name: unique for a model: "original", "optimized", "int8-dynamic" ...
    model: the model of the service that it replaces.
    digest: SHA-256 of the bytes of its files, in their order; identical on rebuild.
    files: relative to its folder; the first is the model file.
    built_from: digest of the original's model file.
    settings: all that the build depended on: options, seed, digest of the rows that were used.
    answers_change: False: the same answers as the original's; it is a serving lever.
    notes: plain sentences: what was found while building.
    stages: of an early exit: the pipeline that replaces the model's stage, as service.yaml would say it.
    """

    name: str
    model: str
    digest: str
    files: tuple[str, ...]
    size_bytes: int
    engine: EngineName = "onnxruntime"
    built_from: str
    settings: dict[str, Any] = {}
    answers_change: bool = True
    notes: tuple[str, ...] = ()
    stages: tuple[dict[str, Any], ...] | None = None

    @property
    def short_digest(self) -> str:
        """What people read and type."""
        return self.digest[:SHORT_DIGEST]


class BuildFailure(msgspec.Struct, frozen=True, kw_only=True):
    """A variant that this model does not have, here: it stays on record and leaves the search.

    settings: as of a variant; other settings are another try.
    tried: False: it means nothing for the model, or not on this machine as it is; that is asked again each time.
    """

    name: str
    model: str
    reason: str
    built_from: str = ""
    settings: dict[str, Any] = {}
    tried: bool = False
