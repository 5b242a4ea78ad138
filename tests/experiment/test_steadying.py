"""Runs on simulated cores that change their speed: what is taken out of times, and what is left."""

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.experiment.measured_support import block
from tests.experiment.replay_support import MemoryStore, environment, rows, run
from trivet.catalog.core_speed import CORE_SPEED, CoreSpeed, encode
from trivet.errors import UserError
from trivet.experiment.replay.check_timing import Speed, Timed, check_timing
from trivet.experiment.replay.evidence import evidence
from trivet.experiment.replay.steadying import Pace, pace, steadied
from trivet.experiment.replay.windows import ENGINE, P50, P99, QUANTITIES, THROUGHPUT
from trivet.spec.row import RowColumns

MS, S = 1_000_000, 1_000_000_000
SLOW = 1.7  # times as long as in the fast mode


def modes(seed: int, share_slow: float, slow: float, num: int = 4000) -> NDArray[np.float64]:
    """The log of how slow a core is, every 5 ms: it keeps a mode for half a second or so, slow for a share of the time."""
    rng = np.random.default_rng(seed)
    lengths = rng.exponential(np.where(np.arange(num) % 2, 200 * share_slow, 200 * (1 - share_slow))) + 1
    is_slow = np.repeat(np.arange(num) % 2, lengths.astype(int))[:num]
    return np.asarray(is_slow * np.log(slow), np.float64)


def on_cores(
    seed: int, share_slow: float, *, engine_ms: float = 1.0, follows: float = 1.0, slow: float = SLOW
) -> tuple[Timed, dict[int, CoreSpeed]]:
    """10 s of a server whose times follow its core's mode; what was probed on both cores meanwhile."""
    rng = np.random.default_rng(seed)
    found = rows(seed=seed, engine_ms=engine_ms)
    instants = np.arange(4000) * 5 * MS
    logs = {core: modes(10 * seed + core, share_slow, slow) for core in (0, 1)}
    slower = np.exp(follows * np.interp(found["sent_ns"], instants, logs[1]))
    numbers = dict(found.numbers)
    took = ((found["done_ns"] - found["intended_ns"]) * slower).astype(np.int64)
    numbers |= {"compute_ns": (found["compute_ns"] * slower).astype(np.int64)}
    numbers |= {"done_ns": found["intended_ns"] + took, "queue_ns": np.zeros_like(took)}
    slowed = RowColumns(found.header, found.num_rows, numbers, found.words, found.blobs)
    speeds = {
        core: CoreSpeed(
            instants,
            np.exp(log + 0.05 * rng.standard_normal(len(log)) + np.log(200_000)).astype(np.int64),
        )
        for core, log in logs.items()
    }
    return Timed(slowed, Speed(1.0, 1.0), pace(slowed, speeds, server=[1], generator=[0])), speeds


def statuses(quantity: object, *, slower: float = 1.0, follows: float = 1.0, slow: float = SLOW) -> list[str]:
    """Of runs on cores that were slow for different shares of the time, with a repeat each."""
    found = []
    for seed, (then, now) in enumerate([(0.1, 0.8), (0.5, 0.2), (0.7, 0.3), (0.3, 0.4), (0.9, 0.2)]):
        first, _ = on_cores(2 * seed, then, follows=follows, slow=slow)
        second, _ = on_cores(2 * seed + 1, now, follows=follows, engine_ms=slower, slow=slow)
        found.append(check_timing(quantity, first, [second]).status)  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize("quantity", [ENGINE, P50])
@pytest.mark.parametrize("follows", [1.0, 0.7])
def test_cores_that_were_slower_are_not_taken_for_a_slower_server(quantity: object, follows: float) -> None:
    """Whatever part of the cores' speed the times follow: it is learned from the runs."""
    assert statuses(quantity, follows=follows, slow=1.1).count("same") >= 4
    # What is taken out here is 25 % of single seconds, and nobody knows a quarter of that.
    assert set(statuses(quantity, follows=follows)) == {"cannot tell"}


def test_without_what_the_cores_did_the_same_runs_tell_nothing_or_worse() -> None:
    first, _ = on_cores(0, 0.1)
    second, _ = on_cores(1, 0.8)
    blind = check_timing(P50, Timed(first.rows, first.speed), [Timed(second.rows, second.speed)])
    assert blind.status != "same"
    half = check_timing(P50, first, [Timed(second.rows, second.speed)])  # one of them does not remember
    assert half == blind


def test_an_engine_that_is_slower_is_found_and_never_lost_in_what_the_cores_did() -> None:
    mild = statuses(ENGINE, slower=1.15, slow=1.1)
    assert mild.count("differs") >= 4
    assert "same" not in mild
    assert "same" not in statuses(ENGINE, slower=1.15)
    assert "differs" in statuses(ENGINE, slower=1.4)


def test_what_was_taken_out_is_told() -> None:
    first, _ = on_cores(0, 0.1)
    second, _ = on_cores(1, 0.8)
    assert "its cores were x1.5" in check_timing(ENGINE, first, [second]).detail


def test_throughput_is_no_time_and_short_runs_teach_nothing() -> None:
    first, _ = on_cores(0, 0.1)
    assert first.pace is not None
    runs, paces = [first.rows, first.rows], [first.pace, first.pace]
    assert steadied(THROUGHPUT, runs, paces) is None
    assert steadied(P99, runs, paces) is not None
    short = np.arange(first.rows.num_rows) < 400
    assert (
        steadied(
            P50, [one.select(short) for one in runs], [Pace(one.logs[short], one.noise) for one in paces]
        )
        is None
    )


def test_steady_cores_leave_all_times_as_they_are_in_proportion() -> None:
    """Nothing can be learned where nothing changes: what is expected of any machine holds then."""
    first, _ = on_cores(0, 0.0)
    second, _ = on_cores(1, 1.0)  # SLOW times as slow throughout
    for quantity in QUANTITIES:
        assert check_timing(quantity, first, [second]).status != "differs"


def test_a_core_of_which_nothing_is_known_has_no_pace() -> None:
    timed, speeds = on_cores(0, 0.5)
    assert pace(timed.rows, {1: speeds[1]}, server=[1], generator=[0]) is None
    silent = CoreSpeed(np.array([], np.int64), np.array([], np.int64))
    assert pace(timed.rows, {1: silent, 0: speeds[0]}, server=[1], generator=[0]) is None


class Store(MemoryStore):
    """With rows that are given."""

    kept: RowColumns

    def rows(self, digest: str) -> RowColumns:
        return self.kept


def recorded(core_speed: bytes) -> tuple[object, Store]:
    timed, _ = on_cores(0, 0.5)
    store = Store()
    store.kept = timed.rows
    record = msgspec.structs.replace(block([1.0]).record, num_rows=timed.rows.num_rows, measured_from_ns=0)
    artifacts = {
        "rows": "rows",
        "blocks": store.put(msgspec.json.encode([record])),
        CORE_SPEED: store.put(core_speed),
    }
    return run(artifacts=artifacts, environment=environment()), store


def test_a_run_remembers_the_pace_of_its_cores() -> None:
    _, speeds = on_cores(0, 0.5)
    found = evidence(*recorded(encode(speeds)))  # type: ignore[arg-type]
    assert found.timed is not None
    assert found.timed.pace is not None
    assert found.timed.pace.logs.shape == (found.timed.rows.num_rows, 2)


def test_a_memory_that_is_damaged_is_told_with_the_run() -> None:
    with pytest.raises(UserError, match="run r1: no record of cores' speed"):
        evidence(*recorded(b"rubbish"))  # type: ignore[arg-type]
