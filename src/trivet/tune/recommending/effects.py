"""Which lever matters, which does not, and which two only together: effects around one trial, each with its interval.

An effect is a ratio of figures. It is measured where live trials hold all that it needs; else simulated, which its figure
says: a simulated interval holds what simulating more would tell, not the simulator's own error.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from trivet.catalog.records import Figure
from trivet.catalog.study import LeverEffect, LeverRecord, Matters, Trial
from trivet.stats import student_t
from trivet.stats.multiple import holm
from trivet.tune.legs import RATE, figures_of
from trivet.tune.recommending.contrasts import Choice, Contrast, key_of, pair_contrasts, single_contrasts

CONFIDENCE = 0.95
ALPHA = 0.05
MARGIN = 0.05  # a ratio between 1 / 1.05 and 1.05 makes no difference that matters
MAX_PAIRS = 21  # of seven levers each two
_MIN_REPLICATIONS = 3
_NOTHING = 1e-9  # rounding of sums of logarithms


class Replicate(Protocol):
    """Simulates choices side by side."""

    def __call__(self, choices: Sequence[Choice]) -> NDArray[np.float64]:
        """The figure of each choice in each replication, shape (choices, replications), positive; nan: not covered.

        A column has the same arrivals and draws for all choices, so that what they share cancels.
        """


@dataclass(frozen=True, slots=True)
class _Estimate:
    """A log ratio: its standard error, and degrees of freedom (infinite: a normal's)."""

    log_ratio: float
    error: float
    degrees: float
    source: str


def effects(
    trials: Sequence[Trial],
    around: Trial,
    levers: Sequence[LeverRecord],
    replicate: Replicate | None = None,
    *,
    figure: str = RATE,
    margin: float = MARGIN,
) -> list[LeverEffect]:
    """One-factor effects, then interactions of two levers, on one figure around one trial; the largest first.

    `matters` holds for all answers together: whoever reads them all is misled by a "yes" with a probability of at most
    5 %, and by a "no" likewise (Holm). The intervals are of each effect alone. What is neither measured nor simulated
    has no effect.
    Args: trials: all that is known, with their figures.  levers: those that were searched.  replicate: None: of what
    was not measured, the predicted figures are compared as they are.  margin: no effect inside it matters.
    """
    singles = single_contrasts(around.levers, levers)
    found = _estimates(singles, trials, figure, replicate)
    targets = _targets(around.levers, levers, found)
    pairs = pair_contrasts(around.levers, targets)[:MAX_PAIRS]
    of_pairs = _estimates(pairs, trials, figure, replicate)
    judged = _judged([*found.items(), *of_pairs.items()], figure, margin)
    return sorted(judged, key=lambda one: (len(one.levers), -abs(math.log(one.effect.estimate))))


def _targets(
    around: Choice, levers: Sequence[LeverRecord], found: Mapping[Contrast, _Estimate]
) -> dict[str, Any]:
    """Where each lever goes in a pair: to its default, else to where it alone does most."""
    targets = {}
    for lever in levers:
        own = [(contrast, one) for contrast, one in found.items() if contrast.levers == (lever.name,)]
        if not own:
            continue
        to_default = [contrast for contrast, _ in own if contrast.from_to[0][1] == lever.default]
        strongest = max(own, key=lambda pair: abs(pair[1].log_ratio))[0]
        targets[lever.name] = (to_default or [strongest])[0].from_to[0][1]
    return targets


def _estimates(
    contrasts: Sequence[Contrast], trials: Sequence[Trial], figure: str, replicate: Replicate | None
) -> dict[Contrast, _Estimate]:
    found = {contrast: _of_figures(contrast, trials, figure, "measured") for contrast in contrasts}
    open_ones = [contrast for contrast in contrasts if found[contrast] is None]
    if replicate is None:
        found |= {contrast: _of_figures(contrast, trials, figure, "predicted") for contrast in open_ones}
    else:
        found |= _simulated(open_ones, replicate)
    return {contrast: found[contrast] for contrast in contrasts if found[contrast] is not None}  # type: ignore[misc]


def _of_figures(contrast: Contrast, trials: Sequence[Trial], name: str, source: Any) -> _Estimate | None:
    """From the figures of trials, taken as independent: where they were measured in turn the truth is closer."""
    known = {key_of(trial.levers): figures_of(trial, source).get(name) for trial in trials}
    parts = [
        (sign, known.get(key_of(choice)))
        for sign, side in ((1, contrast.above), (-1, contrast.below))
        for choice in side
    ]
    total, variance = 0.0, 0.0
    for sign, found in parts:
        error = math.nan if found is None else _log_error(found)
        if found is None or math.isnan(error):
            return None
        total += sign * math.log(found.estimate)
        variance += error**2
    return _Estimate(
        total, math.sqrt(variance), math.inf, "measured" if source == "measured" else "simulated"
    )


def _log_error(figure: Figure) -> float:
    """The standard error of the figure's logarithm, from its wider side; nan where it has no interval."""
    reach = [
        abs(math.log(bound / figure.estimate))
        for bound in (figure.low, figure.high)
        if bound is not None and bound > 0 and figure.estimate > 0
    ]
    return max(reach) / NormalDist().inv_cdf((1 + CONFIDENCE) / 2) if reach else math.nan


def _simulated(contrasts: Sequence[Contrast], replicate: Replicate) -> dict[Contrast, _Estimate | None]:
    choices = {key_of(choice): choice for contrast in contrasts for choice in contrast.choices}
    if not choices:
        return {}
    table = np.log(replicate(list(choices.values())))
    if table.shape[1] < _MIN_REPLICATIONS:
        raise ValueError(
            f"{table.shape[1]} replications have no spread; at least {_MIN_REPLICATIONS} are needed"
        )
    logs = dict(zip(choices, table, strict=True))
    spread = _spread(table)
    return {contrast: _paired(contrast, logs, spread) for contrast in contrasts}


def _spread(table: NDArray[np.float64]) -> tuple[float, float]:
    """Standard deviation of one figure beside what its replication shares with all others, and its degrees of freedom.

    From all choices together: three replications of one say little about it. Source: the two-way analysis of variance.
    """
    distinct = np.unique(
        table[np.isfinite(table).all(axis=1)], axis=0
    )  # choices that run the same count once
    degrees = (len(distinct) - 1) * (table.shape[1] - 1)
    if degrees <= 0:
        return 0.0, 0.0
    residuals = distinct - distinct.mean(axis=1, keepdims=True) - distinct.mean(axis=0) + distinct.mean()
    return math.sqrt(float((residuals**2).sum()) / degrees), float(degrees)


def _paired(
    contrast: Contrast, logs: Mapping[str, NDArray[np.float64]], spread: tuple[float, float]
) -> _Estimate | None:
    above = np.array([logs[key_of(choice)] for choice in contrast.above])
    below = np.array([logs[key_of(choice)] for choice in contrast.below])
    values = above.sum(axis=0) - below.sum(axis=0)
    if not np.isfinite(values).all():
        return None
    if np.abs(values).max() < _NOTHING:  # in every replication: the simulator runs the same
        return _Estimate(0.0, 0.0, math.inf, "simulated")
    deviation, degrees = spread
    own = float(values.std(ddof=1))
    # Where this contrast is noisier than all together, its own spread counts: near the knee noise is not alike.
    error = max(own, deviation * math.sqrt(len(contrast.choices))) / math.sqrt(len(values))
    return _Estimate(float(values.mean()), error, max(degrees, len(values) - 1), "simulated")


def _judged(found: Sequence[tuple[Contrast, _Estimate]], figure: str, margin: float) -> list[LeverEffect]:
    if not found:
        return []
    band = math.log1p(margin)
    changed = holm([2 * _tail(one, 0.0) for _, one in found])
    alike = holm([max(_tail_above(one, -band), _tail_above(_mirrored(one), -band)) for _, one in found])
    return [
        LeverEffect(
            levers=contrast.levers,
            from_to=[list(move) for move in contrast.from_to],
            figure=figure,
            effect=_figure(one),
            matters=_matters(p_changed, p_alike),
        )
        for (contrast, one), p_changed, p_alike in zip(found, changed, alike, strict=True)
    ]


def _matters(p_changed: float, p_alike: float) -> Matters:
    # Alike goes first, as in every comparison: an effect that is certain and too small is no reason to act.
    if p_alike <= ALPHA:
        return "no"
    return "yes" if p_changed <= ALPHA else "cannot tell"


def _figure(one: _Estimate) -> Figure:
    reach = _quantile((1 + CONFIDENCE) / 2, one.degrees) * one.error
    return Figure(
        estimate=math.exp(one.log_ratio),
        low=math.exp(one.log_ratio - reach),
        high=_exp(one.log_ratio + reach),
        unit="times",
        verdict=one.source,
    )


def _mirrored(one: _Estimate) -> _Estimate:
    return _Estimate(-one.log_ratio, one.error, one.degrees, one.source)


def _tail(one: _Estimate, at: float) -> float:
    """How probable an estimate as far from `at` would be, on its side, were that the truth; at most a half."""
    return min(_tail_above(one, at), _tail_above(_mirrored(one), -at), 0.5)


def _tail_above(one: _Estimate, at: float) -> float:
    """How probable an estimate this large or larger would be, were `at` the truth."""
    distance = one.log_ratio - at
    if one.error == 0:
        return 0.0 if distance > 0 else 1.0
    t = distance / one.error
    return NormalDist().cdf(-t) if math.isinf(one.degrees) else student_t.cdf(-t, one.degrees)


def _quantile(p: float, degrees: float) -> float:
    return NormalDist().inv_cdf(p) if math.isinf(degrees) else student_t.quantile(p, degrees)


def _exp(x: float) -> float:
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf
