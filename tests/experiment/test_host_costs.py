"""What a host costs, from two runs whose costs are known: what was put in comes out."""

import math
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.simulate.simulated_support import constant, lone
from trivet.experiment.simulating.host_costs import LivePoints, costs_of
from trivet.experiment.simulating.live_points import LivePoint
from trivet.simulate.profile import COOLING_NS, HostCosts, ModelTimes, ServiceProfile
from trivet.simulate.setup import StageSetup
from trivet.spec.row import RowColumns, RowsHeader

REQUEST, ANSWER, BATCH, WAY = 60_000, 20_000, 15_000, 90_000
PROFILE = constant({1: 1_000_000, 8: 4_500_000}, HostCosts())


EVERY_NS = 10_000_000
PHASES_READ = ("queue_ns", "compute_ns", "encode_ns", "batch_size")
Ints = NDArray[np.int64]


def cold(compute_ns: int, *, inline: bool) -> float:
    """How cold the server is that gets such a request every 10 ms."""
    latency_ns = compute_ns + REQUEST + BATCH + WAY + (0 if inline else 40_000 - BATCH)
    return 1 - math.exp(-(EVERY_NS - latency_ns) / COOLING_NS)


def rows_of(sent: Ints, latency: Ints, **phases: Ints | int) -> RowColumns:
    """Requests with an answer. Args: phases: the other columns, in ns."""
    return RowColumns.of(
        RowsHeader(writer="test"),
        len(sent),
        intended_ns=sent,
        sent_ns=sent,
        first_byte_ns=sent + latency,
        done_ns=sent + latency,
        status=200,
        **phases,
    )


