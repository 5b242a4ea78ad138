"""Rows as sparse matrices of n-grams: a text has few of them, and most of its n-grams several times."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivet.variants.learned._packages import sparse
from trivet.variants.learned.grams import Grams, gram_rows, head_rows, tokens
from trivet.variants.learned.reading import Arrays, Ids


def slots_of(rows: Sequence[Arrays], ids: Ids, grams: Grams) -> list[NDArray[np.int64]]:
    """Rows of the table of the n-grams in each slot of each row, slot by slot, row after row; without 0."""
    slots: list[NDArray[np.int64]] = []
    for row in rows:
        mask = None if ids.mask is None else row[ids.mask].reshape(1, -1)
        kept = tokens(row[ids.name].reshape(1, -1), mask, grams)
        slots += [block[block > 0] for block in gram_rows(kept, grams)[0]]
        if grams.head:
            head = head_rows(kept, grams)[0]
            slots.append(head[head > 0])
    return slots


def known_rows(slots: Sequence[NDArray[np.int64]], grams: Grams) -> NDArray[np.bool_]:
    """Rows of the table that these n-grams have: the others were never learned, and are left out of every mean."""
    known = np.zeros(grams.num_rows, np.bool_)
    for slot in slots:
        known[slot] = True
    return known


def bag_of(slots: Sequence[NDArray[np.int64]], known: NDArray[np.bool_]) -> Any:
    """A sparse matrix of shape (slots, rows of the table): the share of each known n-gram in its slot."""
    columns, shares, ends = [], [], [0]
    for slot in slots:
        found, counts = np.unique(slot[known[slot]], return_counts=True)
        columns.append(found)
        shares.append((counts / max(1, counts.sum())).astype(np.float32))
        ends.append(ends[-1] + len(found))
    parts = np.concatenate(shares), np.concatenate(columns), np.array(ends)
    return sparse("a student of sequences").csr_matrix(parts, shape=(len(slots), len(known)))
