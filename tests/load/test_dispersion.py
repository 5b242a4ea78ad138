import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet.load.arrivals import NS, Constant, Poisson
from trivet.load.dispersion import WINDOWS_NS, describe

instants = st.lists(st.integers(0, 50 * NS), min_size=1, max_size=60).map(sorted)


@given(at=instants)
def test_figures_are_those_of_counting_every_window(at: list[int]) -> None:
    """The slow way: a list of counts, one for each window, the empty ones too."""
    described = describe(np.array(at, np.int64), duration_ns=50 * NS + 1)
    for scale, window_ns in zip(described.scales, WINDOWS_NS, strict=True):
        num = (50 * NS + 1) // window_ns
        counts = [0] * num
        for instant in at:
            if instant // window_ns < num:
                counts[instant // window_ns] += 1
        assert scale.num_windows == num
        if not sum(counts):
            assert (scale.peak_to_mean, scale.index) == (None, None)
            continue
        assert scale.peak_to_mean == pytest.approx(max(counts) / np.mean(counts))
        assert scale.index == pytest.approx(np.var(counts, ddof=1) / np.mean(counts))


def test_even_arrivals_have_no_dispersion_and_poisson_ones_have_one() -> None:
    rng = np.random.default_rng(3)
    even = describe(Constant(rate_rps=100, duration_ns=100 * NS).instants_ns(rng), 100 * NS)
    assert [(scale.peak_to_mean, scale.index) for scale in even.scales] == [(1, 0)] * 3
    poisson = describe(Poisson(rate_rps=100, duration_ns=400 * NS).instants_ns(rng), 400 * NS)
    assert poisson.scales[0].index == pytest.approx(1, abs=0.06)
    assert poisson.mean_rps == pytest.approx(100, rel=0.02)


def test_what_is_too_short_says_so() -> None:
    described = describe(np.array([0, NS // 2, NS], np.int64))
    assert str(described) == (
        "3 requests over 1 s, 3/s; 0.1 s: peak/mean 5, dispersion 0.889; 1 s: too short to say; "
        "10 s: too short to say"
    )


def test_no_arrivals_have_no_figures() -> None:
    described = describe(np.array([], np.int64))
    assert (described.num_arrivals, described.mean_rps) == (0, 0)
    assert [scale.index for scale in described.scales] == [None] * 3
