"""The course of a replay: how often it measures, and what it makes of what came back. Measuring is a function here."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.experiment.replay_support import configuration, environment, replaced, rows, run
from trivet.catalog.conditions import Conditions
from trivet.catalog.machine import Processor
from trivet.catalog.records import Figure
from trivet.errors import UserError
from trivet.experiment.replay.check_timing import Speed, Timed
from trivet.experiment.replay.evidence import Evidence, speed_of, unrest
from trivet.experiment.replay.replay import Again, Replay, as_builtins, replay

ANSWERS = [{"y": np.array([0.25], np.float32)}]
STEADY = Speed(1.0, 1.0)


def evidence(run_id: str = "r1", seed: int = 1, *, engine_ms: float = 1.0, **changed: Any) -> Evidence:
    timed = Timed(rows(seed=seed, engine_ms=engine_ms), STEADY)
    return Evidence(run(run_id, **changed), timed, ANSWERS, [0, 1, 1])


def measuring(*rounds: Evidence) -> tuple[Again, list[int]]:
    """Gives these one after the other; and the list of calls."""
    calls: list[int] = []

    def again(index: int) -> list[Evidence]:
        calls.append(index)
        return [rounds[index]]

    return again, calls


def outcome(then: Evidence, *rounds: Evidence) -> tuple[Replay, int]:
    again, calls = measuring(*rounds)
    return replay([then], again), len(calls)


def test_an_unchanged_run_is_reproduced_in_one_round() -> None:
    result, num_rounds = outcome(evidence(), evidence("r2", 2))
    assert (result.verdict, result.differs, num_rounds, result.runs) == ("reproduced", (), 1, ("r2",))


def test_a_slower_engine_takes_a_second_round_and_is_named() -> None:
    slow = [evidence(f"r{seed}", seed, engine_ms=1.2) for seed in (2, 3)]
    result, num_rounds = outcome(evidence(), *slow)
    assert (result.verdict, num_rounds, result.runs) == ("differs", 2, ("r2", "r3"))
    assert result.differs[0].what == "engine time"
    assert "time in compute" in {change.what for change in result.differs}


def test_a_doubt_that_the_second_round_ends() -> None:
    disturbed = replace(evidence("r2", 2), timed=Timed(rows(seed=2, mood=1.06), STEADY))
    result, num_rounds = outcome(evidence(), disturbed, evidence("r3", 3))
    assert num_rounds == 2
    assert result.verdict in ("cannot tell", "reproduced")


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"configuration_hash": "cd" * 32, "configuration": configuration("2" * 64)}, "file m.onnx"),
        (
            {"configuration_hash": "cd" * 32, "configuration": configuration(max_batch_size=8)},
            "lever max_batch_size",
        ),
        ({"environment": environment(packages={"numpy": "2.1.0", "onnxruntime": "1.20.0"})}, "library numpy"),
        ({"environment": environment(threads={"OMP_NUM_THREADS": "1"})}, "threads OMP_NUM_THREADS"),
    ],
)
def test_what_changed_is_named_and_measured_once(changed: dict[str, Any], named: str) -> None:
    result, num_rounds = outcome(evidence(), evidence("r2", 2, **changed))
    assert (result.verdict, num_rounds, result.differs[0].what) == ("differs", 1, named)


def test_accuracy_differs_where_decisions_do_and_cannot_be_told_where_only_other_rows_were_refused() -> None:
    worse = {"accuracy": Figure(estimate=0.89, unit="accuracy")}
    result, num_rounds = outcome(evidence(), evidence("r2", 2, figures=worse))
    assert (result.verdict, num_rounds) == ("cannot tell", 1)
    result, _ = outcome(evidence(), replace(evidence("r2", 2, figures=worse), decisions=[1, 1, 1]))
    assert [str(change) for change in result.differs][1] == "accuracy: 0.9000 -> 0.8900"
    nearly = {"accuracy": Figure(estimate=0.896, unit="accuracy")}
    assert outcome(evidence(), evidence("r2", 2, figures=nearly))[0].verdict == "reproduced"


def test_other_answers_differ() -> None:
    changed = replace(evidence("r2", 2), answers=[{"y": np.array([0.5], np.float32)}], decisions=[0, 0, 0])
    result, _ = outcome(evidence(), changed)
    assert {change.what for change in result.differs} == {"answers", "decisions"}


def test_a_difference_while_others_were_at_work_cannot_be_told() -> None:
    busy = environment(conditions=Conditions(elapsed_s=9, steal_share=0, busy_share=1, others={"make": 1.0}))
    slow = [evidence(f"r{seed}", seed, engine_ms=1.2, environment=busy) for seed in (2, 3)]
    result, _ = outcome(evidence(), *slow)
    assert (result.verdict, result.differs) == ("cannot tell", ())
    assert any("make" in note for note in result.notes)


def test_on_other_hardware_one_run_is_about_answers_and_accuracy() -> None:
    elsewhere = environment(processor=Processor(model="Y"))
    nearly = [{"y": np.array([0.2500001], np.float32)}]
    now = replace(evidence("r2", 2, engine_ms=3.0, environment=elsewhere), answers=nearly)
    result, num_rounds = outcome(evidence(), now)
    assert (result.verdict, num_rounds) == ("reproduced", 1)
    assert result.notes[0] == "other hardware: the verdict is about answers and accuracy only"


@pytest.mark.parametrize(("second_ms", "verdict"), [(45.0, "reproduced"), (75.0, "differs")])
def test_on_other_hardware_a_comparison_is_about_its_ratio(second_ms: float, verdict: str) -> None:
    elsewhere = environment(processor=Processor(model="Y"))
    then = [evidence("a1", 1, engine_ms=10.0), evidence("b1", 2, engine_ms=15.0)]

    def again(index: int) -> list[Evidence]:
        sides = enumerate((("a2", 30.0), ("b2", second_ms)))
        return [
            evidence(run_id, 10 * index + place + 3, engine_ms=engine_ms, environment=elsewhere)
            for place, (run_id, engine_ms) in sides
        ]

    result = replay(then, again)
    assert result.verdict == verdict
    assert (
        result.notes[0]
        == "other hardware: the verdict is about accuracy and the ratios between the configurations"
    )
    assert "m a1: answers" in {check.name for check in result.checks}


def test_a_load_that_took_another_course_cannot_be_compared() -> None:
    longer = replace(evidence("r2", 2), timed=Timed(rows(num=4200, seed=2), STEADY))
    result, _ = outcome(evidence(), longer, longer)
    assert (result.verdict, len(result.runs)) == ("cannot tell", 1)
    assert any("4,000 and 4,200" in check.detail for check in result.checks)
    users = evidence(workload={"users": 8}), replace(longer, run=run("r2", workload={"users": 8}))
    checks = outcome(users[0], users[1], users[1])[0].checks
    assert not any(
        "another course" in check.detail for check in checks
    )  # users who wait ask as often as they can


@pytest.mark.parametrize("state", ["failed", "partial"])
def test_a_replay_that_failed_cannot_tell_and_says_why(state: str) -> None:
    result, num_rounds = outcome(evidence(), evidence("r2", state=state, reason="the server died"))
    assert (result.verdict, num_rounds) == ("cannot tell", 1)
    assert any("the server died" in check.detail for check in result.checks)


def test_an_invalid_replay_is_measured_once_more() -> None:
    invalid = evidence("r2", 2, state="invalid", reason="the load generator fell behind")
    result, num_rounds = outcome(evidence(), invalid, evidence("r3", 3))
    assert (result.verdict, num_rounds) == ("reproduced", 2)
    result, _ = outcome(evidence(), invalid, replaced_run(invalid, "r3"))
    assert result.verdict == "cannot tell"
    assert any("fell behind" in check.detail for check in result.checks)


def replaced_run(side: Evidence, run_id: str) -> Evidence:
    return replace(side, run=replaced(side.run, id=run_id))


@pytest.mark.parametrize("state", ["running", "partial", "invalid", "failed", "interrupted"])
def test_only_complete_runs_are_replayed(state: str) -> None:
    again, calls = measuring()
    with pytest.raises(UserError, match=f"r1 is {state}"):
        replay([evidence(state=state)], again)
    assert calls == []


def test_a_replay_as_json_has_every_check_in_words() -> None:
    result, _ = outcome(evidence(), evidence("r2", 2))
    found = as_builtins(result)
    assert found["verdict"] == "reproduced"
    assert len(found["checks"]) == len(result.checks)  # type: ignore[arg-type]


def test_speed_needs_both_probes_and_unrest_names_its_causes() -> None:
    assert speed_of(environment()) == Speed(10_000, 10_000)
    assert speed_of(environment(noise_after=None)) is None
    calm = Conditions(elapsed_s=1, steal_share=0, busy_share=0.5)
    assert unrest(environment(conditions=calm)) == ""
    stolen = replaced(calm, steal_share=0.1, throttled_ms=5.0)
    assert "10.0%" in unrest(environment(conditions=stolen))
    assert "held back" in unrest(environment(conditions=stolen))
