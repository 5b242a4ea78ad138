"""Forecasts and largest rates: intervals for one more run, and the rate at which an SLO just holds."""

import math
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from tests.simulate.simulated_support import NO_COSTS, constant, lone, run
from trivet.errors import SpecError
from trivet.load.arrivals import Constant, Poisson, Recorded
from trivet.simulate.errors import NotProfiledError
from trivet.simulate.forecast import NoRateError, figures_of, forecast, largest_rate, prediction_interval
from trivet.simulate.profile import (
    VERSION,
    HostCosts,
    ModelTimes,
    ServiceProfile,
    model_key,
    read_profile,
    usable_profile,
    write_profile,
)
from trivet.simulate.server import simulate_service
from trivet.simulate.setup import Setup, StageSetup
from trivet.stats import student_t

MS, S = 1_000_000, 1_000_000_000
PROFILE = constant({1: 10 * MS})
SETUP = lone(slo_ns=50 * MS, deadline_ns=150 * MS)


def test_a_forecast_of_what_never_varies_has_no_width() -> None:
    found = forecast(PROFILE, SETUP, np.arange(100) * 20 * MS, replications=3)
    assert found.replications == 3
    p99 = found.figures["latency_p99_ms"]
    assert (p99.low, p99.high) == pytest.approx((10.0, 10.0))
    assert found.figures["slo_attainment"].estimate == 1.0
    assert found.figures["cpu_ms_per_request"].estimate == pytest.approx(10.0)


