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
from trivet.simulate.server import simulate_service
from trivet.simulate.setup import Setup
from trivet.simulate.times import mean_ns
from trivet.spec.row import RowColumns
from trivet.stats.percentile import percentile_ns

Ints = NDArray[np.int64]
NS_PER_MS, NS_PER_S = 1e6, 1e9
_PERCENTILES = {"latency_p50_ms": 0.5, "latency_p95_ms": 0.95, "latency_p99_ms": 0.99}
_SHARES = ("slo_attainment", "hit_share")
REPLICATIONS = 20  # of a forecast that is checked, unless more are asked for
_LEAST_REQUESTS = 200  # a p99 of fewer is one request's latency


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One live run beside its forecast. predicted: estimate, low and high by figure; units as in simulate/forecast.py.

    level: how many times as long the live run's batches took as batches of as many rows in the simulation: the machine
        may have changed, and the profile is a sample.  at_level: what would have been predicted, had the profile known that.
        Both only of services with one model, which runs here.
    date: ISO 8601, UTC; written by who keeps it.
    """

    service: str
    setup: dict[str, Any]
    num_requests: int
    rate_rps: float
    live: dict[str, float]
    predicted: dict[str, tuple[float, float, float]]
    level: float | None = None
    at_level: dict[str, tuple[float, float, float]] = {}
    invalid: str = ""
    date: str = ""

    def error(self, figure: str = "latency_p99_ms") -> float:
        """Relative: of a share, the difference itself."""
        return _error(figure, self.live[figure], self.predicted[figure][0])

    def error_at_level(self, figure: str = "latency_p99_ms") -> float | None:
        """What is left of the error where the engines' speed in the live run is given. None: not known."""
        if figure not in self.at_level:
            return None
        return _error(figure, self.live[figure], self.at_level[figure][0])

    def covers(self, figure: str = "latency_p99_ms") -> bool:
        """Whether the live value lies in the forecast's interval."""
        _, low, high = self.predicted[figure]
        return low <= self.live[figure] <= high


def _error(figure: str, live: float, estimate: float) -> float:
    return estimate - live if figure in _SHARES else estimate / live - 1


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
    replications: int = REPLICATIONS,
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

    def forecast_of(known: ServiceProfile) -> dict[str, tuple[float, float, float]]:
        found = forecast(
            known,
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
        return _triples(found)

    window = measured.window
    level = level_of(window, profile, setup, given, seed)
    span_s = max(1, int(window["intended_ns"].max()) - measured.record.measured_from_ns) / NS_PER_S
    return Check(
        service=setup.service,
        setup=msgspec.to_builtins(setup),
        num_requests=num,
        rate_rps=num / span_s,
        live=live_figures(window, setup.slo_latency_ns),
        predicted=forecast_of(profile),
        level=level,
        at_level={} if level is None else forecast_of(as_fast_as(profile, level)),
        invalid=measured.invalid,
    )


def as_fast_as(profile: ServiceProfile, level: float) -> ServiceProfile:
    """The same of a machine on which everything takes so many times as long."""
    return msgspec.structs.replace(profile, host=msgspec.structs.replace(profile.host, speeds=[level]))


def level_of(
    window: RowColumns, profile: ServiceProfile, setup: Setup, given: Replayed, seed: int
) -> float | None:
    """Engine time of the live run's requests over that of simulated ones in batches of as many rows."""
    models = [stage for stage in setup.stages if stage.kind == "model"]
    if len(models) != 1 or models[0].remote is not None:
        return None
    rows = simulate_service(profile, setup, given.arrivals_ns, given.lengths, seed=seed, asked=given.asked)
    simulated, live = (_batches(one) for one in (rows, window))
    if not len(simulated[0]) or not len(live[0]):
        return None
    times = profile.models[models[0].key]
    known = {int(size): float(simulated[1][simulated[0] == size].mean()) for size in np.unique(simulated[0])}

    def expected(size: int) -> float:
        near = min(known, key=lambda one: abs(one - size))
        return known[near] * mean_ns(times, size) / mean_ns(times, near)

    sizes, compute_ns = live
    each, of = np.unique(sizes, return_inverse=True)
    expected_ns = np.array([expected(size) for size in each.tolist()])[of]
    return float((compute_ns / sizes).sum() / (expected_ns / sizes).sum())


def _batches(rows: RowColumns) -> tuple[Ints, Ints]:
    """Of each request that an engine ran: the rows of its batch, and how long that took."""
    ran = (rows["batch_size"] > 0) & (rows["compute_ns"] > 0)
    return rows["batch_size"][ran], rows["compute_ns"][ran]


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
