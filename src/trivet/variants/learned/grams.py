"""Hashed n-grams of integer sequences, in numpy: the reference for what `gram_graph` computes inside a model.

Ids are taken modulo `vocabulary` and counted from 1; 0 stands for a position that is left out. An n-gram with such a
position in it is left out as well, so padding never changes an answer. n-gram number h has the row `offset + h` of one
table; row 0 is for what is left out, and holds zeros.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Knuth's multiplier, the golden ratio of 2^32. Modulo a prime, h = sum of x_j m^j sends two n-grams to one row with a
# probability of (n - 1) / prime over all m (Carter & Wegman 1979).
_MULTIPLIER = 2_654_435_761
_INT32_END = 1 << 31
LARGEST_VOCABULARY = 1 << 16  # larger ids share rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Grams:
    """Which n-grams are counted, and where.

    vocabulary: ids are taken modulo it.  ngrams: lengths; 1 needs no hashing.  buckets: rows for each n over 1, a prime.
    width: positions of a row where all rows have as many, else None.  blocks: equal parts of them, pooled apart.
    head: first positions that have rows of their own.  pad: the id that fills up short rows, left out; None: none.
    """

    vocabulary: int
    ngrams: tuple[int, ...] = (1, 2)
    buckets: int = 16381
    width: int | None = None
    blocks: int = 1
    head: int = 0
    pad: int | None = None

    @property
    def slots(self) -> int:
        """Vectors that a row is pooled to: one for each block, and one for the head."""
        return self.blocks + (self.head > 0)

    def offset(self, n: int) -> int:
        """What is added to an n-gram's number (which counts from 1 for n = 1, else from 0) to get its row of the table."""
        offset = 0
        for other in self.ngrams:
            if other == n:
                return offset + (n > 1)
            offset += self.vocabulary if other == 1 else self.buckets
        return offset

    @property
    def head_offset(self) -> int:
        return self.offset(0)  # after all n-grams

    @property
    def num_rows(self) -> int:
        """Rows of the table."""
        return self.head_offset + self.head * self.vocabulary + 1

    def multipliers(self, n: int) -> list[int]:
        """Of the positions of an n-gram; the first is 1."""
        return [pow(_MULTIPLIER, j, self.buckets) for j in range(n)]

    @property
    def fits_int32(self) -> bool:
        """No sum of products leaves 32 bits."""
        return max(self.ngrams) * (self.vocabulary + 1) * self.buckets < _INT32_END


def tokens(ids: NDArray[Any], mask: NDArray[Any] | None, grams: Grams) -> NDArray[np.int64]:
    """Shape as `ids`: 1 .. vocabulary, and 0 for positions that are left out.

    Args: ids: shape (rows, positions), any integers.  mask: the same shape, or None; zero (or False) leaves out.
    """
    kept = np.mod(ids.astype(np.int64), grams.vocabulary) + 1
    if mask is not None:
        kept = np.where(mask.astype(bool), kept, 0)
    return kept if grams.pad is None else np.where(ids == grams.pad, 0, kept)


def gram_rows(kept: NDArray[np.int64], grams: Grams) -> NDArray[np.int64]:
    """Rows of the table of all n-grams, shape (rows, blocks, n-grams of a block); 0: left out.

    Args: kept: as from `tokens`, shape (rows, positions); positions a multiple of `blocks`.
    """
    blocks = kept.reshape(len(kept), grams.blocks, kept.shape[1] // grams.blocks)
    return np.concatenate([_rows_of(blocks, n, grams) for n in grams.ngrams], axis=-1)


def head_rows(kept: NDArray[np.int64], grams: Grams) -> NDArray[np.int64]:
    """Rows of the table of the first positions, shape (rows, head)."""
    head = kept[:, : grams.head]
    places = grams.head_offset + grams.vocabulary * np.arange(grams.head)
    return np.where(head > 0, head + places, 0)


def _rows_of(kept: NDArray[np.int64], n: int, grams: Grams) -> NDArray[np.int64]:
    if n == 1:
        return np.where(kept > 0, kept + grams.offset(1), 0)
    num = max(0, kept.shape[-1] - n + 1)
    parts = [kept[..., j : j + num] for j in range(n)]
    total = sum(part * multiplier for part, multiplier in zip(parts, grams.multipliers(n), strict=True))
    rows = np.mod(total, grams.buckets) + grams.offset(n)
    return np.where(np.minimum.reduce(parts) > 0, rows, 0)


def fill_of(rows: Sequence[NDArray[Any]], *, share: float = 0.05) -> int | None:
    """The id that rows of one width are filled up with: it stands alone in an eighth of the positions at one end of at
    least a `share` of the rows. None: there is no such id.

    Args: rows: each of shape (positions,).
    """
    ends = []
    for row in rows:
        run = max(1, len(row) // 8)
        ends += [int(part[0]) for part in (row[:run], row[-run:]) if run > 1 and (part == part[0]).all()]
    values, counts = np.unique(np.array(ends, np.int64), return_counts=True)
    if len(values) == 0 or counts.max() < share * len(rows):
        return None
    return int(values[counts.argmax()])


def vocabulary_of(largest: int) -> int:
    """A power of two beyond all ids that were seen: those that were not yet seen hardly meet others."""
    return min(LARGEST_VOCABULARY, 1 << max(1, largest.bit_length()))


def prime_below(number: int) -> int:
    """The largest prime at most `number`, which is at least 2."""
    while any(number % divisor == 0 for divisor in range(2, int(number**0.5) + 1)):
        number -= 1
    return number
