"""Promises that are counted without queues: shares, paired shares, means looked at after every row, certified settings."""

import itertools
from typing import Any

import numpy as np
from scipy.stats import binom, multinomial

from trivet.stats.bounded import BoundedMean
from trivet.stats.proportion import paired_difference, proportion_interval
from trivet.stats.risk_control import learn_then_test

Record = dict[str, Any]
Rng = np.random.Generator

ROWS, LOOKS = 2_000, 20
MAX_RISK, DELTA = 0.05, 0.1


def promises(rng: Rng, num: int) -> list[Record]:
    """Each promise, what was counted, and the limit that it must keep."""
    shares = [
        {
            "what": f"`proportion_interval`, {n} rows, least coverage",
            "counted": _share_coverage(n),
            "exact": True,
        }
        for n in (10, 100)
    ]
    paired = {"what": "`paired_difference`, 10 rows, least coverage", "counted": _paired_coverage(10)}
    return [
        *({**row, "limit": "at least 95 %"} for row in (*shares, {**paired, "exact": True})),
        *(_bounded_row(rng, mean, num) for mean in (0.01, 0.3)),
        {
            "what": "`learn_then_test`, 20 settings, delta 10 %, with a violation",
            "counted": [_violations(rng, num), num],
            "limit": "at most 10 %",
        },
    ]


def _share_coverage(n: int) -> float:
    """Over all outcomes, at the truth where it is least (of 1,001)."""
    intervals = [proportion_interval(k, n) for k in range(n + 1)]
    low, high = (np.array([getattr(one, side) for one in intervals]) for side in ("low", "high"))
    truths = np.linspace(0, 1, 1001)[:, np.newaxis]
    covered = (low <= truths) & (truths <= high)
    return float((binom.pmf(np.arange(n + 1), n, truths) * covered).sum(axis=1).min())


def _paired_coverage(n: int) -> float:
    """Over all outcomes, at the truth where it is least (shares gained and lost in steps of 5 %)."""
    outcomes = [(gained, lost) for gained in range(n + 1) for lost in range(n + 1 - gained)]
    intervals = [paired_difference(*_rows(gained, lost, n)) for gained, lost in outcomes]
    counts = np.array([(gained, lost, n - gained - lost) for gained, lost in outcomes])
    least = 1.0
    for gain, loss in itertools.product(np.arange(21) / 20, repeat=2):
        if gain + loss <= 1:
            chances = multinomial.pmf(counts, n, [gain, loss, 1 - gain - loss])
            holds = [one.low - 1e-12 <= gain - loss <= one.high + 1e-12 for one in intervals]
            least = min(least, float(chances @ np.array(holds)))
    return least


def _rows(gained: int, lost: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.zeros(n, bool), np.zeros(n, bool)
    b[:gained] = True
    a[gained : gained + lost] = True
    return a, b


def _bounded_row(rng: Rng, mean: float, num: int) -> Record:
    """Sequences of zeros and ones whose interval leaves the mean out at any of the looks."""
    missed, widths = 0, []
    for _ in range(num):
        sequence = BoundedMean()
        for _ in range(LOOKS):
            sequence.add(rng.random(ROWS // LOOKS) < mean)
            interval = sequence.interval()
            if not interval.low <= mean <= interval.high:
                missed += 1
                break
        widths.append((interval.high - interval.low) / 2)
    return {
        "what": f"`BoundedMean` of {mean:g}, {ROWS:,} rows, missed at any look (median half-width {np.median(widths):.4f})",
        "counted": [missed, num],
        "limit": "at most 5 %",
    }


def _violations(rng: Rng, num: int) -> int:
    """Trials of 300 rows in which a setting is certified whose risk is over the limit: the last six are."""
    risks = np.linspace(0.015, 0.065, 20)
    violated = 0
    for _ in range(num):
        losses = rng.random(300) < risks[:, np.newaxis]
        certified = learn_then_test(losses, max_risk=MAX_RISK, delta=DELTA)
        violated += any(risks[index] > MAX_RISK for index in certified)
    return violated
