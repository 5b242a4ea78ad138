"""The workers' snapshots as one: counters added up for each live configuration."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Snapshot = Mapping[str, Any]
Labels = tuple[str, str, str]  # model, version, configuration


def merged(snapshots: Sequence[Snapshot]) -> dict[Labels, dict[str, Any]]:
    """The counters of each live configuration, summed over workers and over the models of its pipeline's stages."""
    found: dict[Labels, dict[str, Any]] = {}
    for snapshot in snapshots:
        for service in snapshot["services"]:
            labels = _labels(service)
            for model in service["models"]:
                found[labels] = _sum(found.get(labels, {}), _flat(model))
    return found


def merged_counts(snapshots: Sequence[Snapshot]) -> dict[Labels, dict[str, Any]]:
    """What each live configuration counted of shortcuts and repairs, summed over workers: family -> labels -> value."""
    found: dict[Labels, dict[str, Any]] = {}
    for snapshot in snapshots:
        for service in snapshot["services"]:
            labels = _labels(service)
            found[labels] = _sum(found.get(labels, {}), _counted(service["counts"]))
    return found


def _counted(snapshot: Iterable[Sequence[Any]]) -> dict[str, dict[tuple[tuple[str, str], ...], int | float]]:
    """The counts of one configuration in one worker, as mappings that can be added up: family -> labels -> value."""
    found: dict[str, dict[tuple[tuple[str, str], ...], int | float]] = {}
    for family, labels, value in snapshot:
        found.setdefault(family, {})[tuple(labels.items())] = value
    return found


def _labels(service: Mapping[str, Any]) -> Labels:
    return service["name"], service["version"], service["configuration"][:12]


def _flat(model: Mapping[str, Any]) -> dict[str, Any]:
    counters = model["counters"]
    refused: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    waiting: Counter[str] = Counter()
    for one in model["classes"]:
        refused.update(one["refused"])
        dropped.update(one["dropped"])
        waiting[str(one["priority"])] += one["waiting"]
    return {
        **counters,
        "refused": dict(refused),
        "dropped": dict(dropped),
        "waiting": dict(waiting),
        "largest_batch_difference": model["largest_batch_difference"],
        "exits": model["exits"],
    }


def _sum(a: Any, b: Any) -> Any:
    """Adds numbers, lists element by element, and mappings key by key."""
    if isinstance(b, Mapping):
        return {key: _sum(a[key], value) if key in a else value for key, value in b.items()} | {
            key: value for key, value in a.items() if key not in b
        }
    if isinstance(b, list):
        return [x + y for x, y in zip(a, b, strict=True)]
    return a + b
