"""The metrics of shortcuts and repairs: what `LiveService.counts` counts, each with the labels model, version and
configuration and its own.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

Kind = Literal["counter", "gauge"]

FAMILIES: Mapping[str, tuple[str, Kind]] = MappingProxyType(
    {
        "trivet_cache_lookups_total": ("requests that a cache was asked about, by kind", "counter"),
        "trivet_cache_hits_total": ("requests that a cache answered, by kind", "counter"),
        "trivet_cache_joined_total": (
            "requests that waited for the answer to an equal one, which was being computed",
            "counter",
        ),
        "trivet_cache_bytes": ("memory of kept answers and stages", "gauge"),
        "trivet_cache_entries": ("kept answers and stages", "gauge"),
        "trivet_cache_shared_up": ("workers that use the store which servers share", "gauge"),
        "trivet_cache_shared_lookups_total": (
            "lookups in the store which servers share, by outcome",
            "counter",
        ),
        "trivet_cache_shared_stores_total": (
            "answers for the store which servers share, by outcome",
            "counter",
        ),
        "trivet_stage_cache_lookups_total": ("times that a stage's inputs were looked up", "counter"),
        "trivet_stage_cache_hits_total": ("times that a stage's outputs were at hand", "counter"),
        "trivet_instead_total": ("answers of what stood in for the pipeline as declared", "counter"),
        "trivet_upstream_answers_total": ("answers that a remote server gave, by server", "counter"),
        "nv_cache_num_hits_per_model": ("requests answered from a cache", "counter"),
        "nv_cache_num_misses_per_model": ("requests that no cache could answer", "counter"),
        "nv_cache_hit_duration_per_model": ("time of looking up what was found, in us", "counter"),
        "trivet_upstream_tries_total": (
            "tries sent to an upstream server, by kind: first, retry, hedge, fallback",
            "counter",
        ),
        "trivet_upstream_outcomes_total": (
            "what became of them: answered, broken_off, or why they failed",
            "counter",
        ),
        "trivet_upstream_breaker_open": ("workers that leave an upstream alone, as of its last try", "gauge"),
        "trivet_upstream_ejections_total": ("times that an upstream was left alone as an outlier", "counter"),
        "trivet_fallbacks_total": (
            "requests that somebody answered instead of a stage that failed",
            "counter",
        ),
        "trivet_precomputed_lookups_total": (
            "requests that the answer table was asked about: hit, miss, stale, bypassed (no table)",
            "counter",
        ),
        "trivet_precomputed_tables_refused_total": (
            "answer tables that could not be used: missing, unreadable, mismatch",
            "counter",
        ),
        "trivet_cost_total": (
            "what requests cost, in the service's currency, by tenant and the way they took (pipeline, exit, exact, ...)",
            "counter",
        ),
        "trivet_cost_requests_total": ("requests that `trivet_cost_total` is the cost of", "counter"),
        "trivet_cost_saved_total": (
            "what shortcuts saved against the mean cost of the whole pipeline so far",
            "counter",
        ),
        "trivet_model_cost_total": ("what each model's engines or calls cost", "counter"),
        "trivet_budget_refused_total": ("requests of tenants whose budget of the day is spent", "counter"),
        "trivet_budget_soft_total": ("requests of tenants past their soft budget of the day", "counter"),
        "trivet_feature_lookups_total": (
            "entities that were looked up: hit, stale, missing, unavailable (the table or store cannot be used)",
            "counter",
        ),
        "trivet_feature_tables_refused_total": (
            "tables of features that could not be used: missing, unreadable, mismatch",
            "counter",
        ),
        "trivet_precomputed_rows": ("answers in the table, summed over workers", "gauge"),
        "nv_cache_miss_duration_per_model": ("time of looking up what was not found, in us", "counter"),
    }
)
_LABELS = ("model", "version", "configuration")

Counted = tuple[
    Sequence[str], Mapping[str, Any]
]  # a configuration's labels, and its counts: see `gathering.merged_counts`


def families(found: Iterable[Counted]) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
    """Raises: KeyError: something is counted that is not declared here."""
    metrics: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
    for labels, counts in found:
        for family, values in counts.items():
            for own, value in values.items():
                metric = metrics.get(family)
                if metric is None:
                    text, kind = FAMILIES[family]
                    form = CounterMetricFamily if kind == "counter" else GaugeMetricFamily
                    metric = metrics[family] = form(
                        family, text, labels=(*_LABELS, *(name for name, _ in own))
                    )
                metric.add_metric((*labels, *(word for _, word in own)), value)
    yield from metrics.values()
