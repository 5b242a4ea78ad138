"""Which rows of bytes are nearly the same: MinHash signatures find candidates, the shingles themselves decide.

Broder, «On the resemblance and containment of documents», 1997.
"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SHINGLE = 4  # bytes
SIMILAR = 0.8  # Jaccard similarity of the shingles from which two rows are the same
_BANDS, _ROWS = 16, 4  # of a signature: of rows as similar as 0.8 a share of 0.9998 meets in some band


def first_of_each(features: Sequence[NDArray[np.int32]], seed: int = 0) -> list[int]:
    """Places of the rows that no earlier kept row resembles, ascending. `features`: of one length each."""
    rng = np.random.default_rng(seed)
    factors = rng.integers(1, 1 << 31, _BANDS * _ROWS, dtype=np.uint64) | np.uint64(1)
    offsets = rng.integers(0, 1 << 63, _BANDS * _ROWS, dtype=np.uint64)
    kept: list[int] = []
    shingles_of: dict[int, NDArray[np.uint64]] = {}
    bands: dict[tuple[int, bytes], list[int]] = defaultdict(list)
    for place, row in enumerate(features):
        shingles = _shingles(row)
        signature = _signature(shingles, factors, offsets)
        keys = [(band, signature[band * _ROWS : (band + 1) * _ROWS].tobytes()) for band in range(_BANDS)]
        candidates = {other for key in keys for other in bands[key]}
        if any(_similarity(shingles, shingles_of[other]) >= SIMILAR for other in candidates):
            continue
        kept.append(place)
        shingles_of[place] = shingles
        for key in keys:
            bands[key].append(place)
    return kept


def _shingles(row: NDArray[np.int32]) -> NDArray[np.uint64]:
    """The different runs of SHINGLE values, sorted."""
    values = row.astype(np.uint64)
    runs = np.zeros(len(values) - SHINGLE + 1, np.uint64)
    for offset in range(SHINGLE):
        runs = runs * np.uint64(257) + values[offset : offset + len(runs)]
    return np.unique(runs)


def _signature(
    shingles: NDArray[np.uint64], factors: NDArray[np.uint64], offsets: NDArray[np.uint64]
) -> NDArray[np.uint64]:
    with np.errstate(over="ignore"):  # modulo 2**64, as wanted
        hashed = shingles[:, None] * factors + offsets
        hashed ^= hashed >> np.uint64(29)
        hashed *= np.uint64(0xBF58476D1CE4E5B9)
        hashed ^= hashed >> np.uint64(32)
    smallest: NDArray[np.uint64] = hashed.min(axis=0)
    return smallest


def _similarity(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> float:
    shared = len(np.intersect1d(a, b, assume_unique=True))
    return shared / (len(a) + len(b) - shared)
