"""What one side of one block gave: figures by name, from the load generator's rows and the server's processes."""

from typing import Any

import msgspec
import numpy as np

from benchmarks._processes import Server, offer_from
from trivet.load.job import Job
from trivet.load.result import Result
from trivet.stats.percentile import percentile_ns

NS_PER_S = 1_000_000_000


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """One side of one block. `invalid` is empty, or says why the block counts for no side.

    `samples`: whole samples by name, where the figure is taken over all blocks together (a tail, a share).
    """

    values: dict[str, float]
    samples: dict[str, list[float]] = {}
    invalid: str = ""


def measurement_of(
    result: Result,
    *,
    cpu_ns: int | None = None,
    pss_bytes: int | None = None,
    keep_latencies: bool = False,
    failed_ns: int | None = None,
) -> Measurement:
    """The usual figures of one run of the load generator, after its warm-up; times in ns.

    `throughput_rps` counts results that came while load was offered; latencies are those of results, and
    `error_share` is the share of requests without one (`num_failed` of them). How long those waited for their
    answer who were refused or dropped is `refused_p50_ns` and `dropped_p50_ns`, absent where there were none.
    `cpu_ns`: of the server, during the whole run. `keep_latencies`: the sample `latency_ns`, in the order of sends.
    `failed_ns`: what a request without a result counts as in latencies, so that nobody's tail gets shorter by refusing.
    """
    rows = result.measured()
    values: dict[str, float] = {"num_requests": rows.num_rows}
    if not rows.num_rows:
        return Measurement(values=values, invalid="no request was intended after the warm-up")
    answered = rows.words["outcome"].equal("ok", "late")
    end_ns = int(rows["intended_ns"].max())
    in_window = answered & (rows["done_ns"] <= end_ns)
    window_s = max(1, end_ns - result.measured_from_ns) / NS_PER_S
    values["throughput_rps"] = float(in_window.sum()) / window_s
    values["goodput_rps"] = float((in_window & rows.words["outcome"].equal("ok")).sum()) / window_s
    values["error_share"] = 1 - float(answered.mean())
    values["num_failed"] = int((~answered).sum())
    latencies_ns, timed = rows.latency_ns(), answered
    if failed_ns is not None:
        latencies_ns, timed = np.where(answered, latencies_ns, failed_ns), np.ones_like(answered)
    values |= _latencies(latencies_ns, timed, "")
    for outcome in ("refused", "dropped"):
        chosen = rows.words["outcome"].equal(outcome)
        values[f"{outcome}_share"] = float(chosen.mean())
        values |= _latencies(rows.latency_ns(), chosen, f"{outcome}_", (("p50_ns", 0.5),))
    values["send_lag_p99_ns"] = result.generator.send_lag_p99_ns
    values["client_busy_share"] = result.generator.busy_share
    values["num_waited"] = result.generator.num_waited
    if cpu_ns is not None:
        values["cpu_ns_per_request"] = cpu_ns / max(1, result.generator.num_sent)
    if pss_bytes is not None:
        values["pss_mib"] = pss_bytes / 2**20
    samples = {"latency_ns": latencies_ns[timed].tolist()} if keep_latencies else {}
    return Measurement(values=values, samples=samples, invalid=result.generator.invalid)


def measure_server(
    server: Server,
    job: Job,
    core: int | None,
    *,
    keep_latencies: bool = False,
    failed_ns: int | None = None,
) -> Measurement:
    """Offer the load of `job` from `core`; the figures hold the server's processor time and memory, too."""
    before_ns = server.cpu_ns()
    result = offer_from(core, job)
    pss_bytes = sum(process.pss_bytes for process in server.memory())
    cpu_ns = server.cpu_ns() - before_ns
    return measurement_of(
        result,
        cpu_ns=cpu_ns,
        pss_bytes=pss_bytes,
        keep_latencies=keep_latencies,
        failed_ns=failed_ns,
    )


def _latencies(
    latencies_ns: "np.typing.NDArray[np.int64]",
    chosen: "np.typing.NDArray[np.bool_]",
    prefix: str,
    percentiles: Any = (("p50_ns", 0.5), ("p90_ns", 0.9), ("p99_ns", 0.99)),
) -> dict[str, float]:
    """Percentiles of the chosen rows; none where none is chosen."""
    if not chosen.any():
        return {}
    return {prefix + name: percentile_ns(latencies_ns[chosen], p) for name, p in percentiles}
