import os

import pytest

from trivet.load.arrivals import NS, Recorded
from trivet.load.connection import TargetError
from trivet.load.job import Job, OpenLoop
from trivet.load.null_target import BODY, REQUEST, Floor, floor, null_target
from trivet.load.offer import offer
from trivet.spec.row import RowColumns

MS = 1_000_000


def test_the_null_target_answers_every_request_on_its_core_and_ends_with_its_user() -> None:
    core = max(os.sched_getaffinity(0))
    load = OpenLoop(arrivals=Recorded(at_ns=tuple(range(0, 20 * MS, MS))))
    with null_target(core) as target:
        job = Job(target=target, requests=[REQUEST], load=load, seed=1, min_connections=4, keep_answers=True)
        rows = RowColumns.decode(offer(job).rows)
    assert rows.words["outcome"].words == ("ok",)
    assert set(rows.blobs["answer"]) == {BODY}
    with pytest.raises(TargetError, match="nothing answers"):
        offer(job)


def test_the_floor_is_measured_with_the_runs_own_rate() -> None:
    cores = sorted(os.sched_getaffinity(0))
    found = floor(cores[0], cores[-1], rate_rps=500, duration_ns=100 * MS)
    assert found.rate_rps == 500
    assert 0 < found.p50_ns <= found.p99_ns < NS
    assert found.max_rps > 500
    assert ("which the server has" in found.invalid) == (len(cores) == 1)


def test_a_floor_reads_as_one_line() -> None:
    line = "floor at 1,000/s: p50 0.100 ms, p99 0.250 ms, p99 send lag 0.020 ms; at most 50,000/s"
    values = (1000, 100_000, 250_000, 20_000, 50_000)
    assert str(Floor(*values)) == line
    assert str(Floor(*values, "behind")) == f"{line}; INVALID: behind"


def test_a_null_target_that_cannot_start_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trivet.load.null_target.sys.executable", "/bin/false")
    with pytest.raises(TargetError, match="ended with code 1 before it listened"):
        with null_target():
            pass
