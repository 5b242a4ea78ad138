"""What a gate makes of one round that was measured: pairs of blocks, who failed, and accuracy row by row."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tests.experiment.measured_support import block
from trivet.catalog.records import RunState
from trivet.experiment.gate.rounds import round_of
from trivet.experiment.measured import Measured
from trivet.experiment.passes import Judged
from trivet.experiment.run import Finished
from trivet.experiment.workload import Workload
from trivet.judge.accuracy import Judgement
from trivet.stats.interval import Interval

LABELS = [1] * 100


def judged(predictions: Sequence[Any], metric: str = "accuracy") -> Judged:
    right = [
        np.nan if one is None else float(one == label) for one, label in zip(predictions, LABELS, strict=True)
    ]
    judgement = Judgement(
        metric=metric,
        told=metric,
        smaller_is_better=False,
        overall=Interval(float(np.nanmean(right)), 0, 1),
        by_cohort={},
        no_figure={},
        calibration=None,
        num=len(LABELS),
        failures=0,
        values=np.array(right),
        predictions=predictions,
    )
    return Judged(judgement, metric, b"")


def side(
    label: str,
    blocks: Sequence[Measured] = (),
    *,
    state: RunState = "complete",
    reason: str = "",
    answers: Judged | None = None,
) -> Finished:
    return Finished(
        label=label,
        name="m",
        run_id=f"run of {label}",
        state=state,
        reason=reason,
        figures={},
        blocks=blocks,
        judged=answers,
        workload=Workload(rate_rps=1),
    )


def blocks(latency_ms: float, num: int = 3) -> list[Measured]:
    return [block([latency_ms] * 20, number=i, start=i) for i in range(num)]


def medians(sides: dict[str, Finished]) -> list[dict[str, float]]:
    return [
        {name: values["latency_p50_ms"] for name, values in one.items()} for one in round_of(sides).starts
    ]


def test_starts_are_paired_by_their_number() -> None:
    finished = {"baseline": side("a", blocks(2)), "candidate": side("b", blocks(3))}
    assert round_of(finished).runs == ("run of a", "run of b")
    assert medians(finished) == [pytest.approx({"baseline": 2, "candidate": 3})] * 3


def test_blocks_of_one_start_are_one_observation() -> None:
    first, second = (
        [block([latency] * 20, number=i, start=i // 2) for i, latency in enumerate(latencies)]
        for latencies in ([2.0, 8.0, 5.0], [1.0, 1.0, 7.0])
    )
    (one, two) = medians({"baseline": side("a", first), "candidate": side("b", second)})
    assert one == pytest.approx({"baseline": 4, "candidate": 1})
    assert two == pytest.approx({"baseline": 5, "candidate": 7})


def test_a_block_that_is_invalid_on_one_side_counts_for_neither() -> None:
    broken = [*blocks(3, 2), block([3.0] * 20, number=2, start=2, invalid="fell behind")]
    assert len(round_of({"baseline": side("a", blocks(2)), "candidate": side("b", broken)}).starts) == 2


def test_an_invalid_round_says_why() -> None:
    sides = {name: side(name, state="invalid", reason="one core") for name in ("baseline", "candidate")}
    assert (round_of(sides).invalid, round_of(sides).starts) == ("one core", ())


@pytest.mark.parametrize(
    ("reason", "culprit"),
    [
        ("b.yaml: it stopped answering", "candidate"),
        ("a.yaml: it ended", "baseline"),
        ("no space", "baseline"),
    ],
)
def test_who_failed_is_who_is_named_and_else_nobody_is_blamed(reason: str, culprit: str) -> None:
    labels = {"baseline": "a.yaml", "candidate": "b.yaml"}
    finished = {name: side(label, state="failed", reason=reason) for name, label in labels.items()}
    assert round_of(finished).failed == (culprit, reason)


def outcome(first: Judged | None, second: Judged | None) -> list[str]:
    found = round_of({"baseline": side("a", answers=first), "candidate": side("b", answers=second)})
    return [finding.outcome for finding in found.settled]


def test_accuracy_is_compared_on_the_same_rows() -> None:
    assert outcome(judged([1] * 100), judged([1] * 100)) == ["pass"]
    assert outcome(judged([1] * 100), judged([1] * 70 + [0] * 30)) == ["regression"]
    assert outcome(judged([1] * 100), judged([1] * 99 + [0])) == ["not enough data"]
    assert outcome(judged([1] * 99 + [0]), judged([1] * 100)) == ["pass"]


def test_rows_that_one_side_did_not_answer_do_not_count() -> None:
    assert outcome(judged([1] * 100), judged([1] * 60 + [None] * 40)) == ["pass"]
    assert outcome(judged([1] * 100), judged([1] * 40 + [None] * 60)) == ["not enough data"]


def test_other_metrics_are_compared_by_their_estimates_and_none_is_no_finding() -> None:
    assert outcome(judged([1] * 100, "f1"), judged([1] * 90 + [0] * 10, "f1")) == ["regression"]
    assert outcome(judged([1] * 100, "f1"), judged([1] * 100, "accuracy")) == []
    assert outcome(None, judged([1] * 100)) == []
