import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet.errors import SpecError
from trivet.load.arrivals import NS, Arrivals, Constant, Curve, Gamma, Mmpp, Poisson, Recorded, Steps

RANDOM = [
    Poisson(rate_rps=1000, duration_ns=10 * NS),
    Gamma(rate_rps=1000, duration_ns=10 * NS, gap_cv=2.0),
    Mmpp(rate_rps=1000, duration_ns=10 * NS),
    Steps(rates_rps=(100, 0, 3000), durations_ns=(5 * NS, 2 * NS, 3 * NS)),
    Curve(at_ns=(0, 4 * NS, 6 * NS, 10 * NS), rates_rps=(0, 1500, 1500, 500)),
]
curves = (
    st.lists(st.tuples(st.integers(0, NS), st.floats(0, 1e4)), min_size=2, max_size=6)
    .filter(lambda points: max(at for at, _ in points) > 0)
    .map(
        lambda points: Curve(
            at_ns=(0, *sorted(at for at, _ in points)[1:]), rates_rps=tuple(rate for _, rate in points)
        )
    )
)

processes = st.one_of(
    st.builds(Constant, rate_rps=st.floats(0.1, 1e4), duration_ns=st.integers(1, NS)),
    st.builds(Poisson, rate_rps=st.floats(0.1, 1e4), duration_ns=st.integers(1, NS)),
    st.builds(
        Gamma,
        rate_rps=st.floats(0.1, 1e4),
        duration_ns=st.integers(1, NS),
        gap_cv=st.floats(0.1, 5),
    ),
    st.builds(
        Mmpp,
        rate_rps=st.floats(0.1, 1e4),
        duration_ns=st.integers(1, NS),
        burst_factor=st.floats(1, 20),
        burst_share=st.floats(0.05, 0.95),
        mean_burst_ns=st.integers(10**6, NS),
    ),
    curves,
)


def rng(seed: int = 7) -> np.random.Generator:
    return np.random.default_rng(seed)


@given(process=processes, seed=st.integers(0, 2**32))
def test_instants_ascend_within_the_duration_and_follow_the_seed(process: Arrivals, seed: int) -> None:
    instants = process.instants_ns(rng(seed))
    assert instants.dtype == np.int64
    assert (np.diff(instants) >= 0).all()
    assert ((instants >= 0) & (instants < process.duration_ns)).all()
    np.testing.assert_array_equal(instants, process.instants_ns(rng(seed)))


@pytest.mark.parametrize("process", RANDOM, ids=lambda process: type(process).__name__)
def test_another_seed_gives_other_instants(process: Arrivals) -> None:
    first, second = process.instants_ns(rng(1)), process.instants_ns(rng(2))
    assert len(first) != len(second) or (first != second).any()


