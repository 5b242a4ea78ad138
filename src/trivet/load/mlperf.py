"""MLPerf Inference's four scenarios, by its rules, over HTTP.

A sample is a request. A query of several samples is several requests at once (MultiStream), or, where all samples are
one query (Offline), all that there are, handed over as fast as the target takes them on `num_connections` connections.
Source: mlcommons/inference_policies, inference_rules.adoc; mlcommons/inference, loadgen. Not an official result:
those also need the accuracy run, MLPerf's models and data, its review and its own LoadGen.
"""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Literal

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from trivet.load.arrivals import NS, DurationNs, Poisson, Rate
from trivet.load.early_stopping import estimate, least_within
from trivet.load.job import ClosedLoop, Count, Job, OpenLoop
from trivet.load.result import Result
from trivet.load.scenarios import Offer
from trivet.spec.row import RowColumns
from trivet.stats.errors import TooFewError
from trivet.stats.percentile import percentile_ns

DEFAULT_DURATION_NS = 600 * NS
MULTI_STREAM_SAMPLES = 8
OFFLINE_SAMPLES = 24_576
# LoadGen's of round 6.1: of the schedule, and of the samples. The streams of numbers are ours, not its Mersenne twister's.
SEEDS = MappingProxyType({"arrivals": 16159082839903944936, "items": 2747215439041700203})
# The samples' library: which of the data are loaded at all, for whoever chooses them.
LIBRARY_SEED = 2085463073848966840
_MAX_REQUESTS = 20_000_000


class SingleStream(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="single-stream"
):
    """One query after the other; the 90th percentile."""

    min_duration_ns: DurationNs = DEFAULT_DURATION_NS
    min_queries: Count = 64  # the fewest that early stopping allows at this percentile
    percentile: Annotated[float, Meta(gt=0, lt=100)] = 90.0


class MultiStream(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="multi-stream"):
    """Eight samples at once, the next eight when all are answered; the 99th percentile."""

    min_duration_ns: DurationNs = DEFAULT_DURATION_NS
    min_queries: Count = 662
    percentile: Annotated[float, Meta(gt=0, lt=100)] = 99.0
    samples_per_query: Count = MULTI_STREAM_SAMPLES


class Server(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="server"):
    """Poisson arrivals at one rate; valid where the percentile is within the latency."""

    rate_rps: Rate
    latency_ns: DurationNs
    min_duration_ns: DurationNs = DEFAULT_DURATION_NS
    min_queries: Count = 459  # the fewest that early stopping allows, with none over the latency
    percentile: Annotated[float, Meta(gt=0, lt=100)] = 99.0


class Offline(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="offline"):
    """All samples at the start; samples a second."""

    min_samples: Count = OFFLINE_SAMPLES
    min_duration_ns: DurationNs = DEFAULT_DURATION_NS
    num_connections: Count = 64


@dataclass(frozen=True, slots=True)
class Verdict:
    """reasons: why it is INVALID. metric: in `unit`: ns for the streams, queries or samples a second for the others."""

    scenario: str
    valid: bool
    reasons: tuple[str, ...]
    metric: float
    unit: str
    num_queries: int
    duration_ns: int
    latencies_ns: tuple[tuple[float, int], ...]  # percentile and latency of queries
    result: Result

    @property
    def word(self) -> Literal["VALID", "INVALID"]:
        return "VALID" if self.valid else "INVALID"


def single_stream(scenario: SingleStream, base: Job, offer: Offer) -> Verdict:
    load = ClosedLoop(
        num_users=1,
        duration_ns=scenario.min_duration_ns,
        min_requests=scenario.min_queries,
        max_requests=_MAX_REQUESTS,
    )
    return _stream("SingleStream", scenario, 1, offer(_job(base, load)))


def multi_stream(scenario: MultiStream, base: Job, offer: Offer) -> Verdict:
    load = ClosedLoop(
        num_users=1,
        duration_ns=scenario.min_duration_ns,
        min_requests=scenario.min_queries * scenario.samples_per_query,
        max_requests=_MAX_REQUESTS // scenario.samples_per_query * scenario.samples_per_query,
        group=scenario.samples_per_query,
    )
    return _stream("MultiStream", scenario, scenario.samples_per_query, offer(_job(base, load)))