def test_the_same_seed_gives_the_same_forecast_and_another_one_another() -> None:
    process = Poisson(rate_rps=70, duration_ns=5 * S)
    first, again, other = (forecast(PROFILE, SETUP, process, replications=3, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_figures_count_from_the_end_of_the_warm_up() -> None:
    found = run(PROFILE, SETUP, [0, 1, 2, 100 * MS, 1_000 * MS])
    figures = figures_of(found, SETUP, warmup_ns=50 * MS)
    assert figures["latency_p99_ms"] == 10.0
    assert figures["throughput_rps"] == pytest.approx(2 / 0.95)
    assert figures_of(found, SETUP, warmup_ns=2 * S) == {}


def test_a_prediction_interval_is_students_over_logarithms() -> None:
    values = [1.0, math.e, math.e**2]
    found = prediction_interval(values)
    margin = student_t.quantile(0.975, 2) * math.sqrt(1 + 1 / 3)
    assert (math.log(found.estimate), math.log(found.low), math.log(found.high)) == pytest.approx(
        (1.0, 1 - margin, 1 + margin)
    )
    wider = prediction_interval(values, error=1.0)
    assert wider.high > found.high
    shares = prediction_interval([0.98, 1.0], is_share=True)
    assert shares.high == 1.0
    assert shares.estimate == 0.99
    assert prediction_interval([3.0]).high == math.inf


@pytest.mark.parametrize(
    ("setup", "missing"),
    [
        (Setup("s", (StageSetup("other"),), 1, 1, S), "other was not profiled; profiled: m"),
        (Setup("s", (StageSetup("m"),), 2, 1, S), "2 workers on 1 core share it"),
        (lone(max_batch_size=4, deadline_ns=S), "batches of 4 of m: profiled up to 1 rows"),
        (lone(execution="thread", instances=3, cores=4), "3 engines of m at once: profiled up to 2"),
    ],
)
def test_beyond_the_profile_nothing_is_forecast(setup: Setup, missing: str) -> None:
    assert missing in forecast(PROFILE, setup, np.arange(3), replications=2).refused
    with pytest.raises(NotProfiledError, match="profile it first"):
        simulate_service(PROFILE, setup, np.arange(3), seed=0)


def test_a_batch_that_no_deadline_allows_need_not_be_profiled() -> None:
    assert PROFILE.covers(lone(max_batch_size=4, deadline_ns=10 * MS)) == ""


def test_a_thread_that_was_never_handed_anything_is_not_covered() -> None:
    profile = constant({1: 10}, HostCosts())
    assert "thread" in profile.covers(lone(execution="thread"))


def test_lengths_beyond_the_longest_are_not_covered() -> None:
    profile = ServiceProfile(service="s", models={"m": ModelTimes(samples={16: {1: [5]}})}, host=NO_COSTS)
    assert profile.covers(lone(), [16]) == ""
    assert "requests of length 20: profiled up to 16" in profile.covers(lone(), [20])


def test_a_profile_survives_its_file(tmp_path: Path) -> None:
    path = tmp_path / "kept" / "profile.json"
    write_profile(PROFILE, path)
    assert read_profile(path) == PROFILE
    with pytest.raises(SpecError, match=f"another version.*this one needs {VERSION}.*--again"):
        usable_profile(path)
    write_profile(msgspec.structs.replace(PROFILE, version=VERSION), path)
    assert usable_profile(path).models == PROFILE.models
    path.write_text("{}")
    with pytest.raises(SpecError, match="not a profile of a service"):
        read_profile(path)


def test_keys_name_what_speed_depends_on() -> None:
    assert model_key("a" * 64, "onnxruntime", 2) == f"{'a' * 16}/onnxruntime/2"
    assert model_key("a" * 64, "onnxruntime", 2, "off", spinning=True).endswith("/2/off/spinning")


def test_the_largest_rate_of_even_arrivals_is_what_the_engine_can_do() -> None:
    """Constant arrivals and times: everything is in time up to 100 requests a second, and little beyond."""
    found = largest_rate(
        PROFILE,
        lone(slo_ns=10 * MS),
        Constant(rate_rps=40, duration_ns=S),
        seed=1,
        replications=2,
        num_requests=400,
    )
    assert found.estimate == pytest.approx(100, rel=0.02)


def test_just_below_the_largest_rate_the_slo_holds_and_just_above_it_does_not() -> None:
    process = Poisson(rate_rps=50, duration_ns=20 * S)
    found = largest_rate(PROFILE, SETUP, process, seed=3, replications=3, num_requests=1_500)
    attained = [
        forecast(
            PROFILE, SETUP, Poisson(rate_rps=rate, duration_ns=int(3_000 / rate * S)), replications=2, seed=9
        )
        .figures["slo_attainment"]
        .estimate
        for rate in (0.8 * found.estimate, 1.2 * found.estimate)
    ]
    assert attained[0] > 0.99 > attained[1]
    kept_free = largest_rate(PROFILE, SETUP, process, seed=3, replications=3, num_requests=1_500, safety=0.3)
    assert kept_free.estimate < found.estimate


def test_a_trace_keeps_its_bursts_at_every_rate() -> None:
    bursts = Recorded.of(np.repeat(np.arange(200) * S, 3))
    found = largest_rate(PROFILE, lone(slo_ns=30 * MS), bursts, seed=1, replications=2, num_requests=300)
    # Three at once are in time as long as the next three come after 30 ms.
    assert found.estimate == pytest.approx(100, rel=0.03)


@pytest.mark.parametrize(
    ("setup", "message"),
    [
        (replace(SETUP, slo_latency_ns=None), "no SLO latency"),
        (lone(slo_ns=5 * MS), "holds at no rate"),
    ],
)
def test_where_there_is_no_largest_rate_it_says_why(setup: Setup, message: str) -> None:
    with pytest.raises(NoRateError, match=message):
        largest_rate(
            PROFILE, setup, Poisson(rate_rps=10, duration_ns=S), seed=1, replications=2, num_requests=50
        )


def test_where_hiccups_alone_break_the_slo_the_search_ends() -> None:
    host = msgspec.structs.replace(
        PROFILE.host, hiccups=[(at, 40 * MS) for at in range(0, S, 100 * MS)], observed_ns=S
    )
    profile = msgspec.structs.replace(PROFILE, host=host, notes=["others had 82% of the core"])
    with pytest.raises(NoRateError, match=r"holds at no rate.*; others had 82% of the core"):
        largest_rate(
            profile, lone(slo_ns=20 * MS), Poisson(rate_rps=10, duration_ns=S), seed=1, num_requests=2000
        )


def test_a_largest_rate_beyond_the_profile_is_refused() -> None:
    with pytest.raises(NotProfiledError, match="no largest rate"):
        largest_rate(
            PROFILE,
            lone(slo_ns=S, max_batch_size=2, deadline_ns=S),
            Poisson(rate_rps=1, duration_ns=S),
            seed=0,
        )
