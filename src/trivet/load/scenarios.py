"""What is asked of a target beyond one rate: a spike, overload, endurance. The ramp to the knee is in knee.py.

Each scenario is a value, and a function that offers its loads through `offer`, which the caller gives: whoever runs
it decides the process and the core. `base` is the job in all but its load; its seed serves every load, so that
all of them draw the same items.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta

from trivet.errors import SpecError
from trivet.load.arrivals import NS, Arrivals, DurationNs, Poisson, Rate, Steps
from trivet.load.figures import Window, budget_ns, measured_window, windows
from trivet.load.job import Job, OpenLoop
from trivet.load.rates import at_rate
from trivet.load.result import Result
from trivet.load.seeds import generator
from trivet.spec.levers import Slo
from trivet.stats import student_t
from trivet.stats.interval import Ratio

Offer = Callable[[Job], Result]
ANY_RATE = Poisson(rate_rps=1, duration_ns=NS)  # the arrivals of a scenario that names none


class Steady(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="steady"):
    """One rate, for a while."""

    rate_rps: Rate
    duration_ns: DurationNs
    arrivals: Arrivals = ANY_RATE  # their kind and shape; the rate is set


class Overload(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="overload"):
    """Multiples of a capacity, one after the other: does goodput stay, and who is refused how soon?"""

    capacity_rps: Rate
    duration_ns: DurationNs
    multiples: tuple[Annotated[float, Meta(gt=0)], ...] = (1.0, 1.5, 2.0, 3.0)
    arrivals: Arrivals = ANY_RATE


class Spike(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="spike"):
    """A base rate, a spike, the base rate again: how long after the spike is everything as before?"""

    base_rps: Rate
    spike_rps: Rate
    before_ns: DurationNs = 5 * NS
    spike_ns: DurationNs = 2 * NS
    after_ns: DurationNs = 10 * NS
    window_ns: DurationNs = NS // 4


class Soak(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="soak"):
    """One rate for long: does latency drift?"""

    rate_rps: Rate
    duration_ns: DurationNs
    num_blocks: Annotated[int, Meta(ge=3)] = 20
    arrivals: Arrivals = ANY_RATE


@dataclass(frozen=True, slots=True)
class SteadyResult:
    result: Result


@dataclass(frozen=True, slots=True)
class OverloadResult:
    """By multiple of the capacity: what was offered, what came back."""

    steps: tuple[tuple[float, Window, Result], ...]

    @property
    def goodput_kept(self) -> float:
        """The least goodput over that of the first multiple: 1 where overload takes nothing away."""
        first, *others = (step.goodput_rps for _, step, _ in self.steps)
        return min(others, default=first) / first if first else 0.0


@dataclass(frozen=True, slots=True)
class SpikeResult:
    """recovered_ns: from the end of the spike to the first window from which on all hold the SLO; None: not in this run."""

    before: tuple[Window, ...]
    during: tuple[Window, ...]
    after: tuple[Window, ...]
    recovered_ns: int | None
    result: Result


@dataclass(frozen=True, slots=True)
class SoakResult:
    """drift: the latency at the SLO's percentile at the end over that at the start, on the line that fits best."""

    blocks: tuple[Window, ...]
    drift: Ratio
    result: Result


def steady(scenario: Steady, base: Job, offer: Offer) -> SteadyResult:
    """The warm-up of `base` comes on top of the scenario's duration."""
    duration_ns = base.warmup_ns + scenario.duration_ns
    return SteadyResult(offer(loaded(base, scenario.arrivals, scenario.rate_rps, duration_ns)))


def overload(scenario: Overload, base: Job, offer: Offer, slo: Slo) -> OverloadResult:
    """Ends with a run that was stopped. Raises: SpecError: the SLO has no latency."""
    budget_ns(slo)
    duration_ns = base.warmup_ns + scenario.duration_ns
    steps = []
    for multiple in scenario.multiples:
        rate_rps = multiple * scenario.capacity_rps
        result = offer(loaded(base, scenario.arrivals, rate_rps, duration_ns))
        steps.append((multiple, measured_window(result, slo), result))
        if result.partial:
            break
    return OverloadResult(tuple(steps))


def spike(scenario: Spike, base: Job, offer: Offer, slo: Slo) -> SpikeResult:
    """Windows are filled by the intended times of requests. Raises: SpecError: the SLO has no latency."""
    budget_ns(slo)
    calm_ns = base.warmup_ns + scenario.before_ns
    over_ns = calm_ns + scenario.spike_ns
    end_ns = over_ns + scenario.after_ns
    load = Steps(
        rates_rps=(scenario.base_rps, scenario.spike_rps, scenario.base_rps),
        durations_ns=(calm_ns, scenario.spike_ns, scenario.after_ns),
    )
    result = offer(msgspec.structs.replace(base, load=OpenLoop(arrivals=load)))
    before, during, after = (
        windows(result, begin, end, scenario.window_ns, slo)
        for begin, end in ((base.warmup_ns, calm_ns), (calm_ns, over_ns), (over_ns, end_ns))
    )
    return SpikeResult(tuple(before), tuple(during), tuple(after), _recovered_ns(after, slo), result)


def soak(scenario: Soak, base: Job, offer: Offer, slo: Slo) -> SoakResult:
    """Raises: SpecError: the SLO has no latency, or less than three blocks have one at its percentile."""
    budget_ns(slo)
    end_ns = base.warmup_ns + scenario.duration_ns
    result = offer(loaded(base, scenario.arrivals, scenario.rate_rps, end_ns))
    length_ns = scenario.duration_ns // scenario.num_blocks
    blocks = windows(result, base.warmup_ns, end_ns, length_ns, slo)
    return SoakResult(tuple(blocks), _drift(blocks), result)


def loaded(base: Job, arrivals: Arrivals, rate_rps: float, duration_ns: int) -> Job:
    """`base` with these arrivals at this rate."""
    own = at_rate(arrivals, rate_rps, duration_ns, generator(base.seed, "scaling", base.seeds))
    return msgspec.structs.replace(base, load=OpenLoop(arrivals=own))


def _recovered_ns(after: list[Window], slo: Slo) -> int | None:
    recovered = None
    for window in reversed(after):
        if window.attainment < slo.percentile / 100:
            break
        recovered = window.begin_ns - after[0].begin_ns
    return recovered


def _drift(blocks: list[Window]) -> Ratio:
    """Least squares of the logarithm over time, its slope with Student's t: exact for independent normal residuals."""
    known = [(place, block.latency_ns) for place, block in enumerate(blocks) if block.latency_ns > 0]
    if len(known) < 3:
        raise SpecError(
            f"{len(known)} of {len(blocks)} blocks have a latency at the SLO's percentile, at least 3 are needed; "
            "soak for longer, or at a rate that the target bears"
        )
    place, latency = (np.array(values, np.float64) for values in zip(*known, strict=True))
    time = place / max(1, len(blocks) - 1)
    logs = np.log(latency)
    spread = ((time - time.mean()) ** 2).sum()
    slope = float(((time - time.mean()) * logs).sum() / spread)
    residuals = logs - logs.mean() - slope * (time - time.mean())
    degrees = len(known) - 2
    error = math.sqrt(float((residuals**2).sum()) / degrees / float(spread))
    margin = student_t.quantile(0.975, degrees) * error
    return Ratio(math.exp(slope), math.exp(slope - margin), math.exp(slope + margin), len(known))
