"""The ramp to the knee: the largest rate at which a target holds its SLO, with an interval.

One search: rates grow until the SLO breaks, then the bracket between the last rate that held and the first that
did not shrinks. Where both ends have a latency the next rate is where the line through both in logarithms meets the
budget (secant), kept off the ends; else their geometric mean. All rates of one search share their seed, so that
they differ in little but the rate. The search is repeated with other seeds; each gives one knee, and the interval
is Student's over the logarithms of these, and half the last bracket on either side.
"""

import math
from dataclasses import dataclass
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta

from trivet.errors import UserError
from trivet.load.arrivals import NS, Arrivals, DurationNs, Rate
from trivet.load.figures import Window, budget_ns, measured_window
from trivet.load.job import Job
from trivet.load.scenarios import ANY_RATE, Offer, loaded
from trivet.spec.levers import Slo
from trivet.stats import student_t

MAX_STEPS = 40  # of one search; a bracket of a factor of a million shrinks to 1 % in 22 halvings
MAX_TRIES = 3  # of one rate
MIN_MOVE = 0.15  # of the bracket: a secant that hugs one end would move it by nothing


class NoKneeError(UserError):
    """The SLO holds at every rate that could be offered, or at none."""


class StoppedError(UserError):
    """The run of a rate was stopped (Ctrl-C), and the search with it."""


class Ramp(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="ramp"):
    """Rates from `min_rps`, growing by `growth`, up to `max_rps`; `step_ns` each, after the job's warm-up.

    precision: the bracket's ends are this close at last.  max_error_share: more requests without a result break
    the SLO, whatever its percentile is.  num_searches: each with seeds of its own; one alone has no interval.
    """

    min_rps: Rate
    max_rps: Rate
    step_ns: DurationNs = 2 * NS
    growth: Annotated[float, Meta(gt=1)] = 2.0
    precision: Annotated[float, Meta(gt=0, le=1)] = 0.02
    max_error_share: Annotated[float, Meta(ge=0, le=1)] = 0.01
    num_searches: Annotated[int, Meta(ge=1)] = 3
    arrivals: Arrivals = ANY_RATE


@dataclass(frozen=True, slots=True)
class Step:
    """One rate tried. invalid: why the generator was no judge of it, or empty."""

    search: int
    rate_rps: float
    window: Window
    holds: bool
    invalid: str


@dataclass(frozen=True, slots=True)
class Knee:
    """rate_rps: with its 95 % interval; low and high are None after one search.

    invalid: a rate that ended a search did so for the generator's sake: the target may bear more.
    """

    rate_rps: float
    low_rps: float | None
    high_rps: float | None
    steps: tuple[Step, ...]
    invalid: str = ""


def find_knee(scenario: Ramp, base: Job, offer: Offer, slo: Slo) -> Knee:
    """The largest rate that holds the SLO: the middle (geometric) of the last bracket, over all searches.

    Raises: SpecError: the SLO has no latency.  NoKneeError: it holds at `max_rps`, or breaks at `min_rps`.
    StoppedError: `offer` gave back a partial result.
    """
    budget_ns(slo)
    steps: list[Step] = []
    logs: list[float] = []
    reasons: set[str] = set()
    guess: float | None = None
    for search in range(scenario.num_searches):
        one = _Search(scenario, _reseeded(base, search), offer, slo, search)
        guess = one.run(guess)
        logs.append(math.log(guess))
        steps += one.steps
        reasons |= {one.limit} - {""}
    centre = float(np.mean(logs))
    if len(logs) == 1:
        return Knee(math.exp(centre), None, None, tuple(steps), "; ".join(sorted(reasons)))
    error = float(np.std(logs, ddof=1)) / math.sqrt(len(logs))
    margin = student_t.quantile(0.975, len(logs) - 1) * error + math.log(1 + scenario.precision) / 2
    low, high = math.exp(centre - margin), math.exp(centre + margin)
    return Knee(math.exp(centre), low, high, tuple(steps), "; ".join(sorted(reasons)))


