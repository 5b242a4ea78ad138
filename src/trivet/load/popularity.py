"""How often inputs are asked for again: evenly, or as Zipf's law has it (Zipf, 1949; of web pages Breslau et al., 1999).

Without a law every input is asked for as often as any other: of a few inputs a cache then seems to know everything. With
one, the input of rank r is asked for in proportion to 1 / r^s; what a cache gains under it can be judged.
"""

import numpy as np
from numpy.typing import NDArray

from trivet.errors import SpecError

EVEN = "even"
LARGEST_EXPONENT = 5.0
_RANKS = 7  # the purpose of the seed by which inputs get their ranks


def exponent_of(words: str) -> float:
    """Of `zipf:1.0`; 0 of `even`. Raises: SpecError: neither."""
    if words == EVEN:
        return 0.0
    kind, _, number = words.partition(":")
    try:
        exponent = float(number) if kind == "zipf" else -1.0
    except ValueError:
        exponent = -1.0
    if not 0 < exponent <= LARGEST_EXPONENT:
        raise SpecError(
            f"popularity {words!r}: expected {EVEN}, or zipf:S with a number S over 0 and at most {LARGEST_EXPONENT:g}"
        )
    return exponent


def picks(num: int, num_inputs: int, exponent: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Which input each of `num` requests carries, shape (num,).

    Which input has which rank depends on their number alone: rows of data may be sorted, and in another block or for another
    seed the same ones are popular.
    """
    if not exponent:
        return rng.integers(0, num_inputs, num)
    weights = np.arange(1, num_inputs + 1, dtype=np.float64) ** -exponent
    bounds = np.cumsum(weights)
    ranks = np.searchsorted(bounds, rng.random(num) * bounds[-1], side="right")
    of_rank = np.random.default_rng((num_inputs, _RANKS)).permutation(num_inputs)
    found: NDArray[np.int64] = of_rank[np.minimum(ranks, num_inputs - 1)]
    return found