def point(size: int, compute_ns: int, *, inline: bool, queue_ns: int, num: int = 64) -> LivePoint:
    """Batches of `size`, each answer behind those before it; the loop's time is what its work takes."""
    place = np.arange(num) % size
    sent = np.arange(num) * EVERY_NS
    latency = compute_ns + REQUEST + BATCH + WAY + (0 if inline else queue_ns - BATCH) + place * ANSWER
    rows = rows_of(
        sent, latency, queue_ns=queue_ns, compute_ns=compute_ns, encode_ns=place * ANSWER, batch_size=size
    )
    loop_ns = num * REQUEST + num // size * (BATCH + (compute_ns if inline else 0))
    return LivePoint(rows, num, loop_ns, 0 if inline else num // size * compute_ns)


def measured(
    lone_ns: int, one_ns: int, full_ns: int, *, inline: bool, alone: ServiceProfile = PROFILE
) -> LivePoints:
    """A round in which a batch of one takes so long after a pause and of one user, and a batch of eight of many."""
    return LivePoints(
        point(1, lone_ns, inline=inline, queue_ns=40_000),
        point(1, one_ns, inline=inline, queue_ns=40_000),
        point(8, full_ns, inline=inline, queue_ns=40_000),
        alone.models,
    )


@pytest.mark.parametrize("execution", ["inline", "thread"])
def test_what_was_put_in_comes_out(execution: str) -> None:
    inline = execution == "inline"
    setup = lone(execution=execution, max_batch_size=8)
    found = costs_of(PROFILE, setup, [measured(1_300_000, 1_100_000, 4_500_000, inline=inline)])
    assert found.per_request_ns == [REQUEST]
    assert found.per_batch_ns == [BATCH]
    assert found.answer_share == pytest.approx(ANSWER / REQUEST)
    assert found.travel_ns == pytest.approx(WAY, abs=2)
    assert found.wake_core_ns == 0
    assert found.idle_factor == pytest.approx(1.1 + 0.2 / cold(1_300_000, inline=inline))
    assert found.busy_factors == pytest.approx({1: 1.1, 8: 1.0})
    assert found.hand_over_ns == ([] if inline else [40_000 - BATCH] * 64)


def test_the_longest_ways_are_hiccups_as_often_as_cores_were_held_up() -> None:
    setup = lone(execution="inline", max_batch_size=8)
    points = measured(1_300_000, 1_100_000, 4_500_000, inline=True)
    rows, late = points.one.rows, 3_000_000
    done = rows["done_ns"].copy()
    done[5] += late
    held = rows_of(rows["sent_ns"], done - rows["sent_ns"], **{name: rows[name] for name in PHASES_READ})
    points = replace(points, one=replace(points.one, rows=held))
    num = len(costs_of(PROFILE, setup, [points]).short_wake_ns)
    assert max(costs_of(PROFILE, setup, [points]).short_wake_ns) == pytest.approx(WAY + late, abs=2)
    found = costs_of(PROFILE, setup, [points], 1 / num)
    assert len(found.short_wake_ns) == num - 1
    assert max(found.short_wake_ns) == pytest.approx(WAY, abs=2)


def test_what_steps_take_is_no_cost_of_the_host() -> None:
    step = 30_000
    profile = msgspec.structs.replace(
        PROFILE, models={**PROFILE.models, "s": ModelTimes(samples={0: {1: [step] * 9}})}
    )
    plain = lone(execution="inline", max_batch_size=8)
    setup = replace(plain, stages=(StageSetup("s", "step", "inline"), *plain.stages))
    points = measured(1_300_000, 1_100_000, 4_500_000, inline=True, alone=profile)
    found = costs_of(profile, setup, [points])
    assert found.per_request_ns == [REQUEST - step]
    assert found.travel_ns == pytest.approx(WAY, abs=2)  # a latency as long, of which the step is a part


@pytest.mark.parametrize("execution", ["inline", "thread"])
def test_a_machine_that_slows_down_between_rounds_makes_no_engine_slower_in_the_server(
    execution: str,
) -> None:
    inline = execution == "inline"
    setup = lone(execution=execution, max_batch_size=8)
    slower = constant({1: 1_600_000, 8: 7_200_000}, HostCosts())
    rounds = [
        measured(1_300_000, 1_100_000, 4_500_000, inline=inline),
        measured(2_080_000, 1_760_000, 7_200_000, inline=inline, alone=slower),
    ]
    found = costs_of(PROFILE, setup, rounds)
    colds = [cold(1_300_000, inline=inline), cold(2_080_000, inline=inline)]
    assert found.idle_factor == pytest.approx(1.1 + 0.2 / np.mean(colds))
    assert found.busy_factors == pytest.approx({1: 1.1, 8: 1.0})
    assert found.per_request_ns == [REQUEST]


@pytest.mark.parametrize("cooling_ns", [2_500_000, 10_000_000, 20_000_000])
def test_requests_after_pauses_of_all_lengths_tell_how_fast_a_server_cools(cooling_ns: int) -> None:
    rng = np.random.default_rng(1)
    warm = measured(1_000_000, 1_000_000, 4_500_000, inline=True)
    pauses = rng.exponential(15e6, 150).astype(np.int64)
    colder = 1 - np.exp(-pauses / cooling_ns)
    compute = (1_000_000 * (1 + 0.4 * colder) * np.exp(0.03 * rng.standard_normal(150))).astype(np.int64)
    latency = compute + REQUEST + BATCH + WAY + (200_000 * colder).astype(np.int64)
    sent = np.cumsum(pauses) + np.concatenate([[0], np.cumsum(latency)[:-1]])
    rows = rows_of(sent, latency, queue_ns=BATCH, compute_ns=compute, encode_ns=0, batch_size=1)
    lone_point = LivePoint(rows, 150, 150 * (REQUEST + BATCH) + int(compute.sum()), 0)
    setup = lone(execution="inline", max_batch_size=8)
    found = costs_of(PROFILE, setup, [replace(warm, lone=lone_point)])
    assert found.cooling_ns == cooling_ns
    assert found.idle_factor == pytest.approx(1.4, abs=0.05)
    assert np.median(found.per_wake_ns) == pytest.approx(WAY + 200_000, rel=0.05)
    assert np.median(found.short_wake_ns) == pytest.approx(WAY, rel=0.05)


def test_a_point_without_answers_leaves_costs_as_they_were() -> None:
    nothing = LivePoint(RowColumns.of(RowsHeader(writer="test"), 0), 0, 0, 0)
    empty = LivePoints(nothing, nothing, nothing, PROFILE.models)
    assert costs_of(PROFILE, lone(), [empty]) == PROFILE.host
    whole = measured(1_300_000, 1_100_000, 4_500_000, inline=True)
    setup = lone(execution="inline", max_batch_size=8)
    assert costs_of(PROFILE, setup, [whole, empty]) == costs_of(PROFILE, setup, [whole])
