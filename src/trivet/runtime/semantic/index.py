"""Where the nearest vectors are found."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from trivet.errors import ExtraMissingError

_CONNECTIVITY = 16
# Candidates that are kept on the way: more find more of the true neighbours and take longer (benchmarks/semantic_lookup.py).
_EXPANSION_ADD = 48
_EXPANSION_SEARCH = 16


class Index(Protocol):
    """Vectors of length 1 by key, searched by cosine."""

    def __len__(self) -> int: ...

    def add(self, key: int, vector: NDArray[np.float32]) -> None:
        """Args: key: not in use.  vector: shape (size,)."""

    def remove(self, key: int) -> None: ...

    def search(self, vector: NDArray[np.float32], num: int) -> Sequence[tuple[float, int]]:
        """(cosine, key) of up to `num` of the most similar, the most similar first; an approximate index may miss some."""


class UsearchIndex:
    """A graph of neighbours (HNSW) over vectors of 8 bits a number."""

    def __init__(self, size: int) -> None:
        """Args: size: of the vectors.  Raises: ExtraMissingError: the library is not installed."""
        # First: with numkong, which usearch loads, already there, the import of onnxruntime 1.31 crashes the process.
        import onnxruntime as _onnxruntime  # noqa: F401

        try:
            from usearch.index import Index as Graph
        except ImportError:
            raise ExtraMissingError("a semantic cache", "semantic") from None
        self._graph: Any = Graph(
            ndim=size,
            metric="cos",
            dtype="i8",
            connectivity=_CONNECTIVITY,
            expansion_add=_EXPANSION_ADD,
            expansion_search=_EXPANSION_SEARCH,
        )

    def __len__(self) -> int:
        return len(self._graph)

    def add(self, key: int, vector: NDArray[np.float32]) -> None:
        self._graph.add(key, vector, threads=1)

    def remove(self, key: int) -> None:
        self._graph.remove(key)

    def search(self, vector: NDArray[np.float32], num: int) -> Sequence[tuple[float, int]]:
        if not len(self._graph):
            return []
        found = self._graph.search(vector, num, threads=1)
        return [
            (1.0 - distance, key)
            for distance, key in zip(found.distances.tolist(), found.keys.tolist(), strict=True)
        ]
