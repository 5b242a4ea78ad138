"""The benchmarks of replay and gate: their service changes as it says, their queue is a queue, their counts add up."""

from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import gates, replays
from benchmarks._changing_service import Changing
from benchmarks._harness import Comparison, Environment, Measurement
from benchmarks._records import BlockRecord
from trivet.spec.service_file import load_configuration

ENVIRONMENT = Environment(date="2026-01-01", processor="x", cores=[0], kernel="6", python="3.12", packages={})


def test_every_change_but_the_engines_speed_is_another_configuration(tmp_path: Path) -> None:
    service = Changing(tmp_path).write()
    plain = load_configuration(service.path).hash
    assert load_configuration(service.changed(weight=1e-3).path).hash != plain
    assert load_configuration(service.changed(max_batch_size=4).path).hash != plain
    assert load_configuration(service.changed(rounds=130).path).hash != plain
    assert load_configuration(service.changed().path).hash == plain
    assert replays.slower_engine(service, Namespace()) == {"WORK_FACTOR": "1.15"}
    assert load_configuration(service.path).hash == plain


def test_the_simulated_queue_follows_lindley() -> None:
    gaps = np.random.default_rng(1).exponential(5e6, gates.REQUESTS)
    found = gates._figures(gaps, 1.0, np.random.default_rng(2))
    rng = np.random.default_rng(2)
    sigma = np.sqrt(np.log(1 + gates.SERVICE_CV**2))
    services = gates.SERVICE_NS * np.exp(sigma * rng.standard_normal(gates.REQUESTS) - sigma**2 / 2)
    delay, latencies = 0.0, []
    for i, service in enumerate(services):
        latencies.append(delay + service)
        delay = max(0.0, delay + service - gaps[i + 1]) if i + 1 < len(gaps) else 0.0
    assert found["latency_p50_ms"] == pytest.approx(
        np.sort(latencies)[gates.REQUESTS // 2 - 1] / 1e6, rel=1e-6
    )
    assert found["latency_p99_ms"] == pytest.approx(
        np.sort(latencies)[99 * gates.REQUESTS // 100 - 1] / 1e6, rel=1e-6
    )


def test_simulated_gates_stop_what_is_slower_and_nothing_else() -> None:
    alike = [gates.simulated(1.0, seed)[0] for seed in range(3)]
    assert "regression" not in alike
    assert alike.count("pass") >= 2
    assert [gates.simulated(1.05, seed)[0] for seed in range(3)] == ["regression"] * 3


def comparison(values: dict[str, dict[str, float]]) -> Comparison:
    records = [
        BlockRecord(
            block=0, position=i, side=side, date="", load_average=0, measurement=Measurement(values=measured)
        )
        for i, (side, measured) in enumerate(values.items())
    ]
    return Comparison("replays", ENVIRONMENT, 1, {}, records)


def replayed(unchanged: str, changed: str, named: float) -> dict[str, float]:
    values = {f"unchanged {one}": float(one == unchanged) for one in replays.VERDICTS}
    values |= {f"changed {one}": float(one == changed) for one in replays.VERDICTS}
    values |= {"unchanged named": 0.0, "changed named": named}
    return values | {"run_seconds": 10.0, "unchanged seconds": 15.0, "changed seconds": 12.0}


def test_replays_are_counted_by_what_was_changed() -> None:
    measured = comparison(
        {
            "one weight": replayed("reproduced", "differs", named=1.0),
            "threads": replayed("cannot tell", "differs", named=0.0),
        }
    )
    table = replays.table(measured).splitlines()
    unchanged, weight = (next(line for line in table if kind in line) for kind in ("unchanged", "one weight"))
    assert unchanged.split("|")[2:6] == [" 2 ", " 1 ", " 0 ", " 1 "]
    assert "| 1.50 |" in unchanged
    assert weight.split("|")[2:8] == [" 1 ", " 0 ", " 1 ", " 0 ", " 1 ", " 1.20 "]
    text = replays.summary(measured)
    assert "1 of 2 reproduced, 0 differ" in text
    assert "1 of 2 differ and are named, 0 reproduced" in text


def test_gates_are_counted_by_outcome() -> None:
    outcome = {one: float(one == "pass") for one in gates.OUTCOMES}
    (line,) = gates.live_table(comparison({"unchanged": outcome | {"seconds": 61.0}})).splitlines()[2:]
    assert line.split("|")[1:7] == [" unchanged ", " 1 ", " 1 ", " 0 ", " 0 ", " 61 "]
