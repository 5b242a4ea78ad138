import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet.errors import SpecError
from trivet.load.arrivals import NS, Arrivals, Constant, Gamma, Mmpp, Poisson, Recorded, Steps

RANDOM = [
    Poisson(rate_rps=1000, duration_ns=10 * NS),
    Gamma(rate_rps=1000, duration_ns=10 * NS, gap_cv=2.0),
    Mmpp(rate_rps=1000, duration_ns=10 * NS),
    Steps(rates_rps=(100, 0, 3000), durations_ns=(5 * NS, 2 * NS, 3 * NS)),
]

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


def test_mmpp_bursts_have_the_declared_rate_and_share() -> None:
    """Counting in cells of 100 ms: with long sojourns almost every cell is in one state."""
    process = Mmpp(rate_rps=1600, duration_ns=400 * NS, mean_burst_ns=4 * NS)
    counts = np.histogram(process.instants_ns(rng()), bins=np.arange(0, 401 * NS, NS // 10))[0]
    bursting = counts > 250
    assert bursting.mean() == pytest.approx(0.2, abs=0.08)
    assert np.median(counts[bursting]) == pytest.approx(400, rel=0.05)
    assert np.median(counts[~bursting]) == pytest.approx(100, rel=0.05)


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
