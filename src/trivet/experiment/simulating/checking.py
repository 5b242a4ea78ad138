"""A forecast beside what came: the simulator is given a live run's own arrivals and inputs, and both are compared."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from trivet.errors import UserError
from trivet.experiment.measured import Measured
from trivet.simulate.asked import EVENLY, Asked
from trivet.simulate.errors import NotProfiledError
from trivet.simulate.forecast import Forecast, forecast
from trivet.simulate.profile import ServiceProfile
from trivet.simulate.setup import Setup
from trivet.spec.row import RowColumns
from trivet.stats.percentile import percentile_ns

Ints = NDArray[np.int64]
NS_PER_MS, NS_PER_S = 1e6, 1e9
_PERCENTILES = {"latency_p50_ms": 0.5, "latency_p95_ms": 0.95, "latency_p99_ms": 0.99}
_SHARES = ("slo_attainment", "hit_share")
_LEAST_REQUESTS = 200  # a p99 of fewer is one request's latency


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One live run beside its forecast. predicted: estimate, low and high by figure; units as in simulate/forecast.py.

    date: ISO 8601, UTC; written by who keeps it.
    """

    service: str
    setup: dict[str, Any]
    num_requests: int
    rate_rps: float
    live: dict[str, float]
    predicted: dict[str, tuple[float, float, float]]
    invalid: str = ""
    date: str = ""

    def error(self, figure: str = "latency_p99_ms") -> float:
        """Relative: of a share, the difference itself."""
        live, estimate = self.live[figure], self.predicted[figure][0]
        return estimate - live if figure in _SHARES else estimate / live - 1

    def covers(self, figure: str = "latency_p99_ms") -> bool:
        """Whether the live value lies in the forecast's interval."""
        _, low, high = self.predicted[figure]
        return low <= self.live[figure] <= high


@dataclass(frozen=True, slots=True)
class Replayed:
    """What of a live run the simulator is given. Instants from the run's first on; shape (n,)."""

    arrivals_ns: Ints
    lengths: Ints | None
    warmup_ns: int
    asked: Asked = EVENLY


def replayed(measured: Measured, profile: ServiceProfile) -> Replayed:
    """Its recorded arrivals and inputs, warm-up included."""
    rows = measured.rows
    order = np.argsort(rows["intended_ns"], kind="stable")
    intended = rows["intended_ns"][order]
    lengths, items = None, np.maximum(rows["item"][order], 0)
    if profile.lengths:
        buckets = np.array(profile.lengths, np.int64)
        lengths = buckets[items % len(buckets)]
    warmup_ns = measured.record.measured_from_ns - int(intended[0])
    return Replayed(intended - intended[0], lengths, warmup_ns, Asked(items))


def check(
    measured: Measured,
    profile: ServiceProfile,
    setup: Setup,
    *,
    replications: int = 20,
    seed: int = 0,
    error: float = 0.0,
) -> Check:
    """Raises: UserError: too few requests to say anything.  NotProfiledError: the profile does not cover it."""
    num = measured.window.num_rows
    if num < _LEAST_REQUESTS:
        raise UserError(
            f"{num} requests are too few to check a forecast: at least {_LEAST_REQUESTS}; measure longer"
        )
    given = replayed(measured, profile)
    found = forecast(
        profile,
        setup,
        given.arrivals_ns,
        replications=replications,
        seed=seed,
        lengths=given.lengths,
        warmup_ns=given.warmup_ns,
        error=error,
        asked=given.asked,
    )
    if found.refused:
        raise NotProfiledError(f"not simulated: {found.refused}")
    window = measured.window
    span_s = max(1, int(window["intended_ns"].max()) - measured.record.measured_from_ns) / NS_PER_S
    return Check(
        service=setup.service,
        setup=msgspec.to_builtins(setup),
        num_requests=num,
        rate_rps=num / span_s,
        live=live_figures(window, setup.slo_latency_ns),
        predicted=_triples(found),
        invalid=measured.invalid,
    )


def live_figures(window: RowColumns, slo_latency_ns: int | None) -> dict[str, float]:
    """The figures of a live window that a forecast has, too."""
    answered = window.words["outcome"].equal("ok", "late")
    latencies = window.latency_ns()[answered]
    figures: dict[str, float] = {}
    if len(latencies):
        figures = {name: percentile_ns(latencies, p) / NS_PER_MS for name, p in _PERCENTILES.items()}
    within = len(latencies) if slo_latency_ns is None else int((latencies <= slo_latency_ns).sum())
    figures["slo_attainment"] = within / max(1, window.num_rows)
    cache = window.words["cache"]
    if not cache.equal("").all():
        figures["hit_share"] = float((~cache.equal("", "miss")).mean())
    return figures


def _triples(found: Forecast) -> dict[str, tuple[float, float, float]]:
    figures: Mapping[str, Any] = found.figures
    return {name: (one.estimate, one.low, one.high) for name, one in figures.items()}
