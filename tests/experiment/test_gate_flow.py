"""The course of a gate: rounds until it is decided or the budget is spent. Time is a number here."""

import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence

import pytest

from trivet.clock import FakeClock
from trivet.experiment.gate.decision import MARGINS, Finding
from trivet.experiment.gate.gate import Gate, Round, gate
from trivet.experiment.gate.history import Suspect
from trivet.experiment.gate.junit import junit_xml
from trivet.experiment.gate.markdown import markdown_text
from trivet.experiment.gate.rounds import round_workload
from trivet.experiment.workload import Workload

SECOND = 1_000_000_000
SAME = dict.fromkeys(MARGINS, 2.0)
SLOWER = {**SAME, "latency_p50_ms": 2.4}
ACCURATE = Finding("accuracy", "pass", "accuracy 0.9 -> 0.9", None, 0.9, 0.9, "accuracy")


def gated(
    measured: Callable[[int], Round],
    *,
    budget_s: int = 300,
    references: Sequence[str] = ("baseline",),
    suspects: Sequence[Suspect] = (),
) -> Gate:
    """Each round takes a minute."""
    clock = FakeClock()

    def measure(index: int) -> Round:
        clock.advance_ns(60 * SECOND)
        return measured(index)

    return gate(
        measure,
        candidate="candidate",
        references=references,
        clock=clock,
        budget_ns=budget_s * SECOND,
        margins=MARGINS,
        suspects=suspects,
    )


def starts(
    candidate: dict[str, float], num: int = 10, **others: dict[str, float]
) -> list[dict[str, dict[str, float]]]:
    return [{"baseline": SAME, "candidate": candidate, **others} for _ in range(num)]


def test_rounds_go_on_until_every_figure_is_decided() -> None:
    result = gated(lambda index: Round(starts(SAME), (f"r{index}",), (ACCURATE,)))
    assert (result.outcome, result.exit_code) == ("pass", 0)
    assert [finding.figure for finding in result.findings] == [*MARGINS, "accuracy"]
    assert len(result.runs) * 60 == result.seconds


def test_a_slower_candidate_is_a_regression() -> None:
    result = gated(lambda index: Round(starts(SLOWER), ("r",)))
    assert (result.outcome, result.exit_code) == ("regression", 1)
    assert result.findings[0].outcome == "regression"


def test_no_round_is_begun_that_would_end_after_the_budget() -> None:
    result = gated(lambda index: Round(starts(SAME, num=1), (f"r{index}",)), budget_s=170)
    assert (result.outcome, result.exit_code, len(result.runs)) == ("not enough data", 2, 2)
    assert "budget of 170 s" in result.notes[-1]


def test_an_invalid_round_counts_for_nobody_and_is_told() -> None:
    result = gated(lambda index: Round((), (f"r{index}",), invalid="fell behind"), budget_s=100)
    assert (result.outcome, result.notes[0]) == ("not enough data", "a round was invalid: fell behind")


@pytest.mark.parametrize(("side", "outcome"), [("candidate", "regression"), ("baseline", "not enough data")])
def test_a_side_that_dies_ends_the_gate(side: str, outcome: str) -> None:
    result = gated(lambda index: Round((), ("r0",), failed=(side, "it stopped answering")))
    assert (result.outcome, len(result.runs), [f.figure for f in result.findings]) == (outcome, 1, ["load"])
    assert "it stopped answering" in result.findings[0].detail


def test_an_earlier_run_that_was_better_stops_a_candidate_that_equals_the_baseline() -> None:
    faster = {**SAME, "latency_p50_ms": 1.8}
    result = gated(lambda index: Round(starts(SAME, r7=faster)), references=("baseline", "r7"))
    outcomes = {finding.figure: finding.outcome for finding in result.findings}
    assert result.outcome == "regression"
    assert outcomes["latency_p50_ms"] == "pass"
    assert outcomes["latency_p50_ms beside r7"] == "regression"


SUSPECT = Suspect("latency_p50_ms", "r3", "r4", 1.08, 3, "r1")


@pytest.mark.parametrize(
    ("candidate", "failures", "errors"),
    [(SAME, 0, 0), (SLOWER, 1, 2), ({**SAME, "latency_p99_ms": 0.0}, 0, 3)],
)
def test_junit_counts_what_failed_and_what_is_undecided(
    candidate: dict[str, float], failures: int, errors: int
) -> None:
    result = gated(lambda index: Round(starts(candidate, num=11)), budget_s=100, suspects=[SUSPECT])
    suite = ET.fromstring(junit_xml(result, "intent"))[0]
    found = (len(suite.findall("testcase")), len(suite.findall(".//failure")), len(suite.findall(".//error")))
    undecided = sum(finding.outcome == "not enough data" for finding in result.findings)
    assert found == (3, failures, undecided)
    assert (suite.get("failures"), suite.get("errors")) == (str(failures), str(undecided))
    assert errors >= undecided
    assert str(SUSPECT) in (suite.findtext("system-out") or "")


def test_junit_holds_whatever_a_server_says() -> None:
    result = gated(lambda index: Round((), failed=("candidate", "<b>\x00\x1b[31m & \ud800 ]]>")))
    failure = ET.fromstring(junit_xml(result, 'a"<&')).find(".//failure")
    assert failure is not None
    assert "<b>??[31m & ? ]]>" in (failure.text or "")


def test_markdown_has_a_line_for_each_figure_and_nothing_ends_a_cell() -> None:
    result = gated(lambda index: Round(starts(SLOWER), ("r1", "r2")), suspects=[SUSPECT])
    text = markdown_text(result, "a|b<script>")
    assert text.startswith("## ❌ trivet gate: a\\|b&lt;script>: regression\n")
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(lines) == 1 + len(MARGINS)
    assert "| latency_p50_ms | 2 ms | 2.4 ms | +20.0 % [" in text
    assert f"- {SUSPECT}" in text
    assert "runs `r1`, `r2`" in text


@pytest.mark.parametrize(
    ("rate_rps", "num_sides", "budget_s", "expected"),
    [
        (800, 2, 300, (5, 1.25)),  # a thousand requests a block, five starts a round
        (800, 3, 60, (5, 0.5)),  # shorter blocks, so that half the budget holds a round
        (10_000, 2, 300, (5, 0.5)),
        (5, 2, 300, (5, 2.0)),
        (400, 2, 1, (1, 0.1)),
        (None, 2, 300, (5, 1.0)),  # a closed loop
    ],
)
def test_a_round_fits_the_budget(
    rate_rps: float | None, num_sides: int, budget_s: int, expected: tuple[int, float]
) -> None:
    found = round_workload(Workload(rate_rps=rate_rps, until_decided=True), num_sides, budget_s * SECOND)
    assert (found.num_blocks, found.block_ns / SECOND) == expected
    assert found.num_starts == found.num_blocks
    assert not found.until_decided


def test_sides_take_turns_though_the_baseline_was_measured_alone() -> None:
    alone = Workload(rate_rps=800, turn_ns=0, num_starts=1)
    assert round_workload(alone, 2, 300 * SECOND).turn_ns is None


def test_what_cannot_be_started_often_is_started_once_a_round() -> None:
    found = round_workload(Workload(rate_rps=800), 2, 300 * SECOND, starts_often=False)
    assert (found.num_starts, found.num_blocks) == (1, 5)
