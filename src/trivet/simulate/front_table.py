"""What was measured for caches and tables before a pipeline: which inputs are equal, what they mean, what a hit costs."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

NO_MEANING = -1  # of an answer that equals no other


class SemanticTable(msgspec.Struct, frozen=True, kw_only=True):
    """One entry an input, in the order of the inputs.

    texts: that are compared; empty: the semantic cache is not asked about this one.
    meanings: of the pipeline's own answers: equal numbers mean the same; NO_MEANING: nothing that could be compared.
    vectors: of the texts, float16, shape (n, size), each of length 1 or 0.
    """

    texts: tuple[str, ...]
    meanings: tuple[int, ...]
    size: int
    vectors: bytes

    def similarities(self) -> NDArray[np.float32]:
        """Cosines of all texts with each other, shape (n, n)."""
        vectors = np.frombuffer(self.vectors, np.float16).reshape(-1, self.size).astype(np.float32)
        found: NDArray[np.float32] = np.minimum(vectors @ vectors.T, 1.0)
        return found


class FrontTable(msgspec.Struct, frozen=True, kw_only=True):
    """Of the measured inputs of a service, in the order of its data.

    keys: equal numbers where inputs are equal.  entry_bytes: of a kept answer or stage, on average.
    hit_ns: of the event loop, for a request that the exact cache answers, all of it.
    miss_ns: of the event loop, for looking up in vain and keeping the answer.
    semantic_ns: of the event loop, for a request that the semantic cache is asked about; empty: not measured.
    semantic: None: `why_not_semantic` says why its hits cannot be told.
    of: what it was measured of (the data and the pipeline): of another it says nothing.
    tabled: configuration -> for each input whether its table of precomputed answers has it.
    """

    keys: tuple[int, ...]
    entry_bytes: int
    hit_ns: list[int] = []
    miss_ns: list[int] = []
    semantic_ns: list[int] = []
    semantic: SemanticTable | None = None
    why_not_semantic: str = "not asked for"
    tabled: dict[str, list[bool]] = {}
    of: str = ""

    @property
    def num_inputs(self) -> int:
        return len(self.keys)

    @property
    def all_bytes(self) -> int:
        """What every input's answer takes together."""
        return self.entry_bytes * len(set(self.keys))
