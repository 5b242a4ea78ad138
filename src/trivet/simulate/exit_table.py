"""What early exits make of the same inputs at any thresholds: confidences and correctness, measured together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

_DIGITS = 10_000
NEVER_SURE = -1.0  # the confidence of scores that are not finite


class ExitTable(msgspec.Struct, frozen=True, kw_only=True):
    """One entry an input, in the same order everywhere: which of them are sure together, and right together, is kept.

    confidences: place of an exit's stage in the pipeline -> how sure it is of each input.
    right: place of an exit's stage, and of the last model -> the metric's value of the answer that comes out there; empty:
        there are no labels, or the metric has no value of one row.
    last: place of the last model.
    changed: place of an exit's stage -> whether its answer is another than the last model's; empty: nobody asked that one.
    """

    confidences: dict[int, list[float]]
    right: dict[int, list[float]] = {}
    last: int
    changed: dict[int, list[bool]] = {}

    def exits(self, thresholds: Mapping[int, float]) -> NDArray[np.int64]:
        """The place that each input is answered behind, shape (n,): the first that is sure enough, else the last model."""
        found = np.full(len(next(iter(self.confidences.values()))), self.last, np.int64)
        for place in sorted(self.confidences, reverse=True):
            found[np.asarray(self.confidences[place]) >= thresholds[place]] = place
        return found

    def values(self, exits: NDArray[np.int64]) -> NDArray[np.float64] | None:
        """The metric's value of each input's answer, shape (n,); None: nothing was judged."""
        if not self.right:
            return None
        found = np.empty(len(exits))
        for place, values in self.right.items():
            here = exits == place
            found[here] = np.asarray(values)[here]
        return found

    def lost(self, exits: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether each input's answer is another than the last model's, shape (n,); where that is not known, nowhere."""
        found = np.zeros(len(exits), np.bool_)
        for place, changed in self.changed.items():
            here = exits == place
            found[here] = np.asarray(changed, np.bool_)[here]
        return found

    def thresholds(self, place: int, shares: Sequence[float]) -> list[float]:
        """At which about such shares of all inputs would be answered there, ascending, each once."""
        confidences = np.asarray(self.confidences[place])
        found = np.quantile(confidences, [1 - share for share in shares], method="lower")
        return sorted({math.floor(one * _DIGITS) / _DIGITS for one in found.tolist() if 0 < one < 1})
