import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trivet.load.progress import PERIOD_NS, Histogram, Monitor, Progress
from trivet.spec.row import ABSENT
from trivet.stats.percentile import percentile_ns

MS = 1_000_000


@given(durations=st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=50), p=st.floats(0.01, 1))
def test_a_percentile_is_at_most_a_thirtysecond_under_the_true_one(durations: list[int], p: float) -> None:
    histogram = Histogram()
    for duration in durations:
        histogram.add(duration)
    (found,) = histogram.percentiles(p)
    ordered = sorted(durations)
    true = next(value for rank, value in enumerate(ordered, 1) if rank >= p * len(ordered))
    assert true - true // 32 - 1 <= found <= true


@given(duration=st.integers(0, 2**63 - 1))
def test_small_durations_are_exact(duration: int) -> None:
    histogram = Histogram()
    histogram.add(duration % 64)
    assert histogram.percentiles(0.5, 0.99) == [duration % 64] * 2


def test_percentiles_follow_those_of_the_sorted_sample() -> None:
    sample = np.random.default_rng(1).exponential(5 * MS, 5000).astype(np.int64)
    histogram = Histogram()
    for duration in sample.tolist():
        histogram.add(duration)
    for p, found in zip((0.5, 0.99), histogram.percentiles(0.5, 0.99), strict=True):
        assert 0.96 < found / percentile_ns(sample, p) <= 1


def test_an_empty_histogram_has_no_percentiles() -> None:
    histogram = Histogram()
    assert histogram.percentiles(0.5, 0.99) == [ABSENT, ABSENT]
    histogram.add(5)
    histogram.clear()
    assert histogram.percentiles(0.5) == [ABSENT]


def test_a_monitor_tells_totals_and_what_was_new() -> None:
    told: list[Progress] = []
    monitor = Monitor(told.append)
    monitor.start(1000)
    for latency in (10, 20, 30):
        monitor.ended(latency, is_result=True)
    monitor.ended(99, is_result=False)
    assert not monitor.is_due(1000 + PERIOD_NS - 1)
    assert monitor.is_due(1000 + PERIOD_NS)
    monitor.tell(1000 + PERIOD_NS, num_sent=7)
    monitor.tell(1000 + 2 * PERIOD_NS, num_sent=9)
    assert told == [
        Progress(elapsed_ns=PERIOD_NS, sent=7, done=4, errors=1, p50_ns=20, p99_ns=30, rate_rps=6),
        Progress(
            elapsed_ns=2 * PERIOD_NS, sent=9, done=4, errors=1, p50_ns=ABSENT, p99_ns=ABSENT, rate_rps=0
        ),
    ]


def test_progress_reads_as_one_line() -> None:
    line = Progress(
        elapsed_ns=1500 * MS, sent=1200, done=3, errors=1, p50_ns=MS, p99_ns=25 * MS // 10, rate_rps=640.4
    )
    assert str(line) == "   1.5 s  640/s  p50 1 ms, p99 2.5 ms  1,200 sent  1 errors"
    quiet = Progress(elapsed_ns=0, sent=0, done=0, errors=0, p50_ns=ABSENT, p99_ns=ABSENT, rate_rps=0)
    assert "no answer yet" in str(quiet)
