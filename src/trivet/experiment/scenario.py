"""Scenarios beyond one rate, for one side: load/scenarios.py offers their loads, through a function of ours."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from trivet.catalog.records import Figure
from trivet.errors import UserError
from trivet.experiment.mlperf import MLPERF, mlperf_figures
from trivet.experiment.workload import Workload
from trivet.load.job import Job
from trivet.load.knee import Ramp, find_knee
from trivet.load.result import Result
from trivet.load.scenarios import Overload, Soak, Spike, overload, soak, spike
from trivet.spec.levers import Slo

SCENARIOS = ("steady", "ramp", "overload", "spike", "soak", *MLPERF)
_WITHOUT_SLO = ("steady", "mlperf-singlestream", "mlperf-multistream", "mlperf-offline")
# Of others, percentiles and rates over the whole run would mix loads that differ.
ONE_RATE = ("steady", "soak")
_LEAST, _MOST = 0.02, 4.0  # of the rate that a few users get: between them lies the knee
_SPIKE = 2.0
_MULTIPLES = (1.0, 1.5, 2.0, 3.0)
NS_PER_MS = 1e6

Offer = Callable[[Job], Result]


class OfScenario(NamedTuple):
    """Figures that only the scenario has, and why they mean nothing; empty where they do."""

    figures: Mapping[str, Figure]
    invalid: str = ""


def check_scenario(workload: Workload, num_sides: int) -> None:
    """Raises: UserError: a scenario that there is not, or that does not fit the rest."""
    if workload.scenario not in SCENARIOS:
        raise UserError(f"unknown scenario {workload.scenario!r}; known: {', '.join(SCENARIOS)}")
    if workload.scenario == "steady":
        return
    if num_sides > 1:
        raise UserError(
            f"the scenario {workload.scenario} is for one target; compare several with steady load"
        )
    if workload.users is not None:
        raise UserError(f"the scenario {workload.scenario} is an open loop: leave --users out")
    if workload.slo_latency_ns is None and workload.scenario not in _WITHOUT_SLO:
        raise UserError(f"the scenario {workload.scenario} needs a latency to hold: give --slo p99:50ms")


def run_scenario(workload: Workload, base: Job, highest_rps: float, offer: Offer) -> OfScenario:
    """Offer the loads of the scenario that the workload names.

    Args: base: the job in all but its load.  highest_rps: of the target, in a closed loop.
    Raises: NoKneeError: the SLO holds at every rate that was tried, or at none.
    """
    if workload.scenario in MLPERF:
        return OfScenario(*mlperf_figures(workload, base, highest_rps, offer))
    slo = Slo(percentile=workload.slo_percentile, latency_ns=workload.slo_latency_ns)
    match workload.scenario:
        case "ramp":
            return _ramp(workload, base, highest_rps, offer, slo)
        case "overload":
            return _overload(workload, base, highest_rps, offer, slo)
        case "spike":
            return _spike(workload, base, highest_rps, offer, slo)
    return _soak(workload, base, highest_rps, offer, slo)


def _ramp(workload: Workload, base: Job, highest_rps: float, offer: Offer, slo: Slo) -> OfScenario:
    low = workload.rate_rps or _LEAST * highest_rps
    found = find_knee(Ramp(min_rps=low, max_rps=max(2 * low, _MOST * highest_rps)), base, offer, slo)
    note = f"the largest rate that holds {_words(slo)}; {len(found.steps)} rates tried"
    knee = Figure(
        estimate=found.rate_rps, low=found.low_rps, high=found.high_rps, unit="requests/s", verdict=note
    )
    return OfScenario({"knee_rps": knee}, found.invalid)


def _overload(workload: Workload, base: Job, highest_rps: float, offer: Offer, slo: Slo) -> OfScenario:
    each_ns = max(1, workload.duration_ns // len(_MULTIPLES))
    capacity_rps = workload.rate_rps or highest_rps
    scenario = Overload(capacity_rps=capacity_rps, duration_ns=each_ns, multiples=_MULTIPLES)
    found = overload(scenario, base, offer, slo)
    figures = {
        f"goodput_rps at {multiple:g} times": Figure(
            estimate=window.goodput_rps, unit="requests/s", verdict=f"{window.offered_rps:,.0f}/s offered"
        )
        for multiple, window, _ in found.steps
    }
    kept = Figure(
        estimate=found.goodput_kept, unit="share", verdict="the least, beside that at once the capacity"
    )
    invalid = (result.generator.invalid for _, _, result in found.steps)
    return OfScenario({**figures, "goodput_kept": kept}, next(filter(None, invalid), ""))


def _spike(workload: Workload, base: Job, highest_rps: float, offer: Offer, slo: Slo) -> OfScenario:
    rate = workload.rate_rps or highest_rps / 2
    scenario = Spike(base_rps=rate, spike_rps=max(_SPIKE * highest_rps, _SPIKE * rate))
    found = spike(scenario, base, offer, slo)
    what = f"from the end of a spike of {scenario.spike_rps:,.0f}/s until {_words(slo)} holds for good"
    if found.recovered_ns is None:
        least_ms = scenario.after_ns / NS_PER_MS
        recovery = Figure(
            estimate=least_ms, low=least_ms, unit="ms", verdict=f"at least: {what}, it never did"
        )
    else:
        step = f"in steps of {scenario.window_ns / NS_PER_MS:g} ms"
        recovery = Figure(estimate=found.recovered_ns / NS_PER_MS, unit="ms", verdict=f"{what}; {step}")
    return OfScenario({"recovery_ms": recovery}, found.result.generator.invalid)


def _soak(workload: Workload, base: Job, highest_rps: float, offer: Offer, slo: Slo) -> OfScenario:
    rate = workload.rate_rps or highest_rps / 2
    found = soak(Soak(rate_rps=rate, duration_ns=workload.duration_ns), base, offer, slo)
    drift = found.drift
    note = f"p{slo.percentile:g} at the end beside the start; 1 is none"
    figure = Figure(estimate=drift.estimate, low=drift.low, high=drift.high, unit="times", verdict=note)
    return OfScenario({"latency_drift": figure})


def _words(slo: Slo) -> str:
    return f"p{slo.percentile:g} within {(slo.latency_ns or 0) / NS_PER_MS:g} ms"
