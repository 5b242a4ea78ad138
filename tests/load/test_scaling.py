"""What each way of scaling promises: counts exactly, for every trace; dispersion on seeded ones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from trivet.errors import SpecError
from trivet.load.arrivals import NS, Curve, Gamma
from trivet.load.dispersion import describe
from trivet.load.scaling import How, scaled

DURATION_NS = 40 * NS
traces = st.lists(st.integers(0, DURATION_NS - 1), min_size=1, max_size=80).map(
    lambda at: np.array(sorted(at), np.int64)
)
factors = st.floats(0.05, 6)
HOWS: tuple[How, ...] = ("users", "amplitude", "time")


def rng(seed: int = 5) -> np.random.Generator:
    return np.random.default_rng(seed)


@given(trace=traces, factor=factors, how=st.sampled_from(HOWS), seed=st.integers(0, 999))
def test_instants_ascend_within_the_duration_and_follow_the_seed(
    trace: NDArray[np.int64], factor: float, how: How, seed: int
) -> None:
    at = scaled(trace, factor, how, rng(seed), duration_ns=DURATION_NS)
    assert at.dtype == np.int64
    assert (np.diff(at) >= 0).all()
    assert (at >= 0).all()
    assert (at < (DURATION_NS / factor if how == "time" else DURATION_NS)).all()
    np.testing.assert_array_equal(at, scaled(trace, factor, how, rng(seed), duration_ns=DURATION_NS))


@given(trace=traces, how=st.sampled_from(HOWS))
def test_a_factor_of_one_changes_nothing(trace: NDArray[np.int64], how: How) -> None:
    np.testing.assert_array_equal(scaled(trace, 1, how, rng()), trace)


@given(trace=traces, factor=factors)
def test_users_and_amplitude_give_exactly_so_many(trace: NDArray[np.int64], factor: float) -> None:
    for how in ("users", "amplitude"):
        assert len(scaled(trace, factor, how, rng(), duration_ns=DURATION_NS)) == round(factor * len(trace))


@given(trace=traces, factor=factors, window_s=st.sampled_from([1, 7, 10]))
def test_amplitude_scales_every_window(trace: NDArray[np.int64], factor: float, window_s: int) -> None:
    window_ns = window_s * NS
    at = scaled(trace, factor, "amplitude", rng(), duration_ns=DURATION_NS, window_ns=window_ns)
    num = DURATION_NS // window_ns + 1
    before, after = (np.bincount(times // window_ns, minlength=num) for times in (trace, at))
    assert (np.abs(after - factor * before) <= 1).all()


@given(trace=traces, num_copies=st.integers(2, 5))
def test_whole_users_are_copies_of_the_trace_moved_around_the_clock(
    trace: NDArray[np.int64], num_copies: int
) -> None:
    offsets = rng()
    expected = [trace] + [
        (trace + int(offsets.integers(DURATION_NS))) % DURATION_NS for _ in range(num_copies - 1)
    ]
    at = scaled(trace, num_copies, "users", rng(), duration_ns=DURATION_NS)
    np.testing.assert_array_equal(at, np.sort(np.concatenate(expected)))


@given(trace=traces, factor=st.floats(0.05, 0.99))
def test_a_part_of_the_users_sends_a_part_of_the_requests(trace: NDArray[np.int64], factor: float) -> None:
    part = scaled(trace, factor, "users", rng(), duration_ns=DURATION_NS)
    left = list(trace)
    for instant in part:
        left.remove(instant)
    assert len(left) == len(trace) - len(part)


@given(trace=traces, factor=st.integers(1, 9))
def test_time_keeps_the_counts_of_windows_that_are_shorter_by_the_factor(
    trace: NDArray[np.int64], factor: int
) -> None:
    at = scaled(trace, factor, "time", rng())
    assert len(at) == len(trace)
    before = np.bincount(trace // (factor * NS), minlength=50)
    np.testing.assert_array_equal(np.bincount(at // NS, minlength=50), before)


def bursty() -> NDArray[np.int64]:
    """Gamma gaps of variation 3: an index of dispersion of about 9 at 1 s."""
    return Gamma(rate_rps=50, duration_ns=2000 * NS, gap_cv=3).instants_ns(rng(1))


def index_at_1s(at: NDArray[np.int64], duration_ns: int) -> float:
    index = describe(at, duration_ns).scales[1].index
    assert index is not None
    return index


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_whole_users_keep_the_index_of_dispersion(factor: int) -> None:
    trace, duration_ns = bursty(), 2000 * NS
    before = index_at_1s(trace, duration_ns)
    assert before > 6
    after = index_at_1s(scaled(trace, factor, "users", rng(), duration_ns=duration_ns), duration_ns)
    assert after == pytest.approx(before, rel=0.15)


@pytest.mark.parametrize("factor", [0.5, 1.5, 2, 4])
def test_amplitude_keeps_dispersion_inside_its_windows_and_peaks_over_them(factor: float) -> None:
    """A rate that swings by the minute, with clumps of seconds: the first is curve, the second dispersion."""
    swing = Curve(at_ns=(0, 60 * NS, 120 * NS), rates_rps=(20, 200, 20))
    minutes = [swing.instants_ns(rng(seed)) + seed * 120 * NS for seed in range(8)]
    clumps = np.repeat(np.concatenate(minutes), 5)
    duration_ns = 960 * NS
    at = scaled(clumps, factor, "amplitude", rng(), duration_ns=duration_ns, window_ns=10 * NS)
    before, after = describe(clumps, duration_ns), describe(at, duration_ns)
    assert after.scales[2].peak_to_mean == pytest.approx(before.scales[2].peak_to_mean, rel=0.02)

    def inside(times: NDArray[np.int64]) -> float:
        """Variance over mean of counts in 0.1 s around the mean of their own 10 s."""
        counts = np.bincount(times // (NS // 10), minlength=9600).reshape(96, 100)
        return float(counts.var(axis=1, ddof=1).sum() / counts.mean(axis=1).sum())

    assert inside(clumps) > 4
    assert inside(at) == pytest.approx(inside(clumps), rel=0.1)


def test_time_moves_dispersion_to_shorter_windows() -> None:
    trace = bursty()
    at = scaled(trace, 10, "time", rng())
    before = describe(trace, 2000 * NS)
    after = describe(at, 200 * NS)
    assert after.scales[0].index == before.scales[1].index
    assert after.scales[1].index == before.scales[2].index


@pytest.mark.parametrize(
    ("at", "factor", "how", "complaint"),
    [
        ([0, 1], 0, "time", "factor above 0, got 0"),
        ([0, 1], float("inf"), "users", "factor above 0, got inf"),
        ([0, 1], 2, "double", "users, amplitude, time, got 'double'"),
        ([0, 1], 2e7, "users", "more than the 20,000,000"),
        ([1, 0], 2, "users", "ascend from 0"),
        ([-1, 0], 2, "time", "ascend from 0"),
        ([0, 11], 2, "users", "ends at 12 ns, after its duration of 10 ns"),
    ],
)
def test_what_cannot_be_scaled_is_refused(at: list[int], factor: float, how: How, complaint: str) -> None:
    with pytest.raises(SpecError, match=complaint):
        scaled(np.array(at, np.int64), factor, how, rng(), duration_ns=10)


@pytest.mark.parametrize("how", HOWS)
def test_nothing_stays_nothing(how: How) -> None:
    assert len(scaled(np.array([], np.int64), 3, how, rng())) == 0
