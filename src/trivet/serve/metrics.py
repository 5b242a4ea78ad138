"""Prometheus metrics from the workers' snapshots: Triton's names for what Triton counts, `trivet_` for the rest."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from trivet.serve.background.keeper import BackgroundCounts
from trivet.serve.gathering import Labels, Snapshot, merged, merged_counts
from trivet.serve.metric_families import families

# The bounds that workers count in (runtime/counters.py), repeated here so that the supervisor needs no numpy.
BOUNDS_S = tuple(1e-5 * 2**i for i in range(21))

# The library ends every counter's name with `_total`; Triton's names, which dashboards look for, have no such end.
_TRITON_SUFFIX = re.compile(rb"\b(nv_\w+)_total\b")


class _Counters(Collector):
    """Presents one gathering of snapshots to the exposition library."""

    def __init__(
        self,
        snapshots: Sequence[Snapshot],
        supervisor: Mapping[str, float],
        background: BackgroundCounts | None,
    ) -> None:
        self._snapshots = snapshots
        self._supervisor = supervisor
        self._background = background

    def collect(self) -> Iterable[Metric]:
        found = merged(self._snapshots)
        yield from _triton(found)
        yield from _phases(found)
        yield from _own(found)
        yield from families(merged_counts(self._snapshots).items())
        yield from _processes(self._snapshots)
        for name, value in self._supervisor.items():
            yield GaugeMetricFamily(f"trivet_{name}", name.replace("_", " "), value=value)
        if self._background is not None:
            yield from _samples(self._snapshots, self._background)


_TRITON_COUNTERS = (
    ("nv_inference_request_success", "requests answered with a result", "success", 1),
    ("nv_inference_count", "rows inferred", "rows", 1),
    ("nv_inference_exec_count", "batches run", "executions", 1),
    (
        "nv_inference_request_duration_us",
        "time of answered requests, first byte to answer",
        "success_ns",
        1000,
    ),
)
# Triton's name for a phase -> our phases in it
_TRITON_PHASES = (
    ("nv_inference_queue_duration_us", "time in queues", ("queue",)),
    (
        "nv_inference_compute_input_duration_us",
        "time of reading and batching requests",
        ("parse", "batch_wait"),
    ),
    ("nv_inference_compute_infer_duration_us", "time in the engine", ("compute",)),
    ("nv_inference_compute_output_duration_us", "time of writing answers", ("encode",)),
)


def _triton(found: Mapping[Labels, Mapping[str, Any]]) -> Iterator[Metric]:
    for name, text, key, divisor in _TRITON_COUNTERS:
        counter = CounterMetricFamily(name, text, labels=("model", "version"))
        for (model, version), value in _by_version(found, key).items():
            counter.add_metric((model, version), value / divisor)
        yield counter
    for name, text, phases in _TRITON_PHASES:
        counter = CounterMetricFamily(name, text, labels=("model", "version"))
        sums: Counter[tuple[str, str]] = Counter()
        for (model, version, _), counters in found.items():
            sums[model, version] += sum(counters["phases"][phase]["sum_ns"] for phase in phases)
        for key_, sum_ns in sums.items():
            counter.add_metric(key_, sum_ns / 1000)
        yield counter
    failures = CounterMetricFamily(
        "nv_inference_request_failure",
        "requests answered with an error",
        labels=("model", "version", "reason"),
    )
    for (model, version, _), counters in found.items():
        for reason, count in counters["failed"].items():
            failures.add_metric((model, version, reason), count)
    yield failures
    pending = GaugeMetricFamily(
        "nv_inference_pending_request_count", "requests that wait", labels=("model", "version")
    )
    totals: Counter[tuple[str, str]] = Counter()
    for (model, version, _), counters in found.items():
        totals[model, version] += sum(counters["waiting"].values())
    for key_, count in totals.items():
        pending.add_metric(key_, count)
    yield pending


def _by_version(found: Mapping[Labels, Mapping[str, Any]], key: str) -> dict[tuple[str, str], int]:
    totals: defaultdict[tuple[str, str], int] = defaultdict(int)
    for (model, version, _), counters in found.items():
        totals[model, version] += counters[key]
    return totals


def _phases(found: Mapping[Labels, Mapping[str, Any]]) -> Iterator[Metric]:
    histogram = HistogramMetricFamily(
        "trivet_phase_duration_seconds",
        "time of answered requests in each phase",
        labels=("model", "version", "configuration", "phase"),
    )
    for labels, counters in found.items():
        for phase, times in counters["phases"].items():
            reached, buckets = 0, []
            for bound, count in zip((*BOUNDS_S, float("inf")), times["counts"], strict=True):
                reached += count
                buckets.append(("+Inf" if bound == float("inf") else repr(bound), reached))
            histogram.add_metric((*labels, phase), buckets, times["sum_ns"] / 1e9)
    yield histogram


def _own(found: Mapping[Labels, Mapping[str, Any]]) -> Iterator[Metric]:
    names = ("model", "version", "configuration")
    depth = GaugeMetricFamily(
        "trivet_queue_depth", "requests that wait, by priority", labels=(*names, "priority")
    )
    refused = CounterMetricFamily("trivet_refused", "requests refused at arrival", labels=(*names, "reason"))
    dropped = CounterMetricFamily(
        "trivet_dropped", "requests dropped before execution", labels=(*names, "reason")
    )
    fill = CounterMetricFamily("trivet_batches", "batches run, by rows", labels=(*names, "rows"))
    predicted = CounterMetricFamily(
        "trivet_predicted_service_seconds", "predicted time of the batches run", labels=names
    )
    actual = CounterMetricFamily(
        "trivet_actual_service_seconds", "actual time of the batches run", labels=names
    )
    retried = CounterMetricFamily(
        "trivet_retried", "requests of failed batches that were run a second time alone", labels=names
    )
    difference = GaugeMetricFamily(
        "trivet_batch_difference",
        "largest difference between batched and single answers at load",
        labels=names,
    )
    chunks = CounterMetricFamily("trivet_first_chunks", "streaming answers begun", labels=names)
    chunk_seconds = CounterMetricFamily(
        "trivet_first_chunk_seconds", "time from a request's first byte to its first chunk", labels=names
    )
    exits = CounterMetricFamily(
        "trivet_exit_rows",
        "rows that an early exit answered (left) or sent on (on)",
        labels=(*names, "stage", "way"),
    )
    for labels, counters in found.items():
        for stage, (num_left, num_on) in counters["exits"].items():
            exits.add_metric((*labels, stage, "left"), num_left)
            exits.add_metric((*labels, stage, "on"), num_on)
        chunks.add_metric(labels, counters["first_chunks"])
        chunk_seconds.add_metric(labels, counters["first_chunk_ns"] / 1e9)
        for priority, count in counters["waiting"].items():
            depth.add_metric((*labels, priority), count)
        for reason, count in counters["refused"].items():
            refused.add_metric((*labels, reason), count)
        for reason, count in counters["dropped"].items():
            dropped.add_metric((*labels, reason), count)
        for rows, (count, _) in counters["by_batch_size"].items():
            fill.add_metric((*labels, str(rows)), count)
        retried.add_metric(labels, counters["retried"])
        predicted.add_metric(labels, counters["predicted_ns"] / 1e9)
        actual.add_metric(labels, counters["actual_ns"] / 1e9)
        difference.add_metric(labels, counters["largest_batch_difference"])
    yield from (
        depth,
        refused,
        dropped,
        fill,
        retried,
        predicted,
        actual,
        difference,
        chunks,
        chunk_seconds,
        exits,
    )


_PROCESS = (
    ("cpu_s", "trivet_worker_cpu_seconds", "processor time of a worker"),
    ("minor_faults", "trivet_worker_minor_page_faults", "page faults without a read"),
    ("major_faults", "trivet_worker_major_page_faults", "page faults that read a disk"),
    ("voluntary_switches", "trivet_worker_voluntary_context_switches", "times a worker waited"),
    (
        "involuntary_switches",
        "trivet_worker_involuntary_context_switches",
        "times a worker was put off its core",
    ),
    ("gc_pauses", "trivet_worker_gc_pauses", "garbage collections"),
)


def _processes(snapshots: Sequence[Snapshot]) -> Iterator[Metric]:
    for key, name, text in _PROCESS:
        counter = CounterMetricFamily(name, text, labels=("worker",))
        for snapshot in snapshots:
            counter.add_metric((str(snapshot["worker"]),), snapshot["process"][key])
        yield counter
    seconds = CounterMetricFamily(
        "trivet_worker_gc_pause_seconds", "time of garbage collections", labels=("worker",)
    )
    longest = GaugeMetricFamily(
        "trivet_worker_gc_longest_pause_seconds", "longest garbage collection", labels=("worker",)
    )
    connections = GaugeMetricFamily("trivet_connections", "open connections", labels=("worker",))
    for snapshot in snapshots:
        worker = (str(snapshot["worker"]),)
        seconds.add_metric(worker, snapshot["process"]["gc_pause_ns"] / 1e9)
        longest.add_metric(worker, snapshot["process"]["gc_longest_pause_ns"] / 1e9)
        connections.add_metric(worker, snapshot["connections"])
    yield from (seconds, longest, connections)


def _samples(snapshots: Sequence[Snapshot], counts: BackgroundCounts) -> Iterator[Metric]:
    """What became of the sampled requests. Dropped: a worker's buffer was full (overflow), the background process died
    with them (lost), a file could not be written or a collector not be reached in time (failed)."""
    workers = [snapshot["rows"] for snapshot in snapshots if snapshot["rows"] is not None]
    plain = (
        (
            "trivet_rows_sampled",
            "requests that were to get a row or a trace",
            sum(one["kept"] for one in workers),
        ),
        ("trivet_rows_written", "rows in finished files", counts.rows_written),
        ("trivet_traces_exported", "requests whose spans a collector has taken", counts.traces_exported),
        ("trivet_background_restarts", "background processes that died", counts.restarts),
    )
    for name, text, value in plain:
        yield CounterMetricFamily(name, text, value=value)
    yield GaugeMetricFamily("trivet_rows_in_hand", "rows on their way into a file", value=counts.rows_in_hand)
    overflow = sum(one["dropped"] for one in workers)
    rows = CounterMetricFamily("trivet_rows_dropped", "sampled rows that were not kept", labels=("reason",))
    for reason, count in (("overflow", overflow), ("failed", counts.rows_failed), ("lost", counts.rows_lost)):
        rows.add_metric((reason,), count)
    traces = CounterMetricFamily("trivet_traces_dropped", "traces that were not sent", labels=("reason",))
    for reason, count in (("failed", counts.traces_dropped), ("lost", counts.traces_lost)):
        traces.add_metric((reason,), count)
    yield from (rows, traces)


def render(
    snapshots: Sequence[Snapshot],
    supervisor: Mapping[str, float],
    background: BackgroundCounts | None = None,
) -> bytes:
    """The text exposition. `supervisor`: its own gauges, without the prefix."""
    registry = CollectorRegistry()
    registry.register(_Counters(snapshots, supervisor, background))
    return _TRITON_SUFFIX.sub(rb"\1", generate_latest(registry))
