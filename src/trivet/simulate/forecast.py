"""What a service will do under a load, with the interval that a real run of that length falls into.

A forecast is made of replications. Each has arrivals of its own (or the given ones), other draws of service times, a
profile drawn again, and a machine as fast as it was at one of the moments that were profiled. The interval is for one
more such run, not for the mean of many: Student's over logarithms, with the spread of one run in it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trivet.errors import UserError
from trivet.load.arrivals import Arrivals, Curve, Recorded, Steps
from trivet.load.rates import at_rate
from trivet.simulate.asked import EVENLY, Asked, items_of
from trivet.simulate.errors import NotProfiledError
from trivet.simulate.profile import ServiceProfile
from trivet.simulate.rate_search import largest
from trivet.simulate.record import Simulated
from trivet.simulate.server import Slo, drawn_lengths, simulated
from trivet.simulate.setup import Setup
from trivet.simulate.times import mean_ns, sizes_up_to
from trivet.stats import student_t
from trivet.stats.interval import Interval
from trivet.stats.percentile import percentile_ns

Ints = NDArray[np.int64]
NS_PER_S: Final = 1e9
NS_PER_MS: Final = 1e6
SPAN_S: Final = 3.0  # of a machine's pace, whose stretches are of tenths of a second
UNITS: Final[Mapping[str, str]] = {
    "latency_p50_ms": "ms",
    "latency_p95_ms": "ms",
    "latency_p99_ms": "ms",
    "throughput_rps": "requests/s",
    "goodput_rps": "requests/s",
    "slo_attainment": "share",
    "hit_share": "share",
    "wrong_hit_share": "share",
    "cpu_ms_per_request": "ms",
    "max_rate_rps": "requests/s",
}
_PERCENTILES: Final = {"latency_p50_ms": 0.5, "latency_p95_ms": 0.95, "latency_p99_ms": 0.99}
_SHARES: Final = frozenset({"slo_attainment", "hit_share", "wrong_hit_share"})


class NoRateError(UserError):
    """The SLO holds at every rate that was tried, or at none, or there is none."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """`figures` by name, units in UNITS; empty where `refused` says why nothing can be said."""

    figures: Mapping[str, Interval]
    replications: int
    refused: str = ""


def forecast(
    profile: ServiceProfile,
    setup: Setup,
    arrivals: Ints | Arrivals,
    *,
    replications: int = 20,
    seed: int = 0,
    lengths: Ints | None = None,
    warmup_ns: int = 0,
    confidence: float = 0.95,
    error: float = 0.0,
    asked: Asked = EVENLY,
    on_progress: Callable[[int, int], None] = lambda done, of: None,
) -> Forecast:
    """Args: arrivals: the instants themselves, or a process that each replication draws from.  warmup_ns: requests
    before it count in no figure.  asked: which inputs requests carry.  error: relative standard deviation that
    simulations were off by on this machine.
    """
    reason = profile.covers(setup, [] if lengths is None or not len(lengths) else [int(lengths.max())])
    if reason:
        return Forecast({}, 0, reason)
    found: dict[str, list[float]] = {}
    for index, child in enumerate(np.random.default_rng(seed).spawn(replications)):
        instants = arrivals if isinstance(arrivals, np.ndarray) else arrivals.instants_ns(child)
        run = simulated(profile, setup, instants, lengths, rng=child, resample=True, asked=asked)
        for name, value in figures_of(run, setup, warmup_ns).items():
            found.setdefault(name, []).append(value)
        on_progress(index + 1, replications)
    intervals = {
        name: prediction_interval(values, confidence, error=error, is_share=name in _SHARES)
        for name, values in found.items()
    }
    return Forecast(intervals, replications)


def figures_of(run: Simulated, setup: Setup, warmup_ns: int = 0) -> dict[str, float]:
    """The figures of one run, as `experiment/figures.py` has them; no latencies where nothing got a result."""
    measured = run.intended_ns >= warmup_ns
    num = int(measured.sum())
    if not num:
        return {}
    answered = run.is_ok() & measured
    latencies = run.latency_ns()[answered]
    seconds = max(1, int(run.intended_ns[-1]) - warmup_ns) / NS_PER_S
    figures = {}
    if len(latencies):
        figures = {name: percentile_ns(latencies, p) / NS_PER_MS for name, p in _PERCENTILES.items()}
    within = (
        len(latencies) if setup.slo_latency_ns is None else int((latencies <= setup.slo_latency_ns).sum())
    )
    return figures | {
        "throughput_rps": len(latencies) / seconds,
        "goodput_rps": within / seconds,
        "slo_attainment": within / num,
        "cpu_ms_per_request": run.busy_ns / len(run.intended_ns) / NS_PER_MS,
        **_hits(run, setup, measured),
    }


def _hits(run: Simulated, setup: Setup, measured: NDArray[np.bool_]) -> dict[str, float]:
    """Shares of all requests; nothing where no cache or table stands before the pipeline."""
    if setup.fronts is None or not setup.fronts.has_caches:
        return {}
    found = {"hit_share": float(run.is_hit()[measured].mean())}
    if setup.fronts.semantic is not None:
        found["wrong_hit_share"] = float(run.wrong[measured].mean())
    return found


def prediction_interval(
    values: Sequence[float], confidence: float = 0.95, *, error: float = 0.0, is_share: bool = False
) -> Interval:
    """Where one more value falls: Student's, over logarithms; of a share, over the share itself, within [0, 1].

    Args: values: at least one.  error: relative standard deviation that comes on top.
    """
    sample = np.asarray(values, np.float64)
    if not is_share and (sample <= 0).any():
        is_share = True
    scaled = sample if is_share else np.log(sample)
    centre = float(scaled.mean())
    if len(sample) < 2:
        return Interval(float(sample[0]), 0.0, 1.0 if is_share else math.inf)
    on_top = error * (centre * (1 - centre) if is_share else 1.0)
    spread = math.sqrt(float(scaled.var(ddof=1)) * (1 + 1 / len(sample)) + on_top**2)
    margin = student_t.quantile((1 + confidence) / 2, len(sample) - 1) * spread
    if is_share:
        return Interval(
            centre, max(0.0, centre - margin), min(1.0, centre + margin) if centre <= 1 else centre + margin
        )
    return Interval(math.exp(centre), math.exp(centre - margin), math.exp(centre + margin))


def largest_rate(
    profile: ServiceProfile,
    setup: Setup,
    process: Arrivals,
    *,
    seed: int,
    safety: float = 0.0,
    replications: int = 4,
    num_requests: int = 5_000,
    span_s: float = SPAN_S,
    precision: float = 0.01,
    confidence: float = 0.95,
    asked: Asked = EVENLY,
) -> Interval:
    """The largest rate at which the SLO's percentile of requests has a result within the SLO's latency.

    Each replication bisects on arrivals of its own: the same draws at every rate, only closer together or farther apart
    (of a trace, too: its bursts keep their sizes in requests), so that rates differ by nothing but the rate.

    Args: process: its own rate is where the search begins.  safety: share of the SLO's latency that is kept free.
    num_requests: of each simulation.  span_s: where the machine has a pace, simulations are of so many seconds at least
    (30,000 requests at most): of some thousand requests a quick model would see one moment of it.
    asked: which inputs they carry.  precision: of the rate, where one bisection ends.
    Raises: NotProfiledError: as `simulated`.  NoRateError: no SLO, or it holds at no rate.
    """
    if setup.slo_latency_ns is None:
        raise NoRateError(
            "the service has no SLO latency: set `slo: {latency: 50ms}` to ask for a largest rate"
        )
    reason = profile.covers(setup)
    if reason:
        raise NotProfiledError(f"no largest rate: {reason}; profile it first")
    budget_ns = int(setup.slo_latency_ns * (1 - safety))
    rng = np.random.default_rng(seed)
    rates, draws = [], rng.spawn(replications)
    guess: float | None = None
    if profile.host.paces and span_s:
        rough = _Search(profile, setup, process, rng.spawn(1)[0], num_requests, budget_ns, asked)
        guess = rough.run(None, _ROUGHLY)
        num_requests = max(num_requests, min(_MOST_REQUESTS, round(guess * span_s)))
    for child in draws:
        guess = _Search(profile, setup, process, child, num_requests, budget_ns, asked).run(guess, precision)
        rates.append(guess)
    return prediction_interval(rates, confidence, error=precision / 2)


class _Search:
    """One bisection, on one set of draws."""

    def __init__(
        self,
        profile: ServiceProfile,
        setup: Setup,
        process: Arrivals,
        rng: np.random.Generator,
        num_requests: int,
        budget_ns: int,
        asked: Asked,
    ) -> None:
        self._profile, self._setup, self._budget_ns = profile, setup, budget_ns
        self._gaps_ns = _instants(process, num_requests, rng)
        if len(self._gaps_ns) < 2:
            raise NoRateError(
                f"{len(self._gaps_ns)} arrivals are too few to look for a rate: give a longer duration"
            )
        self._own_rps = len(self._gaps_ns) / float(self._gaps_ns[-1]) * NS_PER_S
        items = items_of(profile, setup, asked, len(self._gaps_ns), rng)
        self._asked = replace(asked, items=items)
        self._lengths = drawn_lengths(profile, setup, len(self._gaps_ns), rng, items)
        self._seed = int(rng.integers(1 << 62))
        # Whoever waits behind more than can be done within the budget is late: so many at once decide the whole run.
        allowed = (1 - setup.slo_percentile / 100) * len(self._gaps_ns)
        self._slo = Slo(budget_ns, math.floor(allowed + _ROUNDING))
        self._most_waiting = int(allowed + _most_at_once(profile, setup, budget_ns)) + 1
        # So far apart hardly any request meets another: it gets no better with fewer.
        apart = max(_APART, 2 / (1 - setup.slo_percentile / 100))
        self._least_rps = NS_PER_S / (budget_ns * apart)

    def run(self, guess: float | None, precision: float) -> float:
        first, growth = (self._own_rps, 2.0) if guess is None else (guess, 1.1)
        low, high = largest(
            self._holds, first, growth=growth, least=self._least_rps, most=_MOST_RPS, precision=precision
        )
        if high >= _MOST_RPS:
            raise NoRateError(f"the SLO holds even at {low:,.3g} requests a second: nothing bounds the rate")
        if not low:
            raise NoRateError(
                f"the SLO (p{self._setup.slo_percentile:g} within {self._budget_ns / NS_PER_MS:g} ms) holds at no "
                f"rate: a lone request takes longer; allow more time, or take a faster variant{self._profile.doubts()}"
            )
        return math.sqrt(low * high)

    def _holds(self, rate_rps: float) -> bool:
        instants = (self._gaps_ns * (self._own_rps / rate_rps)).astype(np.int64)
        rng = np.random.default_rng(self._seed)
        run = simulated(
            self._profile,
            self._setup,
            instants,
            self._lengths,
            rng=rng,
            resample=True,
            most_waiting=self._most_waiting,
            slo=self._slo,
            asked=self._asked,
        )
        within = run.is_ok() & (run.latency_ns() <= self._budget_ns)
        return float(within.mean()) >= self._setup.slo_percentile / 100


def _instants(process: Arrivals, num: int, rng: np.random.Generator) -> Ints:
    """About `num` arrivals of the process, however long it lasts; of a longer trace a part from a random place on."""
    if isinstance(process, Recorded):
        instants = process.instants_ns(rng)
        first = int(rng.integers(max(1, len(instants) - num + 1)))
        return instants[first : first + num] - instants[first] if len(instants) else instants
    if isinstance(process, Steps | Curve):
        return process.instants_ns(rng)[:num]
    wanted_ns = math.ceil(num / process.rate_rps * NS_PER_S)
    return at_rate(process, process.rate_rps, wanted_ns, rng).instants_ns(rng)


def _most_at_once(profile: ServiceProfile, setup: Setup, budget_ns: int) -> float:
    """More requests than the first stage can do in so long: all engines at their best batch, half as fast again."""
    stage = setup.stages[0]
    times = profile.models[stage.key]
    sizes = sizes_up_to(stage.max_batch_size)
    unit_ns = min(mean_ns(times, rows, length) / rows for length in times.samples for rows in sizes)
    return 1.5 * setup.workers * stage.instances * (budget_ns / unit_ns + stage.max_batch_size)


_MOST_RPS: Final = 1e8
_MOST_REQUESTS: Final = 30_000
_ROUGHLY: Final = 0.1
_ROUNDING: Final = 1e-6  # of a number of requests
_APART: Final = 200.0  # of the SLO's latency, on average between requests
