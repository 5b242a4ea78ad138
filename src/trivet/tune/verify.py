"""Live trials: few configurations, each beside the incumbent, and the winner once more beside the default."""

import math
from collections.abc import Callable

from trivet.tune.beliefs import LIMIT
from trivet.tune.choice import Choice
from trivet.tune.progress import Stage
from trivet.tune.recommending.picks import Picker
from trivet.tune.screen import Screening
from trivet.tune.sight import Sight, Sights
from trivet.tune.state import State
from trivet.tune.trial import CONFIRM, MIN_BLOCKS, PLANS, Measuring

MAX_TRIALS = 12
NO_OTHER = "there is no other configuration to try here"
SEARCH_ENDED = "no other configuration is likely to gain more than 1 %: the search ended by itself"
BUDGET_ENDED = "the budget ended before all promising configurations were tried"
CALLS_ENDED = (
    "the calls of servers elsewhere (`tune: {calls: ...}`) were made before all that is promising was tried"
)
NOT_VERIFIED = "screened only, not verified: the budget has no room for one live trial"
HOW_IT_ENDED = frozenset({NO_OTHER, SEARCH_ENDED, BUDGET_ENDED, CALLS_ENDED, NOT_VERIFIED})
Step = Callable[[Stage, int, int], None]  # done, and of how many


class Verification:
    """Args: step: tells how far it is.  keep: saves the record."""

    def __init__(self, state: State, screening: Screening, step: Step, keep: Callable[[], None]) -> None:
        self._state, self._screening, self._step, self._keep = state, screening, step, keep
        profile, slo_ns = state.profile, state.goal.slo_latency_ns
        self._sights = None if profile is None else Sights(profile, slo_ns, state.seed, state.space.zipf)
        self._picker = Picker(state.space, screening, state.goal, state.admissible)
        self._measuring = Measuring(
            state.bench,
            state.goal,
            screening.reference_rps,
            state.records,
            state.budget,
            state.beliefs,
            self._sight,
            state.most_rps,
        )

    def trials(self) -> None:
        """Until none is worth its time, there have been enough, or the budget is used but for what is kept for the end."""
        state, measuring, picker = self._state, self._measuring, self._picker
        reference = measuring.rate_rps(state.space.default, "reference", state.beliefs())
        while len(state.records.order) < MAX_TRIALS:
            confirm_ns = state.budget.confirm_ns
            if state.budget.left_ns - confirm_ns < state.budget.trial_ns(reference, MIN_BLOCKS):
                if not state.records.order:
                    state.note(NOT_VERIFIED)
                else:
                    state.note(BUDGET_ENDED)
                return
            if state.calls_left <= 0:
                state.note(CALLS_ENDED)
                return
            beliefs = state.beliefs()
            incumbent = picker.best_measured(beliefs, state.records) or state.space.default
            pick = picker.next(beliefs, state.records, incumbent, len(state.records.order))
            if pick is None and not state.records.order:
                self._alone(incumbent)
                continue
            if pick is None:
                self._tell_end()
                return
            self._step("verify", len(state.records.order), MAX_TRIALS)
            began_ns = state.bench.now_ns()
            state.ended[pick.choice] = measuring.trial(
                pick.choice, incumbent, is_over=self._trial_is_over(began_ns, reference)
            )
            self._learn_time(began_ns, reference, pick.choice)
            self._keep()
            if incumbent in state.records.failed:
                state.note(f"what was the best so far failed: {state.records.failed[incumbent]}")

    def _trial_is_over(self, began_ns: int, rate_rps: float) -> Callable[[int], bool]:
        """Whether the next block would pass what one trial may take, so that as many trials fit as are planned."""
        state = self._state
        left_ns = state.budget.left_ns - state.budget.confirm_ns - state.budget.finish_ns
        open_ = max(1, MAX_TRIALS - len(state.records.order))
        least_ns = state.budget.trial_ns(rate_rps, MIN_BLOCKS)
        share_ns = max(least_ns, min(left_ns, int(1.5 * left_ns / open_)))

        def is_over(num_blocks: int) -> bool:
            if state.calls_left <= 0:
                return True
            spent_ns = state.bench.now_ns() - began_ns
            per_block_ns = spent_ns / num_blocks
            return num_blocks >= MIN_BLOCKS and spent_ns + per_block_ns > share_ns

        return is_over

    def _sight(self, choice: Choice, seconds: float) -> Sight | None:
        """None: the simulator knows no largest rate of it, or may not look past what upstreams elsewhere were asked."""
        screened = self._state.beliefs().screened(choice)
        if self._sights is None or screened is None or not screened.figures.get(LIMIT):
            return None
        if math.isfinite(self._state.most_rps(choice)):
            return None
        return self._sights.of(screened.setup, screened.figures[LIMIT], seconds)

    def _learn_time(self, began_ns: int, rate_rps: float, choice: Choice) -> None:
        """What a trial takes beyond its blocks: starts of servers."""
        budget = self._state.budget
        num = len(self._state.records.blocks.get(choice, ()))
        blocks_ns = int(2 * num * budget.block_s(rate_rps) * 1e9)
        budget.longest_trial_ns = max(
            budget.longest_trial_ns, self._state.bench.now_ns() - began_ns - blocks_ns, 1
        )

    def _tell_end(self) -> None:
        if len(self._screening.found) == 1:
            self._state.note(NO_OTHER)
        else:
            self._state.note(SEARCH_ENDED)

    def _alone(self, choice: Choice) -> None:
        """No other is worth a trial beside it: it is measured by itself."""
        for kind in PLANS[self._state.goal.objective][: 2 * MIN_BLOCKS]:
            if not self._measuring.block([choice], kind):
                return

    def confirm(self) -> None:
        """The winner beside the default on fresh blocks: the best of several looks better than it is until then."""
        state, measuring = self._state, self._measuring
        winner = self._picker.best_measured(state.beliefs(), state.records)
        if winner is None:
            return
        beside = [state.space.default] if state.space.default not in {winner, *state.records.failed} else []
        reference = measuring.rate_rps(winner, "reference", state.beliefs())
        for number, kind in enumerate(CONFIRM):
            block_ns = int((1 + len(beside)) * state.budget.block_s(reference) * 1.2e9)
            if state.budget.left_ns - state.budget.finish_ns < block_ns or state.calls_left <= 0:
                break
            self._step("confirm", number, len(CONFIRM))
            measuring.promises[winner] = self._promise(winner)
            sides = [winner] if kind == "promise" else [*beside, winner]
            if not measuring.block(sides, kind):
                state.note(f"a configuration failed while it was confirmed: {state.records.failed}")
                break
        self._keep()

    def _promise(self, choice: Choice) -> float:
        estimate = self._state.beliefs().measured(choice, LIMIT)
        if estimate is None:
            return self._screening.reference_rps
        return estimate.interval().low * (1 - self._state.goal.safety_margin)
