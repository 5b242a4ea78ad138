"""Screening: what the simulator says of every configuration. Short simulations first, longer ones for the best."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from trivet.catalog.study import Goal
from trivet.simulate.errors import NotProfiledError, TooManyCallsError
from trivet.simulate.profile import ServiceProfile
from trivet.simulate.rate_search import largest
from trivet.simulate.setup import Setup, StageSetup, passing
from trivet.spec.cost import Cost
from trivet.tune.choice import Choice
from trivet.tune.goals import value
from trivet.tune.lever import changes_answers
from trivet.tune.prices import PRICE
from trivet.tune.simulated_load import NS_PER_S, Point, SimulatedLoad

FIRST, SECOND = 800, 3_000  # requests of one simulation, of the first and the second round
FIRST_PRECISION, SECOND_PRECISION = 0.06, 0.015  # of the largest rate, as a share
NUM_SECOND = 20
BEHIND = 0.75  # of the best so far: who does not reach it is simulated no further
NEARBY = 1.06  # how far from a guess a search begins
LOWEST_SHARE = (
    1 / 256
)  # of what the engines alone could do: below it a configuration cannot keep the SLO at all
NEAR = 0.9  # of the largest rate: the other end of the slope
SLOPES = (0.02, 0.6)
DEFAULT_SLOPE = 0.2
_FIGURES = ("max_rate_rps", "latency_p50_ms", "latency_p99_ms", "cpu_ms_per_request")

SetupOf = Callable[[Choice], Setup]
Spent = Callable[[], bool]  # whether the time for screening is over


@dataclass(frozen=True, slots=True)
class Screened:
    """A forecast of one choice.

    figures: latencies and cost are at the reference rate, absent until that is known; there is no largest rate of a choice
    that is far behind others.

    slope: how far the largest rate moves with the latency budget, both on a log scale, near the largest rate.
    """

    choice: Choice
    setup: Setup
    figures: Mapping[str, float]
    slope: float = DEFAULT_SLOPE


@dataclass(frozen=True, slots=True)
class Screening:
    """Best first. num: configurations that were simulated; same: those that would run the same as one of them.

    not_profiled: configurations that the profile does not cover, by reason.
    """

    found: tuple[Screened, ...]
    reference_rps: float
    num: int
    same: int
    not_profiled: Mapping[str, int]
    ended_early: bool


class Screen:
    """Simulates choices one by one; each distinct setup once. Args: zipf, cost: as in SimulatedLoad."""

    def __init__(
        self,
        profile: ServiceProfile,
        setup_of: SetupOf,
        goal: Goal,
        seed: int,
        zipf: float = 0.0,
        cost: Cost | None = None,
    ) -> None:
        self._profile, self._setup_of, self._goal = profile, setup_of, goal
        self._short = SimulatedLoad(profile, FIRST, seed, zipf, cost)
        self._long = SimulatedLoad(profile, SECOND, seed, zipf, cost)
        self.reference_rps = 0.0
        self.known: dict[Setup, Screened] = {}
        self.same = 0
        self._best: dict[tuple[object, ...], float] = {}  # by answers: of the objective
        self._closer: dict[object, Screened] = {}  # by answers and short figures
        self.not_profiled: dict[str, int] = {}

    def look(self, choice: Choice) -> Screened | None:
        """A first forecast; None where the profile does not cover it, or another choice runs the same."""
        setup = self._setup_of(choice)
        if setup in self.known:
            self.same += 1
            return None
        if reason := self._profile.covers(setup):
            self.not_profiled[reason] = self.not_profiled.get(reason, 0) + 1
            return None
        try:
            found = self._first(choice, setup)
        except NotProfiledError as error:
            self.not_profiled[str(error)] = self.not_profiled.get(str(error), 0) + 1
            return None
        self.known[setup] = found
        return found

    def of(self, choice: Choice) -> Screened | None:
        """What is known of a choice, or of the one that runs the same."""
        return self.known.get(self._setup_of(choice))

    def set_reference(self, default: Choice) -> None:
        """Where latencies are compared: at the declared throughput, else at half of what the default bears."""
        found = self.of(default)
        if found is None:
            return
        rate = found.figures["max_rate_rps"] or engine_bound_rps(self._profile, found.setup) / 2
        most = most_rps(self._profile, found.setup)
        self.reference_rps = min(self._goal.throughput_rps or _rounded(rate / 2), most)
        at = self._at_reference(found.setup)
        self.known[found.setup] = replace(found, figures={**found.figures, **at})

    def _first(self, choice: Choice, setup: Setup) -> Screened:
        """A short forecast. Who is far behind the best of the same answers gets no largest rate: most do."""
        best = self._best.get(answers_of(choice))
        if best is not None and self._goal.objective == "rate":
            rate = self._rate(setup, guess=best, at_least=BEHIND * best)
            if not rate["max_rate_rps"]:
                return Screened(choice, setup, {})
            figures = self._at_reference(setup)
        else:
            figures = self._at_reference(setup)
            if best is not None and value(figures, self._goal) < best + math.log(BEHIND):
                return Screened(choice, setup, figures)
            rate = self._rate(setup)
        found = Screened(choice, setup, {**rate, **figures})
        self._note_best(found)
        return found

    def _rate(
        self, setup: Setup, guess: float | None = None, at_least: float | None = None
    ) -> dict[str, float]:
        budget_ns = self._goal.slo_latency_ns
        rate, points = largest_rate(
            self._profile, setup, self._short, budget_ns, FIRST_PRECISION, guess=guess, at_least=at_least
        )
        return {"max_rate_rps": rate, **_shares(points, budget_ns)}

    def _at_reference(self, setup: Setup, load: SimulatedLoad | None = None) -> dict[str, float]:
        """Nothing where the rate is not known, or asks upstreams elsewhere too much."""
        if not self.reference_rps:
            return {}
        try:
            return _at_reference((load or self._short).at(setup, self.reference_rps))
        except TooManyCallsError:
            return {}

    def _note_best(self, found: Screened) -> None:
        figures, answers = found.figures, answers_of(found.choice)
        worth = figures["max_rate_rps"] if self._goal.objective == "rate" else value(figures, self._goal)
        if math.isfinite(worth) and worth:
            self._best[answers] = max(worth, self._best.get(answers, worth))

    def look_closer(self, screened: Screened) -> Screened:
        """The same from longer simulations; of those that the short ones could not tell apart only of the first."""
        figures = screened.figures
        same: object = screened.setup
        if figures.get("max_rate_rps"):
            same = (answers_of(screened.choice), tuple(sorted(figures.items())))
        known = self._closer.get(same)
        if known is None:
            known = self._closer[same] = self._longer(screened)
        found = replace(known, choice=screened.choice, setup=screened.setup)
        self.known[screened.setup] = found
        return found

    def _longer(self, screened: Screened) -> Screened:
        setup, load, budget_ns = screened.setup, self._long, self._goal.slo_latency_ns
        guess = screened.figures.get("max_rate_rps") or None
        rate, points = largest_rate(self._profile, setup, load, budget_ns, SECOND_PRECISION, guess=guess)
        figures = self._at_reference(setup, load)
        slope = _slope(load, setup, points, budget_ns) if rate else DEFAULT_SLOPE
        shares = _shares(points, budget_ns)
        return Screened(screened.choice, setup, {"max_rate_rps": rate, **shares, **figures}, slope)


def largest_rate(
    profile: ServiceProfile,
    setup: Setup,
    load: SimulatedLoad,
    slo_latency_ns: int,
    precision: float,
    *,
    guess: float | None = None,
    at_least: float | None = None,
) -> tuple[float, list[Point]]:
    """The largest rate that holds the SLO (0: none does), and what was simulated on the way to it.

    Args: guess: where the search begins.  at_least: a lower rate is of no interest: it is 0 then.
    """
    points: list[Point] = []

    def holds(rate_rps: float) -> bool:
        try:
            points.append(load.at(setup, rate_rps, within_ns=slo_latency_ns))
        except TooManyCallsError:  # nor is it ever offered
            return False
        return points[-1].holds(slo_latency_ns)

    bound = engine_bound_rps(profile, setup)
    most = max(bound, hit_bound_rps(profile, setup))
    if guess is None:
        first, growth = bound / 2, 2.0
    else:
        first, growth = min(guess, most / NEARBY), NEARBY
    least = bound * LOWEST_SHARE if at_least is None else at_least
    most = max(most, least)
    found = largest(holds, max(first, least), growth=growth, least=least, most=most, precision=precision)
    return found[0], points


def screen(
    looker: Screen,
    choices: Iterable[Choice],
    goal: Goal,
    *,
    admissible: Callable[[Choice], int],
    is_spent: Spent,
) -> Screening:
    """Forecasts of all choices, the first of which is the default: half of its largest rate is the reference.

    Args: admissible: how surely a choice may be recommended at all (goals.floor_standing).
    """
    ended_early = False
    for choice in choices:
        looker.look(choice)
        if not looker.reference_rps:
            looker.set_reference(choice)
        if is_spent():
            ended_early = True
            break
    for one in survivors(list(looker.known.values()), goal, admissible):
        if is_spent():
            ended_early = True
            break
        looker.look_closer(one)
    ranked = sorted(looker.known.values(), key=lambda one: _rank(one, goal, admissible))
    return Screening(
        found=tuple(ranked),
        reference_rps=looker.reference_rps,
        num=len(looker.known),
        same=looker.same,
        not_profiled=dict(looker.not_profiled),
        ended_early=ended_early,
    )


def survivors(found: Sequence[Screened], goal: Goal, admissible: Callable[[Choice], int]) -> list[Screened]:
    """The default, the best by the objective, and in each class of answers the best by rate and by latency."""
    ranked = sorted(found, key=lambda one: _rank(one, goal, admissible))
    kept: dict[Setup, Screened] = {one.setup: one for one in [*found[:1], *ranked[: NUM_SECOND // 2]]}
    ends = [msgspec.structs.replace(goal, objective=objective) for objective in ("rate", "latency")]
    by_answers: dict[tuple[object, ...], list[Screened]] = {}
    for one in ranked:
        by_answers.setdefault(answers_of(one.choice), []).append(one)
    for alike in by_answers.values():
        for aim in ends:
            best = sorted(alike, key=lambda one: -value(one.figures, aim))
            kept |= {one.setup: one for one in best[: max(1, NUM_SECOND // 4 // len(by_answers))]}
    return list(kept.values())


def engine_bound_rps(profile: ServiceProfile, setup: Setup) -> float:
    """More than the server could do: every engine busy with its best batches, every event loop with requests alone."""
    loop_ns = _mean(profile.host.per_request_ns)
    bounds = []
    for place, stage in enumerate(setup.stages):
        share = passing(setup, place)
        if not share:
            continue
        ladder = setup.ladder if setup.ladder is not None and setup.ladder.place == place else None
        rungs = [stage, *(rung.stage for rung in ladder.rungs)] if ladder else [stage]
        row_ns = [_row_ns(profile, one) for one in rungs]
        if all(one.execution == "inline" for one in rungs):
            loop_ns += share * min(row_ns)
        else:
            rates = [one.instances / ns for one, ns in zip(rungs, row_ns, strict=True)]
            bounds.append(setup.workers * NS_PER_S * sum(rates) / share)
    bounds.append(most_rps(profile, setup))
    bounds += [setup.workers * NS_PER_S / loop_ns] if loop_ns else []
    return min(bounds)


def most_rps(profile: ServiceProfile, setup: Setup) -> float:
    """The largest rate at which upstreams elsewhere are hardly ever asked more at once than they were while profiled;
    infinite where all runs here. Somebody else's server is not asked for all that it bears.
    """
    bounds = [math.inf]
    for place, stage in enumerate(setup.stages):
        share = passing(setup, place)
        if stage.remote is not None and share:
            names = [name for name, _ in stage.remote.upstreams]
            bounds.append(profile.remotes[stage.key].most_calls_rps(names) / share)
    return min(bounds)


def _row_ns(profile: ServiceProfile, stage: StageSetup) -> float:
    """Time a row in the best of its batches."""
    return min(
        _mean(found) / rows
        for by_rows in profile.models[stage.key].samples.values()
        for rows, found in by_rows.items()
        if rows <= stage.max_batch_size and found
    )


def hit_bound_rps(profile: ServiceProfile, setup: Setup) -> float:
    """More than the server could do were every request answered before its pipeline; 0: nothing does that."""
    if setup.fronts is None or profile.fronts is None:
        return 0.0
    return setup.workers * NS_PER_S / max(1.0, _mean(profile.fronts.hit_ns))


def answers_of(choice: Choice) -> tuple[object, ...]:
    """The levers that change answers: choices with the same ones are as accurate as each other."""
    return tuple(choice[lever] for lever in choice if changes_answers(lever))


def _mean(values: Sequence[int]) -> float:
    return sum(values) / len(values) if values else 0.0


def _at_reference(point: Point) -> dict[str, float]:
    found = dict(zip(_FIGURES[1:], (point.p50_ms, point.p99_ms, point.cpu_ms), strict=True))
    found |= {"hit_share": point.hit_share} if point.hit_share else {}
    found |= {PRICE: point.price} if point.price else {}
    return {name: figure for name, figure in found.items() if math.isfinite(figure)}


def _shares(points: Sequence[Point], slo_latency_ns: int) -> Mapping[str, float]:
    """Who stood in at the largest rate that holds; of none that holds nothing."""
    held = [point for point in points if point.holds(slo_latency_ns)]
    return max(held, key=lambda point: point.rate_rps).shares if held else {}


def _slope(load: SimulatedLoad, setup: Setup, points: Sequence[Point], slo_latency_ns: int) -> float:
    """d log(rate) / d log(latency) between NEAR and the largest rate."""
    at_most = max(
        (point for point in points if point.holds(slo_latency_ns)), key=lambda point: point.rate_rps
    )
    below = load.at(setup, NEAR * at_most.rate_rps)
    least, most = SLOPES
    if not math.isfinite(below.slo_ms):  # a hiccup hit the lower rate: near the limit of hardly anything
        return most
    steepness = math.log(max(at_most.slo_ms, 1e-9) / max(below.slo_ms, 1e-9))
    return min(most, max(least, math.log(1 / NEAR) / steepness)) if steepness > 0 else most


def _rank(one: Screened, goal: Goal, admissible: Callable[[Choice], int]) -> tuple[object, ...]:
    return (-admissible(one.choice), -value(one.figures, goal), one.choice.key)


def _rounded(rate: float) -> float:
    """To two digits: a number that people read."""
    return float(f"{rate:.2g}")
