"""MLPerf's four scenarios as figures of a run."""

from collections.abc import Callable

from trivet.catalog.records import Figure
from trivet.experiment.workload import Workload
from trivet.load.job import Job
from trivet.load.mlperf import (
    MultiStream,
    Offline,
    Server,
    SingleStream,
    Verdict,
    multi_stream,
    offline,
    server,
    single_stream,
)
from trivet.load.result import Result

MLPERF = ("mlperf-singlestream", "mlperf-multistream", "mlperf-server", "mlperf-offline")
NS_PER_MS = 1e6


def mlperf_figures(
    workload: Workload, base: Job, highest_rps: float, offer: Callable[[Job], Result]
) -> tuple[dict[str, Figure], str]:
    """The scenario's metric and percentiles, and why it is INVALID by MLPerf's rules; empty where it is VALID.

    The least duration is the workload's; MLPerf's own is 600 s.
    """
    verdict = _verdict(workload, base, highest_rps, offer)
    reasons = "; ".join(verdict.reasons)
    is_time = verdict.unit == "ns"
    metric = Figure(
        estimate=verdict.metric / NS_PER_MS if is_time else verdict.metric,
        unit="ms" if is_time else verdict.unit,
        verdict=f"{verdict.scenario} {verdict.word}: {verdict.num_queries:,} queries in {verdict.duration_ns / 1e9:.1f} s",
    )
    found = {"mlperf_metric": metric}
    for percentile, latency_ns in verdict.latencies_ns:
        note = "of queries; no interval: MLPerf takes them for independent"
        found[f"mlperf_p{percentile:g}_ms"] = Figure(estimate=latency_ns / NS_PER_MS, unit="ms", verdict=note)
    return found, f"{verdict.scenario} {verdict.word}: {reasons}" if reasons else ""


def _verdict(workload: Workload, base: Job, highest_rps: float, offer: Callable[[Job], Result]) -> Verdict:
    duration_ns = workload.duration_ns
    match workload.scenario:
        case "mlperf-singlestream":
            return single_stream(SingleStream(min_duration_ns=duration_ns), base, offer)
        case "mlperf-multistream":
            return multi_stream(MultiStream(min_duration_ns=duration_ns), base, offer)
        case "mlperf-offline":
            return offline(Offline(min_duration_ns=duration_ns), base, offer, expected_rps=highest_rps)
    scenario = Server(
        rate_rps=workload.rate_rps or highest_rps / 2,
        latency_ns=workload.slo_latency_ns or 0,
        min_duration_ns=duration_ns,
        percentile=workload.slo_percentile,
    )
    return server(scenario, base, offer)
