"""What a comparison says in one word, and the rule that finds it."""

import math
from dataclasses import dataclass
from typing import Literal

from trivet.stats.interval import Interval, Ratio

Verdict = Literal["better", "worse", "equivalent", "cannot tell"]


@dataclass(frozen=True, slots=True)
class Effect:
    """How many times the second side is the first (candidate over baseline), and what that means for the second.

    `margin`: ratios between 1 / (1 + margin) and 1 + margin make no difference that matters.
    """

    ratio: Ratio
    verdict: Verdict
    margin: float


def verdict_of_ratio(ratio: Ratio, inner: Ratio, margin: float, smaller_is_better: bool) -> Verdict:
    """The verdict about the side above the line.

    Args: ratio: with the interval that says better or worse.  inner: the same with the interval that says
    equivalent: for a test of size 5 % on either side it has a confidence of 90 %.
    Raises: ValueError: the margin is not positive.   Source: Schuirmann (1987), two one-sided tests.
    """
    band = check_margin(margin)
    within = -band < _log(inner.low) and _log(inner.high) < band
    return _verdict(ratio.low > 1, ratio.high < 1, within, smaller_is_better)


def verdict_of_difference(
    difference: Interval, inner: Interval, margin: float, smaller_is_better: bool
) -> Verdict:
    """The same for differences (second minus first), such as of accuracies: within -margin and margin nothing matters."""
    check_margin(margin)
    within = -margin < inner.low and inner.high < margin
    return _verdict(difference.low > 0, difference.high < 0, within, smaller_is_better)


def check_margin(margin: float) -> float:
    """The margin on the scale of logarithms."""
    if not 0 < margin < math.inf:
        raise ValueError(
            f"the margin is {margin}, must be positive: without one nothing is ever equivalent; 0.05 is 5 %"
        )
    return math.log1p(margin)


def _verdict(above: bool, below: bool, within: bool, smaller_is_better: bool) -> Verdict:
    # Equivalent goes first: a difference that is certain and too small to matter is no reason to act.
    if within:
        return "equivalent"
    if above or below:
        return "worse" if above == smaller_is_better else "better"
    return "cannot tell"


def _log(x: float) -> float:
    return math.log(x) if x > 0 else -math.inf