class _Search:
    """One bracket, from two rates apart to one rate."""

    def __init__(self, scenario: Ramp, base: Job, offer: Offer, slo: Slo, search: int) -> None:
        self._scenario, self._base, self._offer, self._slo = scenario, base, offer, slo
        self._search = search
        self.steps: list[Step] = []
        self.limit = ""  # why the generator, not the target, set the upper end of the last bracket

    def run(self, guess: float | None) -> float:
        """The knee. `guess`: of another search; this one starts beside it."""
        scenario = self._scenario
        good, bad = self._bracket(guess)
        halve = False
        for _ in range(MAX_STEPS):
            if bad.rate_rps <= good.rate_rps * (1 + scenario.precision):
                break
            length = bad.rate_rps / good.rate_rps
            step = self._try(self._between(good, bad, halve=halve))
            good, bad = (step, bad) if step.holds else (good, step)
            # A secant may move one end only, and little; then a halving makes sure of the end.
            halve = bad.rate_rps / good.rate_rps > math.sqrt(length)
        self.limit = bad.invalid
        return math.sqrt(good.rate_rps * bad.rate_rps)

    def _bracket(self, guess: float | None) -> tuple[Step, Step]:
        """A rate that holds and one that does not, from the smallest rate up, or from a guess on both ways."""
        scenario = self._scenario
        growth = scenario.growth if guess is None else 1 + 4 * scenario.precision
        first = scenario.min_rps if guess is None else guess / math.sqrt(growth)
        step = self._try(self._bounded(first))
        return self._upwards(step, growth) if step.holds else self._downwards(step, growth)

    def _upwards(self, good: Step, growth: float) -> tuple[Step, Step]:
        while good.rate_rps < self._scenario.max_rps:
            step = self._try(self._bounded(good.rate_rps * growth))
            if not step.holds:
                return good, step
            good, growth = step, min(growth * growth, max(growth, self._scenario.growth))
        raise NoKneeError(
            f"the SLO holds at {good.rate_rps:,.4g} requests a second, the most that was asked for: "
            f"{_said(good, self._slo)}; raise the largest rate"
        )

    def _downwards(self, bad: Step, growth: float) -> tuple[Step, Step]:
        while bad.rate_rps > self._scenario.min_rps:
            step = self._try(self._bounded(bad.rate_rps / growth))
            if step.holds:
                return step, bad
            bad, growth = step, growth * growth
        if bad.invalid:
            raise NoKneeError(
                f"nothing can be said of {bad.rate_rps:,.4g} requests a second, the least that was asked for: {bad.invalid}"
            )
        raise NoKneeError(
            f"the SLO does not hold at {bad.rate_rps:,.4g} requests a second, the least that was asked for: "
            f"{_said(bad, self._slo)}; lower the smallest rate, or allow more"
        )

    def _bounded(self, rate_rps: float) -> float:
        return min(max(rate_rps, self._scenario.min_rps), self._scenario.max_rps)

    def _between(self, good: Step, bad: Step, *, halve: bool) -> float:
        low, high = math.log(good.rate_rps), math.log(bad.rate_rps)
        share = 0.5
        has_line = bad.window.latency_ns > good.window.latency_ns > 0 and not bad.invalid
        if has_line and not halve:
            below = math.log(budget_ns(self._slo) / good.window.latency_ns)
            share = below / math.log(bad.window.latency_ns / good.window.latency_ns)
        return math.exp(low + (high - low) * min(max(share, MIN_MOVE), 1 - MIN_MOVE))

    def _try(self, rate_rps: float) -> Step:
        """Offer one rate; again where the generator was no judge, as a hiccup of its machine says nothing of the target."""
        for _ in range(MAX_TRIES):
            step = self._once(rate_rps)
            self.steps.append(step)
            if not step.invalid:
                break
        return step

    def _once(self, rate_rps: float) -> Step:
        scenario = self._scenario
        duration_ns = self._base.warmup_ns + scenario.step_ns
        result = self._offer(loaded(self._base, scenario.arrivals, rate_rps, duration_ns))
        if result.partial:
            raise StoppedError(
                f"the ramp was stopped at {rate_rps:,.4g} requests a second, before a knee was found"
            )
        window = measured_window(result, self._slo)
        holds = (
            window.attainment >= self._slo.percentile / 100
            and window.error_share <= scenario.max_error_share
            and not result.generator.invalid
        )
        return Step(self._search, rate_rps, window, holds, result.generator.invalid)


def _reseeded(base: Job, search: int) -> Job:
    """Other arrivals and items for another search; a purpose with a seed of its own moves on from that."""
    seeds = {purpose: seed + search for purpose, seed in base.seeds.items()}
    return msgspec.structs.replace(base, seed=base.seed + search, seeds=seeds)


def _said(step: Step, slo: Slo) -> str:
    budget = f"p{slo.percentile:g} within {budget_ns(slo) / 1e6:g} ms"
    return f"{step.window.attainment:.2%} of the requests had a result in time ({budget} is asked for)"
