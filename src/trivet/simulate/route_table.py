"""What a route makes of the same inputs at any ease: how easy each is, and which of the two models is right, together."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray


class RouteTable(msgspec.Struct, frozen=True, kw_only=True):
    """One entry an input, in the same order everywhere: who is easy and who is answered right together is kept.

    ease: of each input, by the router.  first, last: places of the two models in the pipeline.
    right: by the place of the model that answers, the metric's value of what comes out; empty: there are no labels, the
        metric has no value of one row, or a model is another server's.
    decide_ns: what the router took for each, in the event loop.
    """

    ease: list[float]
    right: dict[int, list[float]] = {}
    first: int
    last: int
    decide_ns: list[int] = []

    def ways(self, at_least: float) -> NDArray[np.int64]:
        """The place of the model that answers each input, shape (n,)."""
        return np.where(np.asarray(self.ease) >= at_least, self.first, self.last).astype(np.int64)

    def values(self, ways: NDArray[np.int64]) -> NDArray[np.float64] | None:
        """The metric's value of each input's answer, shape (n,); None: nothing was judged."""
        if not self.right:
            return None
        first, last = (np.asarray(self.right[place], np.float64) for place in (self.first, self.last))
        return np.where(ways == self.first, first, last)
