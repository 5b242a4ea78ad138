"""One live trial: a challenger beside the incumbent, block by block on the same arrivals, until they are told apart."""

import math
from collections.abc import Callable, Sequence

from trivet.catalog.study import BlockKind, Goal, Objective, TrialBlock
from trivet.stats.sequential import PairedSequence
from trivet.tune.beliefs import FURTHEST, LIMIT, MOST_RPS, Beliefs, Records, limit_sample, moved
from trivet.tune.bench import Bench, BlockResult
from trivet.tune.budget import Budget
from trivet.tune.choice import Choice
from trivet.tune.goals import objective_figure
from trivet.tune.sight import Sight

Plan = tuple[BlockKind, ...]

MIN_BLOCKS = 3
MARGIN, ALPHA = (
    0.02,
    0.1,
)  # of one trial: a challenger that is dropped wrongly costs little beside the time saved
MIN_STEP, MAX_STEP = 0.6, 1.5  # of the offered rate between two blocks near the limit
FAR_UP, FAR_DOWN = 2.0, 0.5  # the same where a block was nowhere near it
HOPELESS = 0.02  # the probability to be better below which a trial ends

# What is offered in turn. Every trial has a block of either kind early: one that is cut short has its figures.
_OF_RATE: Plan = ("limit", "reference", "limit", "limit", "limit", "reference", "limit", "limit", "limit")
_OF_OTHERS: Plan = ("reference", "limit", "reference", "reference", "limit") + 4 * ("reference",)
PLANS: dict[Objective, Plan] = {"rate": _OF_RATE, "latency": _OF_OTHERS, "cost": _OF_OTHERS}
CONFIRM: Plan = (
    "limit",
    "promise",
    "reference",
    "limit",
    "promise",
    "limit",
    "reference",
    "limit",
)

BeliefsOf = Callable[[], Beliefs]
SightOf = Callable[[Choice, float], Sight | None]  # what blocks of so many seconds see
IsOver = Callable[[int], bool]  # after so many blocks


class Measuring:
    """Carries out blocks and writes them down. Args: most_rps_of: what a choice may be offered at all."""

    def __init__(
        self,
        bench: Bench,
        goal: Goal,
        reference_rps: float,
        records: Records,
        budget: Budget,
        beliefs_of: BeliefsOf,
        sight_of: SightOf,
        most_rps_of: Callable[[Choice], float] = lambda choice: math.inf,
    ) -> None:
        self._bench, self._goal, self._reference_rps = bench, goal, reference_rps
        self._records, self._budget, self._beliefs_of = records, budget, beliefs_of
        self._sight_of, self._most_rps_of = sight_of, most_rps_of
        self.promises: dict[Choice, float] = {}

    def block(self, choices: Sequence[Choice], kind: BlockKind) -> bool:
        """One block of each choice; False: one of them does not run here, which is in the records."""
        beliefs = self._beliefs_of()
        rates = {choice: self.rate_rps(choice, kind, beliefs) for choice in choices}
        offered = {choice: rate for choice, rate in rates.items() if rate is not None}
        number = self._records.num_blocks
        seconds = max(self._budget.block_s(rate) for rate in offered.values())
        results = self._bench.measure(list(offered), offered, seconds, number)
        for choice, result in results.items():
            self._write(choice, kind, number, result, seconds)
        return not any(choice in self._records.failed for choice in choices)

    def _write(
        self, choice: Choice, kind: BlockKind, number: int, result: BlockResult, seconds: float
    ) -> None:
        if result.failure:
            self._records.fail(choice, result.failure)
            if not result.run:  # it did not even start: there is no block to tell of
                return
        figures = {**result.figures, MOST_RPS: self._most_rps_of(choice)}
        sight = self._sight_of(choice, seconds) if kind == "limit" and not result.failure else None
        block = TrialBlock(
            block=number,
            kind=kind,
            rate_rps=result.rate_rps,
            values={name: figure for name, figure in figures.items() if math.isfinite(figure)},
            run=result.run,
            invalid=result.failure or result.invalid,
            at_limit_ms=None if sight is None else sight.at_limit_ms,
            slope=None if sight is None else sight.slope,
            limit_error=0.0 if sight is None else sight.error,
        )
        self._records.add(choice, block)

    def rate_rps(self, choice: Choice, kind: BlockKind, beliefs: Beliefs) -> float:
        """What a choice is offered in a block of this kind: no more than its upstreams elsewhere may be asked."""
        return min(self._wanted_rps(choice, kind, beliefs), self._most_rps_of(choice))

    def _wanted_rps(self, choice: Choice, kind: BlockKind, beliefs: Beliefs) -> float:
        if kind == "reference":
            return self._reference_rps
        if kind == "promise":
            return self.promises[choice]
        limit = beliefs.limit_rps(choice) or self._reference_rps
        blocks = self._records.blocks.get(choice, ())
        near = [block for block in blocks if block.kind == "limit"]
        slope, slo_ns = beliefs.slope(choice), self._goal.slo_latency_ns
        seen = [(block.rate_rps, moved(block, slope, slo_ns)) for block in blocks]
        if not near:  # a forecast that is far too low is not taken for it step by step
            return max([limit, *(rate for rate, further in seen if further >= FURTHEST)])
        last, further = near[-1], moved(near[-1], slope, slo_ns)
        if abs(further) >= FURTHEST:  # it was so far off that it only says on which side: a whole step
            return _stepped(last.rate_rps, further, seen)
        return min(max(limit, MIN_STEP * last.rate_rps), MAX_STEP * last.rate_rps)

    def trial(self, challenger: Choice, incumbent: Choice, *, is_over: IsOver) -> str:
        """Blocks of both until they are told apart; why it ended, in words."""
        race = Race(self._goal, challenger, incumbent)
        sides = [choice for choice in (incumbent, challenger) if choice not in self._records.failed]
        for number, kind in enumerate(PLANS[self._goal.objective], start=1):
            if not self.block(sides, kind):
                return self._records.failed.get(challenger, "the incumbent failed beside it")
            beliefs = self._beliefs_of()
            race.look(beliefs, self._records)
            if number >= MIN_BLOCKS and (verdict := race.verdict(beliefs)):
                return verdict
            if is_over(number):
                return "its time was over"
        return "measured to the end of its plan"


