"""The n-grams of `grams` inside a graph, in integer arithmetic, and their mean vectors.

Few nodes: at 16 tokens a node's overhead costs more than its arithmetic. What is left out gets row 0 of the table,
which holds zeros, so no product with a mask runs over whole vectors; the table's last column counts what is known.
"""

import numpy as np
from numpy.typing import NDArray

from trivet.variants.learned.grams import Grams
from trivet.variants.learned.graph import GraphWriter
from trivet.variants.learned.reading import Ids


class GramGraph:
    """Writes the nodes for one integer input into a graph."""

    def __init__(self, graph: GraphWriter, sequence: Ids, grams: Grams) -> None:
        self._graph, self._sequence, self._grams = graph, sequence, grams
        small = np.dtype(sequence.dtype).itemsize <= 4 and sequence.dtype != "uint32" and grams.fits_int32
        self._dtype = np.dtype(np.int32 if small else np.int64)
        self._leaves_out = sequence.mask is not None or grams.pad is not None

    def tokens(self) -> str:
        """As `grams.tokens`."""
        graph, sequence = self._graph, self._sequence
        ids = (
            sequence.name
            if np.dtype(sequence.dtype) == self._dtype
            else graph.cast(sequence.name, self._dtype)
        )
        kept = graph.add("Add", graph.add("Mod", ids, self._number(self._grams.vocabulary)), self._number(1))
        zero = self._number(0)
        if sequence.mask is not None:
            mask = sequence.mask if sequence.mask_dtype == "bool" else graph.cast(sequence.mask, np.bool_)
            kept = graph.add("Where", mask, kept, zero)
        if self._grams.pad is None:
            return kept
        return graph.add("Where", graph.add("Equal", ids, self._number(self._grams.pad)), zero, kept)

    def rows(self, kept: str) -> str:
        """As `grams.gram_rows`, with one more that is left out where requests choose their length; one block has no axis."""
        grams, graph = self._grams, self._graph
        if grams.blocks > 1 and grams.width is not None:
            shape = [-1, grams.blocks, grams.width // grams.blocks]
            kept = graph.add("Reshape", kept, graph.constant(shape, np.int64))
        found = [self._rows_of(kept, n) for n in grams.ngrams]
        rows = found[0] if len(found) == 1 else graph.add("Concat", *found, axis=-1)
        if grams.width is not None:
            return rows
        # One more that is left out: a request may be shorter than every n-gram, and onnxruntime cannot sum up nothing.
        return graph.add("Pad", rows, graph.constant([0, 0, 0, 1], np.int64))

    def head_rows(self, kept: str) -> str:
        """As `grams.head_rows`."""
        grams, graph = self._grams, self._graph
        head = graph.part(kept, 0, grams.head)
        places = grams.head_offset + grams.vocabulary * np.arange(grams.head)
        rows = graph.add("Add", head, graph.constant(places, self._dtype))
        return self._where(head, rows) if self._leaves_out else rows

    def pooled(self, table: NDArray[np.float32], known: NDArray[np.bool_]) -> str:
        """The mean vector of the known n-grams of each slot, shape (rows, slots * vector); zeros where there are none.

        Args: table: shape (rows of the table, vector); zeros where not known.  known: of its rows; not of row 0.
        """
        grams, graph = self._grams, self._graph
        vector = table.shape[1]
        counted = np.concatenate([table, known[:, None].astype(np.float32)], axis=1)
        name = graph.constant(counted, np.float32)
        kept = self.tokens()
        means = [self._mean(name, self.rows(kept), vector, blocks=grams.blocks)]
        if grams.head:
            means.append(self._mean(name, self.head_rows(kept), vector, blocks=1))
        return means[0] if len(means) == 1 else graph.add("Concat", *means, axis=-1)

    def _mean(self, table: str, rows: str, vector: int, *, blocks: int) -> str:
        graph = self._graph
        vectors = graph.add("Gather", table, rows, axis=0)
        axis = graph.constant([-2], np.int64)
        sums = graph.add("ReduceSum", vectors, axis, keepdims=0)
        count = graph.add("Max", graph.part(sums, vector, None), graph.constant(1, np.float32))
        mean = graph.add("Div", graph.part(sums, 0, vector), count)
        if blocks == 1:
            return mean
        return graph.add("Reshape", mean, graph.constant([-1, blocks * vector], np.int64))

    def _rows_of(self, kept: str, n: int) -> str:
        grams, graph = self._grams, self._graph
        if n == 1:
            if grams.offset(1) == 0:
                return kept
            rows = graph.add("Add", kept, self._number(grams.offset(1)))
            return self._where(kept, rows) if self._leaves_out else rows
        parts = [graph.part(kept, j, j - n + 1 if j < n - 1 else None) for j in range(n)]
        total = parts[0]
        for part, multiplier in zip(parts[1:], grams.multipliers(n)[1:], strict=True):
            total = graph.add("Add", total, graph.add("Mul", part, self._number(multiplier)))
        number = graph.add("Mod", total, self._number(grams.buckets))
        rows = graph.add("Add", number, self._number(grams.offset(n)))
        return self._where(graph.add("Min", *parts), rows) if self._leaves_out else rows

    def _where(self, kept: str, rows: str) -> str:
        """0 where nothing is kept."""
        return self._graph.add("Where", self._graph.cast(kept, np.bool_), rows, self._number(0))

    def _number(self, value: int) -> str:
        return self._graph.constant(value, self._dtype)
