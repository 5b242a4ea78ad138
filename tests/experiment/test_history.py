"""Suspects of a series of runs."""

from typing import Any

import numpy as np

from tests.experiment.replay_support import environment, probe, run
from trivet.catalog.machine import Processor
from trivet.catalog.records import Figure, Run
from trivet.experiment.gate.history import comparable, suspects


def history(
    levels: list[float], *, figure: str = "latency_p50_ms", unit: str = "ms", **changed: Any
) -> list[Run]:
    """One run for each level, with noise of 0.5 %."""
    rng = np.random.default_rng(3)
    values = [level * float(np.exp(0.005 * rng.standard_normal())) for level in levels]
    return [
        run(
            f"r{i}",
            begun=f"2026-01-{i + 1:02}",
            figures={figure: Figure(estimate=value, unit=unit)},
            **changed,
        )
        for i, value in enumerate(values)
    ]


def test_a_lasting_rise_of_a_time_is_a_suspect_with_the_runs_on_either_side() -> None:
    (found,) = suspects(history([2.0] * 12 + [2.2] * 8))
    assert (found.figure, found.before, found.since) == ("latency_p50_ms", "r11", "r12")
    assert 1.08 < found.ratio < 1.12
    assert found.steady == "r5"
    assert "since run r12" in str(found)


def test_the_oldest_suspect_comes_first_whatever_it_costs_and_its_stretch_ends_at_the_change_before() -> None:
    first, second = suspects(history([2.0] * 10 + [2.3] * 10 + [2.8] * 8))
    assert first.ratio < second.ratio
    assert (second.before, second.since) == ("r19", "r20")
    assert (first.steady, second.steady) == ("r4", "r14")


def test_a_fall_of_a_time_is_none_and_one_of_throughput_is() -> None:
    assert suspects(history([2.0] * 12 + [1.8] * 8)) == []
    (found,) = suspects(history([400.0] * 12 + [360.0] * 8, figure="throughput_rps"))
    assert found.ratio < 1
    assert suspects(history([400.0] * 12 + [440.0] * 8, figure="throughput_rps")) == []


def test_accuracy_falls_and_errors_rise() -> None:
    assert suspects(history([0.9] * 12 + [0.8] * 8, figure="accuracy", unit="accuracy")) != []
    assert suspects(history([0.9] * 12 + [0.8] * 8, figure="accuracy", unit="mae")) == []
    assert suspects(history([0.8] * 12 + [0.9] * 8, figure="accuracy", unit="mae")) != []


def test_a_steady_history_or_a_short_or_empty_one_has_no_suspects() -> None:
    assert suspects(history([2.0] * 20)) == []
    assert suspects(history([2.0, 2.5])) == []
    assert suspects([]) == []


def test_a_slower_machine_is_no_suspect() -> None:
    runs = history([2.0] * 12) + [
        run(
            f"s{i}",
            begun=f"2026-02-{i + 1:02}",
            figures={"latency_p50_ms": Figure(estimate=2.4 + 0.01 * (i % 2), unit="ms")},
            environment=environment(noise_before=probe(120), noise_after=probe(120)),
        )
        for i in range(8)
    ]
    assert suspects(runs) == []


def test_only_runs_of_the_same_service_workload_and_machine_are_compared_in_their_order() -> None:
    like = run("a", begun="2026-01-03")
    others = [
        run("b", begun="2026-01-01", seeds={"workload": 99}),
        run("c", service="other"),
        run("d", workload={"arrivals": "poisson", "rate_rps": 500.0}),
        run("e", state="invalid"),
        run("f", environment=environment(processor=Processor(model="Y"))),
    ]
    assert [found.id for found in comparable([like, *others], like)] == ["b", "a"]