def test_constant_arrivals_are_evenly_spaced_from_zero() -> None:
    process = Constant(rate_rps=4, duration_ns=NS)
    assert process.instants_ns(rng()).tolist() == [0, NS // 4, NS // 2, 3 * NS // 4]


@pytest.mark.parametrize("rate_rps", [3, 7, 999.5, 20_000])
def test_a_constant_rate_gives_rate_times_duration_arrivals(rate_rps: float) -> None:
    assert len(Constant(rate_rps=rate_rps, duration_ns=2 * NS).instants_ns(rng())) == int(2 * rate_rps)


@pytest.mark.parametrize("process", RANDOM, ids=lambda process: type(process).__name__)
def test_the_mean_rate_is_the_declared_one(process: Arrivals) -> None:
    """Over 40 fixed seeds, the mean count is near the expectation: 9,500 for the steps, 10,000 elsewhere."""
    counts = [len(process.instants_ns(rng(seed))) for seed in range(40)]
    expected = 9_500 if isinstance(process, Steps) else 10_000
    assert np.mean(counts) == pytest.approx(expected, rel=0.04)


def test_gaps_of_poisson_and_gamma_have_the_declared_variation() -> None:
    def gap_cv(process: Arrivals) -> float:
        gaps = np.diff(process.instants_ns(rng()))
        return float(gaps.std() / gaps.mean())

    assert gap_cv(Poisson(rate_rps=1000, duration_ns=100 * NS)) == pytest.approx(1, rel=0.02)
    assert gap_cv(Gamma(rate_rps=1000, duration_ns=100 * NS, gap_cv=3)) == pytest.approx(3, rel=0.05)
    assert gap_cv(Gamma(rate_rps=1000, duration_ns=100 * NS, gap_cv=0.2)) == pytest.approx(0.2, rel=0.02)


def test_steps_hold_each_rate_for_its_duration() -> None:
    instants = Steps(rates_rps=(1000, 0, 5000), durations_ns=(NS, NS, NS)).instants_ns(rng())
    counts = np.histogram(instants, bins=[0, NS, 2 * NS, 3 * NS])[0]
    assert counts[1] == 0
    assert counts[0] == pytest.approx(1000, abs=150)  # this seed's counts, far from each other's range
    assert counts[2] == pytest.approx(5000, abs=350)


def test_a_curve_holds_its_rate_at_every_point() -> None:
    """By 40 seeds, counts in tenths of the length are those of the area under the line."""
    curve = Curve(at_ns=(0, 4 * NS, 4 * NS, 10 * NS), rates_rps=(100, 900, 300, 0))
    counts = sum(np.histogram(curve.instants_ns(rng(seed)), 10, (0, 10 * NS))[0] for seed in range(40)) / 40
    expected = [200, 400, 600, 800, *(300 * (5.5 - i) / 6 for i in range(6))]
    assert counts == pytest.approx(expected, rel=0.06, abs=4)
    assert curve.mean_rps * 10 == pytest.approx(2000 + 900)


def test_a_flat_curve_is_a_poisson_process() -> None:
    flat = Curve(at_ns=(0, 100 * NS), rates_rps=(1000, 1000))
    poisson = Poisson(rate_rps=1000, duration_ns=100 * NS)
    np.testing.assert_allclose(flat.instants_ns(rng()), poisson.instants_ns(rng()), atol=100)


def test_a_curve_is_stretched_and_raised() -> None:
    curve = Curve(at_ns=(0, NS, 4 * NS), rates_rps=(1, 3, 0))
    assert curve.times(10) == Curve(at_ns=(0, NS, 4 * NS), rates_rps=(10, 30, 0))
    assert curve.times(1, duration_ns=8 * NS) == Curve(at_ns=(0, 2 * NS, 8 * NS), rates_rps=(1, 3, 0))


@pytest.mark.parametrize(
    ("at_ns", "rates_rps", "complaint"),
    [
        ((0,), (1,), "at least two: got 1 instants, 1 rates"),
        ((0, 1), (1,), "got 2 instants, 1 rates"),
        ((1, 2), (1, 1), r"ascend from 0, got \(1, 2\)"),
        ((0, 2, 1), (1, 1, 1), r"ascend from 0, got \(0, 2, 1\)"),
        ((0, 0), (1, 1), "ascend from 0"),
        ((0, 1), (1, -1), r"not negative, got \(1, -1\)"),
        ((0, 1), (1, float("nan")), r"finite"),
        (tuple(range(9)), (-1,) * 9, r"-1, ...\)"),
    ],
)
def test_a_curve_that_is_none_is_refused(
    at_ns: tuple[int, ...], rates_rps: tuple[float, ...], complaint: str
) -> None:
    with pytest.raises(SpecError, match=complaint):
        Curve(at_ns=at_ns, rates_rps=rates_rps)


def test_mmpp_bursts_have_the_declared_rate_and_share() -> None:
    """Counting in cells of 100 ms: with long sojourns almost every cell is in one state."""
    process = Mmpp(rate_rps=1600, duration_ns=400 * NS, mean_burst_ns=4 * NS)
    counts = np.histogram(process.instants_ns(rng()), bins=np.arange(0, 401 * NS, NS // 10))[0]
    bursting = counts > 250
    assert bursting.mean() == pytest.approx(0.2, abs=0.08)
    assert np.median(counts[bursting]) == pytest.approx(400, rel=0.05)
    assert np.median(counts[~bursting]) == pytest.approx(100, rel=0.05)


def test_instants_make_a_recorded_trace() -> None:
    assert Recorded.of(np.array([0, 5, 9])) == Recorded(at_ns=(0, 5, 9))


def test_a_recorded_trace_is_offered_as_it_is() -> None:
    process = Recorded(at_ns=(0, 5, 5, 9))
    assert process.instants_ns(rng()).tolist() == [0, 5, 5, 9]
    assert process.duration_ns == 10


def test_a_trace_that_goes_back_in_time_is_refused() -> None:
    with pytest.raises(SpecError, match="index 2: 3 after 5"):
        Recorded(at_ns=(0, 5, 3)).instants_ns(rng())


@pytest.mark.parametrize(
    "process",
    [
        Constant(rate_rps=1e9, duration_ns=NS),
        Poisson(rate_rps=1e9, duration_ns=NS),
        Gamma(rate_rps=1e9, duration_ns=NS, gap_cv=1),
        Mmpp(rate_rps=1e9, duration_ns=NS),
        Curve(at_ns=(0, NS), rates_rps=(0, 1e9)),
    ],
    ids=lambda process: type(process).__name__,
)
def test_more_arrivals_than_fit_a_run_are_refused(process: Arrivals) -> None:
    with pytest.raises(SpecError, match="at most 20,000,000"):
        process.instants_ns(rng())


def test_steps_without_matching_durations_are_refused() -> None:
    with pytest.raises(SpecError, match="2 rates and 1 durations"):
        Steps(rates_rps=(1, 2), durations_ns=(NS,))


def test_a_process_travels_as_json() -> None:
    for process in [*RANDOM, Constant(rate_rps=1, duration_ns=NS), Recorded(at_ns=(1, 2))]:
        assert msgspec.json.decode(msgspec.json.encode(process), type=Arrivals) == process
    with pytest.raises(msgspec.ValidationError, match="unknown field `rate`"):
        msgspec.json.decode(b'{"type":"poisson","rate_rps":1,"duration_ns":1,"rate":2}', type=Arrivals)
