"""Triton's statistics extension, from the workers' snapshots."""

from collections.abc import Sequence
from typing import Any

from trivet.serve.gathering import Snapshot, merged, merged_counts


def model_stats(
    snapshots: Sequence[Snapshot], name: str | None = None, version: str | None = None
) -> dict[str, Any]:
    """`{"model_stats": [...]}`: one entry a service version."""
    entries: dict[tuple[str, str], dict[str, Any]] = {}
    for (model, number, _), counters in merged(snapshots).items():
        if name in (None, model) and version in (None, number):
            entry = entries.setdefault((model, number), _empty(model, number))
            _add(entry, counters)
    for (model, number, _), counts in merged_counts(snapshots).items():
        if (model, number) in entries:
            _add_cached(entries[model, number]["inference_stats"], counts)
    return {"model_stats": [entries[key] for key in sorted(entries)]}


def _add_cached(stats: dict[str, Any], counts: dict[str, Any]) -> None:
    """Requests that fronts answered, and those that they did not know."""
    for kind, count, duration_us in _CACHED:
        stats[kind]["count"] += sum(counts.get(count, {}).values())
        stats[kind]["ns"] += int(1000 * sum(counts.get(duration_us, {}).values()))


def _duration(count: int = 0, ns: int = 0) -> dict[str, int]:
    return {"count": count, "ns": ns}


_CACHED = (
    ("cache_hit", "nv_cache_num_hits_per_model", "nv_cache_hit_duration_per_model"),
    ("cache_miss", "nv_cache_num_misses_per_model", "nv_cache_miss_duration_per_model"),
)
_KINDS = (
    "success",
    "fail",
    "queue",
    "compute_input",
    "compute_infer",
    "compute_output",
    "cache_hit",
    "cache_miss",
)


def _empty(name: str, version: str) -> dict[str, Any]:
    return {
        "name": name,
        "version": version,
        "last_inference": 0,
        "inference_count": 0,
        "execution_count": 0,
        "inference_stats": {kind: _duration() for kind in _KINDS},
        "batch_stats": [],
        "response_stats": {},
        "memory_usage": [],
    }


def _add(entry: dict[str, Any], counters: dict[str, Any]) -> None:
    entry["last_inference"] = max(entry["last_inference"], counters["last_inference_ms"])
    entry["inference_count"] += counters["rows"]
    entry["execution_count"] += counters["executions"]
    success, failed = counters["success"], sum(counters["failed"].values())
    phases = counters["phases"]
    added = {
        "success": (success, counters["success_ns"]),
        "fail": (failed, counters["fail_ns"]),
        "queue": (success, phases["queue"]["sum_ns"]),
        "compute_input": (success, phases["parse"]["sum_ns"] + phases["batch_wait"]["sum_ns"]),
        "compute_infer": (success, phases["compute"]["sum_ns"]),
        "compute_output": (success, phases["encode"]["sum_ns"]),
    }
    for kind, (count, ns) in added.items():
        entry["inference_stats"][kind]["count"] += count
        entry["inference_stats"][kind]["ns"] += ns
    known = {one["batch_size"]: one for one in entry["batch_stats"]}
    for rows, (count, ns) in counters["by_batch_size"].items():
        size = known.get(rows)
        if size is None:
            size = {
                "batch_size": rows,
                "compute_input": _duration(),
                "compute_infer": _duration(),
                "compute_output": _duration(),
            }
            entry["batch_stats"].append(size)
        size["compute_infer"]["count"] += count
        size["compute_infer"]["ns"] += ns
    entry["batch_stats"].sort(key=lambda one: one["batch_size"])
