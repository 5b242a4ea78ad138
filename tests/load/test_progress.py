import numpy as np
import pytest

from trivet.load.progress import PERIOD_NS, Monitor, Progress
from trivet.load.record import Record
from trivet.spec.row import ABSENT
from trivet.stats.percentile import percentile_ns

MS = 1_000_000


def ended(latencies: list[int], start_ns: int = 0) -> Record:
    """Requests of which one a microsecond is due from the start on, each answered after so long."""
    record = Record([start_ns + 1000 * number for number in range(len(latencies))])
    record.done_ns = [at + latency for at, latency in zip(record.intended_ns, latencies, strict=True)]
    record.status = [200] * len(latencies)
    return record


def test_a_monitor_tells_totals_and_what_was_new() -> None:
    told: list[Progress] = []
    monitor = Monitor(told.append)
    monitor.start(1000)
    record = ended([10, 20, 30, 99], start_ns=1000)
    record.status[3] = 503
    record.add(9000)  # in flight
    monitor.num_errors = 1
    assert not monitor.is_due(1000 + PERIOD_NS - 1)
    assert monitor.is_due(1000 + PERIOD_NS)
    monitor.tell(1000 + PERIOD_NS, record, num_sent=5, num_done=4, oldest=4)
    monitor.tell(1000 + 2 * PERIOD_NS, record, num_sent=5, num_done=4, oldest=4)
    record.done_ns[4], record.status[4] = 9000 + 3 * PERIOD_NS, 200
    monitor.tell(10_000 + 3 * PERIOD_NS, record, num_sent=5, num_done=5, oldest=5)
    first, quiet, last = told
    assert first == Progress(elapsed_ns=PERIOD_NS, sent=5, done=4, errors=1, p50_ns=20, p99_ns=30, rate_rps=6)
    assert quiet == Progress(
        elapsed_ns=2 * PERIOD_NS, sent=5, done=4, errors=1, p50_ns=ABSENT, p99_ns=ABSENT, rate_rps=0
    )
    assert (last.p50_ns, last.done) == (3 * PERIOD_NS, 5)  # sent long ago, and no less told


@pytest.mark.parametrize("period", [1, 2, 3, 10, 64])
def test_of_many_a_sample_is_told_that_has_no_step(period: int) -> None:
    """Inputs that come in turn, of which every so manieth takes long, must not fool it."""
    told: list[Progress] = []
    monitor = Monitor(told.append)
    rng = np.random.default_rng(1)
    latencies = rng.exponential(5 * MS, 50_000) * np.where(np.arange(50_000) % period == 0, 3, 1)
    record = ended(latencies.astype(int).tolist())
    monitor.tell(PERIOD_NS, record, num_sent=50_000, num_done=50_000, oldest=50_000)
    for p, found in ((0.5, told[0].p50_ns), (0.99, told[0].p99_ns)):
        assert found / percentile_ns(latencies.astype(np.int64), p) == pytest.approx(1, abs=0.12)
    assert told[0].rate_rps == 100_000


def test_progress_reads_as_one_line() -> None:
    line = Progress(
        elapsed_ns=1500 * MS, sent=1200, done=3, errors=1, p50_ns=MS, p99_ns=25 * MS // 10, rate_rps=640.4
    )
    assert str(line) == "   1.5 s  640/s  p50 1 ms, p99 2.5 ms  1,200 sent  1 errors"
    quiet = Progress(elapsed_ns=0, sent=0, done=0, errors=0, p50_ns=ABSENT, p99_ns=ABSENT, rate_rps=0)
    assert "no answer yet" in str(quiet)
