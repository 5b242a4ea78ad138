"""Two systems measured in pairs of blocks, for as long as it takes: may be looked at after every pair."""

import math

import numpy as np
from numpy.typing import NDArray

from trivet.stats import _hodges_lehmann
from trivet.stats._sign_bets import BETTORS, log_evidence, log_growth, total
from trivet.stats.errors import EmptySampleError
from trivet.stats.interval import Ratio
from trivet.stats.verdict import Effect, Verdict, check_margin

FIRST_VERDICT = 9  # observations, of which better or worse is possible at the defaults
_GRID = 256  # centres that are tried on the way to a bound, before the last is refined
_FINER = 33


class PairedSequence:
    """Compares one figure of a candidate with that of a baseline, pair by pair, until there is a verdict.

    Give log(candidate / baseline) of each pair of blocks. Within a pair both sides get the same arrivals and inputs,
    and a fair coin of its own decides for each pair who goes first. Then, whatever the noise:
    - between alike sides, "better" or "worse" comes with a probability of at most `alpha`, over all looks together;
    - sides as far apart as `margin` or farther are called "equivalent" with at most `alpha_equivalent`;
    - `interval` holds the true ratio at all looks together with at least 1 - `alpha`.
    The two last ask that each log ratio is spread symmetrically about the true one, given those before (and, for sides
    farther apart than `margin`, with one peak).
    The first verdict of better or worse is possible at 9 pairs, of equivalent at 5, at the defaults.

    Args: margin: ratios between 1 / (1 + margin) and 1 + margin do not matter; 0.05 is 5 %.
    min_effect: better or worse is said only of what is shown to differ by more than this share: 0 says it of any
    difference, 0.01 leaves out what nobody acts on.
    Raises: ValueError: a margin or alpha out of its range.   Source: _sign_bets.py.
    """

    def __init__(
        self,
        margin: float,
        alpha: float = 0.01,
        smaller_is_better: bool = True,
        *,
        alpha_equivalent: float = 0.05,
        min_effect: float = 0.0,
    ) -> None:
        for name, value in (("alpha", alpha), ("alpha_equivalent", alpha_equivalent)):
            if not 0 < value < 1:
                raise ValueError(f"{name} is {value}, must be in (0, 1)")
        band = check_margin(margin)
        if not 0 <= min_effect < margin:
            raise ValueError(f"min_effect is {min_effect}, must be at least 0 and under the margin {margin}")
        self.margin = margin
        self.smaller_is_better = smaller_is_better
        self._differs = math.log(2 / alpha)  # half of alpha for either direction
        self._lies_within = math.log(1 / alpha_equivalent)
        least = math.log1p(min_effect)
        # Doubted from below, then from above: the centre is at most `least`, at most -band; at least -least, band.
        self._centres = np.array([least, -band, -least, band])
        self._towards = np.array([1.0, 1.0, -1.0, -1.0])
        self._differences: list[float] = []
        self._grown = np.zeros((len(BETTORS), 4))
        self._highest = np.zeros(4)

    @property
    def num_pairs(self) -> int:
        return len(self._differences)

    def add(self, log_ratio: float) -> None:
        """One more pair: log(candidate / baseline). Raises: ValueError: not finite."""
        if not math.isfinite(log_ratio):
            raise ValueError(f"pair {self.num_pairs} has the log ratio {log_ratio}, must be finite")
        self._differences.append(float(log_ratio))
        medians = np.median(np.abs(np.subtract.outer(self._differences, self._centres)), axis=0)
        self._grown += log_growth(self._towards * (log_ratio - self._centres), medians)
        self._highest = np.maximum(self._highest, total(self._grown))

    def verdict(self) -> Verdict:
        """About the candidate; "cannot tell" asks for more pairs. What was once shown stays shown."""
        above, not_below, below, not_above = self._highest
        larger, smaller = above >= self._differs, below >= self._differs
        if larger and smaller:  # the pairs contradict each other: there is no one ratio
            return "cannot tell"
        if min(not_below, not_above) >= self._lies_within:
            return "equivalent"
        if larger or smaller:
            return "worse" if larger == self.smaller_is_better else "better"
        return "cannot tell"

    def interval(self) -> Ratio:
        """The ratio candidate over baseline so far; from 0 to infinity where the pairs are too few to bound it.

        Raises: EmptySampleError: no pair yet.
        """
        return self.interval_at(self._differs)

    def interval_at(self, log_capital: float) -> Ratio:
        """The same with the ratios that evidence of less than `log_capital` speaks against, in either direction."""
        if not self._differences:
            raise EmptySampleError("no pairs, so no ratio")
        differences = np.array(self._differences)
        low, high = _lowest(differences, log_capital), -_lowest(-differences, log_capital)
        low, high = min(low, high), max(low, high)  # crossed: pairs that contradict each other, see `verdict`
        estimate = min(max(_hodges_lehmann.centre(differences), low), high)
        return Ratio(_exp(estimate), _exp(low), _exp(high), self.num_pairs)

    def effect(self) -> Effect:
        """The verdict, with the interval that it rests on. Raises: EmptySampleError: no pair yet.

        That is the interval of 1 - alpha, but for "equivalent": that one rests on two one-sided tests at
        `alpha_equivalent`, which is an interval of 1 - 2 * alpha_equivalent, bounded before the other is.
        """
        verdict = self.verdict()
        ratio = self.interval_at(self._lies_within) if verdict == "equivalent" else self.interval()
        return Effect(ratio, verdict, self.margin)

    def log_evidence(self) -> float:
        """Of the latest look: that the sides differ by more than `min_effect`, in either direction."""
        above, _, below, _ = total(self._grown)
        return float(max(above, below) - math.log(2))


def _lowest(differences: NDArray[np.float64], log_capital: float) -> float:
    """The largest value such that it and all below it were refuted as centres at some look, or -inf."""
    if log_evidence(np.ones(len(differences)))[-1] < log_capital:  # all on one side, and yet too few
        return -math.inf

    def refuted(centres: NDArray[np.float64]) -> NDArray[np.bool_]:
        found = log_evidence(differences - centres[:, np.newaxis]).max(axis=-1) >= log_capital
        return np.asarray(found, np.bool_)

    centres = _grid(differences)
    # The last centre, the largest difference, is never refuted: nothing lies above it.
    first = int(np.argmax(~refuted(centres)))
    if first == 0:
        return -math.inf
    left, right = centres[first - 1], centres[first]
    for _ in range(3):
        finer = np.linspace(left, right, _FINER)
        first = max(1, int(np.argmax(~refuted(finer))))  # the leftmost is known to be refuted
        left, right = finer[first - 1], finer[first]
    return float(left)


def _grid(differences: NDArray[np.float64]) -> NDArray[np.float64]:
    """From far below the sample to its largest value, dense where the sample is."""
    smallest, largest = differences.min(), differences.max()
    span = max(largest - smallest, 1e-12 * max(1.0, abs(smallest)))
    below = smallest - span * np.logspace(6, -3, 40)
    inside = np.quantile(differences, np.linspace(0, 1, _GRID))
    return np.concatenate([below, np.unique(inside)])


def _exp(x: float) -> float:
    return math.exp(x) if x < 709 else math.inf
