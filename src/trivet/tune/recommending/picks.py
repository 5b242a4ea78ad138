"""Which configuration is tried next, and when no other is worth a trial. The same records give the same picks."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from trivet.catalog.study import Goal
from trivet.tune.beliefs import LIMIT, Beliefs, Records
from trivet.tune.choice import Choice
from trivet.tune.goals import objective_figure
from trivet.tune.screen import Screening, answers_of
from trivet.tune.space import Space

GAIN = 0.01  # less than this is no gain
STOP_BELOW = 0.05  # the probability that another trial gains more
MAX_CONSIDERED = 150
FRONT_EVERY = 3  # every so many trials is for the front, not for the objective
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Pick:
    """gains: the probability that it is better than the incumbent by more than GAIN; for the front: of nothing."""

    choice: Choice
    gains: float
    why: str


class Picker:
    """Args: admissible: how surely a choice may be recommended (goals.floor_standing)."""

    def __init__(
        self, space: Space, screening: Screening, goal: Goal, admissible: Callable[[Choice], int]
    ) -> None:
        self._space, self._screening, self._goal, self._admissible = space, screening, goal, admissible
        self._figure, self._sign = objective_figure(goal)

    def next(self, beliefs: Beliefs, records: Records, incumbent: Choice, num_trials: int) -> Pick | None:
        """None: no other trial is worth its time."""
        best = self._for_objective(beliefs, records, incumbent)
        turn_of_the_front = num_trials > 0 and num_trials % FRONT_EVERY == 0
        if best is None or best.gains < STOP_BELOW or turn_of_the_front:
            return self._for_front(beliefs, records, incumbent) or (
                best if best is not None and best.gains >= STOP_BELOW else None
            )
        return best

    def best_measured(self, beliefs: Beliefs, records: Records) -> Choice | None:
        """The incumbent: of the most admissible that were measured, the best by the objective."""
        known = [
            (choice, estimate)
            for choice in records.measured()
            if (estimate := beliefs.measured(choice, self._figure)) is not None
            and choice not in records.failed
        ]
        if not known:
            return None
        return max(known, key=lambda one: (self._admissible(one[0]), self._sign * one[1].mean, one[0].key))[0]

    def _for_objective(self, beliefs: Beliefs, records: Records, incumbent: Choice) -> Pick | None:
        candidates = self._candidates(beliefs, records, incumbent)
        if not candidates or not beliefs.simulated(incumbent, self._figure):
            return Pick(candidates[0], 1.0, "nothing of the incumbent is known") if candidates else None
        mean, covariance = beliefs.joint([incumbent, *candidates], self._figure)
        picks = []
        behind = self._admissible(incumbent) < max(map(self._admissible, candidates))
        for i, choice in enumerate(candidates, start=1):
            gain = self._sign * float(mean[i] - mean[0])
            spread = math.sqrt(max(1e-12, float(covariance[i, i] + covariance[0, 0] - 2 * covariance[i, 0])))
            chance = 1.0 if behind else 1 - _NORMAL.cdf((math.log1p(GAIN) - gain) / spread)
            z = gain / spread
            expected = gain * _NORMAL.cdf(z) + spread * _NORMAL.pdf(z)
            picks.append((expected, Pick(choice, chance, "best expected gain")))
        return max(picks, key=lambda one: one[0])[1]  # of equals the first: the best ranked by simulation

    def _candidates(self, beliefs: Beliefs, records: Records, incumbent: Choice) -> list[Choice]:
        """Admissible as any is, simulated with a largest rate, and not measured; the best forecasts first."""
        of_incumbent = beliefs.screened(incumbent)
        neighbours = self._space.neighbours(incumbent) if of_incumbent is not None else []
        for neighbour in neighbours:
            if of_incumbent is not None:
                beliefs.know(neighbour, of_incumbent)
        ranked = [one.choice for one in self._screening.found if one.figures.get(LIMIT)]
        open_ = [
            choice
            for choice in [*ranked, *neighbours]
            if choice != incumbent
            and choice not in records.blocks
            and choice not in records.failed
            and self._is_known(beliefs, choice)
        ]
        most = max(map(self._admissible, open_), default=0)
        floor = max(most, self._admissible(incumbent))
        wanted = [one for one in open_ if self._admissible(one) >= floor]
        return self._distinct(beliefs, records, wanted)[:MAX_CONSIDERED]

    def _is_known(self, beliefs: Beliefs, choice: Choice) -> bool:
        return bool(beliefs.simulated(choice, self._figure)) and self._keeps_throughput(beliefs, choice)

    def _keeps_throughput(self, beliefs: Beliefs, choice: Choice) -> bool:
        """Unless it is surely too slow: the largest rate, less the margin, against what is asked for."""
        predicted = beliefs.predicted(choice, LIMIT)
        if self._goal.throughput_rps is None or predicted is None:
            return True
        highest = math.exp(predicted[0] + 2 * predicted[1]) * (1 - self._goal.safety_margin)
        return highest >= self._goal.throughput_rps

    def _distinct(self, beliefs: Beliefs, records: Records, choices: Sequence[Choice]) -> list[Choice]:
        """Of those that simulation finds the same in all figures, the one with the fewest changed levers.

        What simulation finds the same as something that was measured is not tried again.
        """
        default = self._space.default
        measured = {self._seen_as(beliefs, choice) for choice in records.measured()}
        kept: dict[object, Choice] = {}
        for choice in choices:
            same = self._seen_as(beliefs, choice)
            rival = kept.get(same)
            if same not in measured and (
                rival is None or _changed(choice, default) < _changed(rival, default)
            ):
                kept[same] = choice
        return list(kept.values())

    def _seen_as(self, beliefs: Beliefs, choice: Choice) -> object:
        """All that simulation knows of a choice, beside the levers that it does not know."""
        one = beliefs.screened(choice)
        live = tuple(choice[lever.name] for lever in self._space.levers if lever.live_only)
        return (live, None if one is None else tuple(sorted(one.figures.items())), answers_of(choice))

    def _for_front(self, beliefs: Beliefs, records: Records, incumbent: Choice) -> Pick | None:
        """The best of a variant that nothing was measured of, then the fastest to answer: the ends of the curve."""
        seen = {answers_of(choice) for choice in [incumbent, *records.measured(), *records.failed]}
        for one in self._screening.found:
            if (
                answers_of(one.choice) not in seen
                and one.figures.get(LIMIT)
                and one.choice not in records.failed
            ):
                return Pick(
                    one.choice, 0.0, f"nothing of variant {self._space.variant_of(one.choice)} was measured"
                )
        quickest = [
            one
            for one in self._screening.found
            if one.figures.get("latency_p99_ms") and one.figures.get(LIMIT)
        ]
        best = min(quickest, key=lambda one: one.figures["latency_p99_ms"], default=None)
        if best is None or best.choice in {incumbent, *records.blocks, *records.failed}:
            return None
        known = [
            latency
            for choice in records.measured()
            if (latency := beliefs.simulated(choice, "latency_p99_ms")) is not None
        ]
        if known and best.figures["latency_p99_ms"] > min(known) * (1 - 5 * GAIN):
            return None
        return Pick(best.choice, 0.0, "the lowest latency by simulation")


def _changed(choice: Choice, default: Choice) -> int:
    return sum(choice[lever] != default.get(lever) for lever in choice)