def _stepped(last_rps: float, further: float, seen: Sequence[tuple[float, float]]) -> float:
    """A step up or down, but not past what was seen to be on the other side: half the way to it.

    Args: seen: of each block where it was offered, and how far the largest rate was from there. Up, the step is from the
    highest rate that had room and was not over.
    """
    beyond = [rate for rate, moving in seen if moving * further < 0 and (rate - last_rps) * further > 0]
    if further < 0:
        step = FAR_DOWN * last_rps
        return max(step, math.sqrt(last_rps * max(beyond))) if beyond else step
    nearest = min(beyond, default=math.inf)
    room = max([last_rps, *(rate for rate, moving in seen if moving >= FURTHEST and rate < nearest)])
    return min(FAR_UP * room, math.sqrt(room * nearest))


class Race:
    """Whether a challenger and the incumbent are told apart, by one figure: that of the objective."""

    def __init__(self, goal: Goal, challenger: Choice, incumbent: Choice) -> None:
        self._goal, self._challenger, self._incumbent = goal, challenger, incumbent
        self._figure, self._sign = objective_figure(goal)
        self._sequence = PairedSequence(MARGIN, ALPHA, self._sign < 0, alpha_equivalent=ALPHA)
        self._seen = -1

    def look(self, beliefs: Beliefs, records: Records) -> None:
        """Take the pair of the latest block, where it is one of the objective's kind."""
        pair = [self._latest(records, choice) for choice in (self._incumbent, self._challenger)]
        first, second = pair
        if first is None or second is None or first.block != second.block or first.block <= self._seen:
            return
        self._seen = first.block
        values = [
            self._log_value(beliefs, choice, block)
            for choice, block in zip(self._both, (first, second), strict=True)
        ]
        if values[0] is not None and values[1] is not None:
            self._sequence.add(values[1] - values[0])

    @property
    def _both(self) -> tuple[Choice, Choice]:
        return self._incumbent, self._challenger

    def verdict(self, beliefs: Beliefs) -> str:
        """Empty while it goes on."""
        found = self._sequence.verdict()
        if found != "cannot tell":
            return f"{found} than the incumbent" if found != "equivalent" else "equivalent to the incumbent"
        chance = self.chance(beliefs)
        if chance < HOPELESS:
            return "hardly better than the incumbent any more"
        return ""

    def chance(self, beliefs: Beliefs) -> float:
        """That the challenger is better, as believed."""
        known = [beliefs.measured(choice, self._figure) for choice in self._both]
        first, second = known
        if first is None or second is None:
            return 0.5
        error = math.hypot(first.error, second.error)
        z = self._sign * (second.mean - first.mean) / max(error, 1e-9)
        return 0.5 * (1 + math.erf(z / math.sqrt(2)))

    def _latest(self, records: Records, choice: Choice) -> TrialBlock | None:
        kind = "limit" if self._figure == LIMIT else "reference"
        blocks = [
            block for block in records.blocks.get(choice, ()) if block.kind == kind and not block.invalid
        ]
        return blocks[-1] if blocks else None

    def _log_value(self, beliefs: Beliefs, choice: Choice, block: TrialBlock) -> float | None:
        if self._figure == LIMIT:
            slope, budget_ns = beliefs.slope(choice), self._goal.slo_latency_ns
            is_far = abs(moved(block, slope, budget_ns)) >= FURTHEST
            return None if is_far else limit_sample(block, slope, budget_ns).value
        figure = block.values.get(self._figure, 0.0)
        return math.log(figure) if figure > 0 else None
