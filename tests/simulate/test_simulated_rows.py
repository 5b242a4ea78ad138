"""A simulated run as rows."""

import numpy as np
import pytest

from tests.spec.row_contract import RowWriterContract
from trivet.schedule import Scheduler, ServiceTime
from trivet.simulate.baselines import Fifo
from trivet.simulate.driver import simulate
from trivet.simulate.rows import rows_of
from trivet.simulate.workload import Machine, Shape, merged, workload
from trivet.spec.row import ABSENT, RowColumns

SHAPE = Shape(100, 10)


def simulated(arrivals: list[int], budget: int, *, noise: float = 0.0, fifo: bool = False) -> RowColumns:
    """Two models on one core; the second gets the same arrivals a little later."""
    scheduler, queues = Scheduler(1), []
    for name in ("first", "second"):
        times = ServiceTime(8)
        times.seed(None, {rows: [SHAPE.ns(rows)] * 5 for rows in range(1, 9)})
        queues.append(scheduler.queue(scheduler.add_model(name, max_batch_size=8, service_time=times)))
    instants = np.array(arrivals, np.int64)
    machine = Machine(np.random.default_rng(3), noise_cv=noise)
    if fifo:
        work = workload(instants, budget)
        return rows_of(simulate(Fifo(queues[0], 8), queues, [SHAPE], work, machine), work, ("first",))
    work = merged(workload(instants, budget), workload(instants + 7, budget, 1))
    return rows_of(simulate(scheduler, queues, [SHAPE] * 2, work, machine), work, ("first", "second"))


class TestRowsOfASimulation(RowWriterContract):
    @pytest.fixture
    def rows(self) -> RowColumns:
        return simulated(list(range(0, 4_000, 9)), 300, noise=0.5)


class TestRowsOfASchedulerThatAnswersLate(RowWriterContract):
    @pytest.fixture
    def rows(self) -> RowColumns:
        return simulated(list(range(0, 4_000, 9)), 300, noise=0.5, fifo=True)


def test_rows_of_a_run_worked_out_by_hand() -> None:
    rows = simulated([0, 10, 20, 500], 400, fifo=True)
    # The first runs alone until 110; the next two gather meanwhile and run until 230.
    assert rows["done_ns"].tolist() == [110, 230, 230, 610]
    assert rows["queue_ns"].tolist() == [0, 100, 90, 0]
    assert rows["compute_ns"].tolist() == [110, 120, 120, 110]
    assert rows["batch_size"].tolist() == [1, 2, 2, 1]
    assert rows.words["outcome"].decode().tolist() == ["ok"] * 4


def test_every_outcome_of_a_busy_run_has_its_own_row() -> None:
    rows = simulated(list(range(0, 4_000, 9)), 300, noise=0.5)
    by_outcome = {
        word: rows.select(rows.words["outcome"].equal(word))
        for word in ("ok", "failed", "refused", "dropped")
    }
    assert sum(part.num_rows for part in by_outcome.values()) == rows.num_rows
    assert set(by_outcome["ok"].words["service"].decode()) == {"first", "second"}
    refused = by_outcome["refused"]
    assert refused.num_rows > 0
    assert set(refused["batch_size"].tolist()) == {0}
    assert set(refused["queue_ns"].tolist()) == {ABSENT}
    assert set(by_outcome["failed"]["status"].tolist()) <= {504}
    assert rows.header.clock == "virtual"