def server(scenario: Server, base: Job, offer: Offer) -> Verdict:
    """Its metric is the rate that was scheduled: the largest VALID one is a target's result (see knee.py)."""
    # Four standard deviations more than are needed, as a Poisson count may fall short; and ten gaps more, as the last
    # query must be scheduled after the least duration.
    needed_ns = int((scenario.min_queries + 4 * scenario.min_queries**0.5) / scenario.rate_rps * NS)
    gap_ns = int(NS / scenario.rate_rps)
    duration_ns = max(scenario.min_duration_ns + 10 * gap_ns, needed_ns)
    load = Poisson(rate_rps=scenario.rate_rps, duration_ns=duration_ns)
    result = offer(_job(base, OpenLoop(arrivals=load)))
    latencies, failed = _queries(result, 1)
    over = int((latencies > scenario.latency_ns).sum())
    needed = least_within(over, scenario.percentile / 100)
    reasons = _common(result, latencies, failed, scenario.min_queries)
    if _last_ns(result, "intended_ns") < scenario.min_duration_ns:
        reasons.append(_short(result, scenario.min_duration_ns))
    if len(latencies) - over < needed:
        reasons.append(
            f"{over:,} of {len(latencies):,} queries over {scenario.latency_ns / 1e6:g} ms: at least {needed:,} within "
            f"it would be needed for the {scenario.percentile:g} % percentile"
        )
    return _verdict("Server", reasons, scenario.rate_rps, "queries/s", latencies, result)


def offline(
    scenario: Offline, base: Job, offer: Offer, *, expected_rps: float, samples_per_request: int = 1
) -> Verdict:
    """Args: expected_rps: samples a second; so many are prepared that the run lasts long enough, and a tenth more.
    samples_per_request: rows in the body of each request."""
    num_samples = max(scenario.min_samples, int(1.1 * expected_rps * scenario.min_duration_ns / NS))
    num_requests = min(_MAX_REQUESTS, -(-num_samples // samples_per_request))
    load = ClosedLoop(
        num_users=min(scenario.num_connections, num_requests),
        duration_ns=1,  # the count decides
        min_requests=num_requests,
        max_requests=num_requests,
    )
    result = offer(_job(base, load))
    latencies, failed = _queries(result, 1)
    duration_ns = max(1, _last_ns(result, "done_ns"))
    reasons = _common(result, latencies, failed, -(-scenario.min_samples // samples_per_request))
    if duration_ns < scenario.min_duration_ns:
        reasons.append(_short(result, scenario.min_duration_ns) + ": raise the expected rate")
    metric = len(latencies) * samples_per_request / duration_ns * NS
    return _verdict("Offline", reasons, metric, "samples/s", latencies, result)


def _job(base: Job, load: OpenLoop | ClosedLoop) -> Job:
    """`base` with MLPerf's seeds where it has none of its own, and without a warm-up: every query counts."""
    return msgspec.structs.replace(base, load=load, warmup_ns=0, seeds={**SEEDS, **base.seeds})


def _stream(name: str, scenario: SingleStream | MultiStream, group: int, result: Result) -> Verdict:
    latencies, failed = _queries(result, group)
    reasons = _common(result, latencies, failed, scenario.min_queries)
    if result.end_ns - result.start_ns < scenario.min_duration_ns:
        reasons.append(_short(result, scenario.min_duration_ns))
    try:
        metric = estimate(np.sort(latencies).tolist(), scenario.percentile / 100)
    except TooFewError as error:
        reasons.append(f"early stopping: {error}")
        metric = percentile_ns(latencies, scenario.percentile / 100) if len(latencies) else 0
    return _verdict(name, reasons, metric, "ns", latencies, result)


def _queries(result: Result, group: int) -> tuple[NDArray[np.int64], int]:
    """Latency of each whole query, that of its last sample; and the number of samples without a result."""
    rows = RowColumns.decode(result.rows)
    failed = int((~rows.words["outcome"].equal("ok", "late")).sum())
    num = rows.num_rows // group
    done, intended = (rows[name][: num * group].reshape(num, group) for name in ("done_ns", "intended_ns"))
    return done.max(axis=1) - intended.min(axis=1), failed


def _last_ns(result: Result, column: str) -> int:
    """The last of these instants, from the start; 0 where there are none."""
    rows = RowColumns.decode(result.rows)
    return int(rows[column].max()) - result.start_ns if rows.num_rows else 0


def _common(result: Result, latencies: NDArray[np.int64], failed: int, min_queries: int) -> list[str]:
    reasons = []
    if result.partial:
        reasons.append("the run was stopped")
    if result.generator.invalid:
        reasons.append(result.generator.invalid)
    if failed:
        reasons.append(f"{failed:,} requests without a result")
    if len(latencies) < min_queries:
        reasons.append(f"{len(latencies):,} queries, at least {min_queries:,} are needed")
    return reasons


def _short(result: Result, min_duration_ns: int) -> str:
    lasted = (result.end_ns - result.start_ns) / NS
    return f"it lasted {lasted:.1f} s, at least {min_duration_ns / NS:g} s are needed"


def _verdict(
    name: str, reasons: list[str], metric: float, unit: str, latencies: NDArray[np.int64], result: Result
) -> Verdict:
    percentiles = (50.0, 90.0, 95.0, 97.0, 99.0, 99.9)
    return Verdict(
        name,
        not reasons,
        tuple(reasons),
        metric,
        unit,
        len(latencies),
        result.end_ns - result.start_ns,
        tuple((p, percentile_ns(latencies, p / 100)) for p in percentiles) if len(latencies) else (),
        result,
    )
