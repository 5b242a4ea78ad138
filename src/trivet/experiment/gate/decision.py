"""What a gate concludes from pairs of starts: pure, valid however often it is asked, tested on simulated servers.

A figure is a regression where the candidate is worse than the baseline by more than `MIN_EFFECT`, with at most `ALPHA`
for any false alarm over all figures and looks together. It passes where the two are equivalent within the figure's
margin, or the candidate is better. Anything else is not decided yet.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from trivet.experiment import pairs
from trivet.experiment.pairs import margins_of
from trivet.stats.family import PairedFamily
from trivet.stats.interval import Interval, Ratio

Outcome = Literal["pass", "regression", "not enough data"]
EXIT_CODES: Mapping[Outcome, int] = {"pass": 0, "regression": 1, "not enough data": 2}

ALPHA = 0.01
MIN_EFFECT = 0.01  # less is no reason to stop anybody, however sure it is
MARGINS = margins_of(("latency_p50_ms", "latency_p99_ms", "throughput_rps"), None)
PAIRED = tuple(pairs.MARGINS)  # what a start of each side has
ACCURACY_MARGIN = 0.005  # half a point


@dataclass(frozen=True, slots=True)
class Finding:
    """One figure's outcome. `change`: how many times the baseline's the candidate's is; None: too little is known."""

    figure: str
    outcome: Outcome
    detail: str
    change: Ratio | None = None
    baseline: float | None = None
    candidate: float | None = None
    unit: str = ""


@dataclass(slots=True)
class Decision:
    """Fed pair by pair with the figures of a start of both sides."""

    margins: Mapping[str, float] = field(default_factory=lambda: dict(MARGINS))
    alpha: float = ALPHA
    min_effect: float = MIN_EFFECT
    num_unusable: int = 0
    _family: PairedFamily = field(init=False)
    _logs: dict[str, list[tuple[float, float]]] = field(init=False)

    def __post_init__(self) -> None:
        self._family = PairedFamily(
            self.margins,
            self.alpha,
            {name: name not in pairs.LARGER_IS_BETTER for name in self.margins},
            min_effect=self.min_effect,
        )
        self._logs = {name: [] for name in self.margins}

    @property
    def num_pairs(self) -> int:
        return self._family.num_pairs

    def add(self, baseline: Mapping[str, float], candidate: Mapping[str, float]) -> None:
        """One start of both sides. A pair in which a side lacks a figure counts for nobody, and is counted."""
        if any(not min(side.get(name, 0.0) for side in (baseline, candidate)) > 0 for name in self.margins):
            self.num_unusable += 1
            return
        logs = {name: (math.log(baseline[name]), math.log(candidate[name])) for name in self.margins}
        self._family.add({name: second - first for name, (first, second) in logs.items()})
        for name, pair in logs.items():
            self._logs[name].append(pair)

    def is_decided(self) -> bool:
        """A regression is found, or every figure passes."""
        verdicts = set(self._family.verdicts().values()) if self.num_pairs else {"cannot tell"}
        return "worse" in verdicts or "cannot tell" not in verdicts

    def findings(self) -> list[Finding]:
        """One for each figure, in the order of the margins."""
        if not self.num_pairs:
            return [
                Finding(name, "not enough data", "no start was measured on both sides; the notes say why")
                for name in self.margins
            ]
        intervals, verdicts = self._family.intervals(), self._family.verdicts()
        return [self._finding(name, verdicts[name], intervals[name]) for name in self.margins]

    def _finding(self, name: str, verdict: str, change: Ratio) -> Finding:
        outcomes: Mapping[str, Outcome] = {"worse": "regression", "equivalent": "pass", "better": "pass"}
        outcome = outcomes.get(verdict, "not enough data")
        detail = f"{verdict}: {change}, margin {self.margins[name]:.0%}, {self.num_pairs} starts"
        if outcome == "not enough data":
            detail += "; more starts are needed: give a larger --budget"
        means = [math.exp(sum(side) / self.num_pairs) for side in zip(*self._logs[name], strict=True)]
        unit = "ms" if "_ms" in name else "MiB" if name.endswith("_mib") else "requests/s"
        return Finding(name, outcome, detail, change, means[0], means[1], unit)


def accuracy_finding(
    metric: str, baseline: float, candidate: float, difference: Interval | None, smaller_is_better: bool
) -> Finding:
    """The metric of both sides on the same labelled rows.

    Args: difference: of shares, candidate minus baseline, row by row; None: the metric is no share of rows, and the
    estimates alone are compared: on the same rows they have no sampling error.
    """
    loss = (candidate - baseline) * (1 if smaller_is_better else -1)
    allowed = ACCURACY_MARGIN * (abs(baseline) if smaller_is_better else 1)
    text = f"{metric} {baseline:.4f} -> {candidate:.4f}"
    outcome: Outcome = "pass" if loss <= allowed else "regression"
    if difference is not None:
        worst, least = -difference.low, -difference.high
        text += f", difference {difference.estimate:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}]"
        if loss > 0:
            # Lost rows: a loss that is sure counts from any size on, one within the margin is none, else nobody knows.
            outcome = (
                "regression"
                if least > 0 and loss > allowed
                else "pass"
                if worst <= allowed
                else "not enough data"
            )
    if outcome == "not enough data":
        text += "; label more rows"
    return Finding("accuracy", outcome, text, None, baseline, candidate, metric)


def outcome_of(findings: Sequence[Finding]) -> Outcome:
    """One regression fails the gate; it passes only where every figure does."""
    outcomes = {finding.outcome for finding in findings}
    if "regression" in outcomes:
        return "regression"
    return "pass" if outcomes == {"pass"} else "not enough data"
