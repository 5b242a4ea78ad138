"""A study from beginning to end: profile, screen by simulation, verify by live trials, confirm, front and recommendation.

Every stage has its time planned ahead, the record is saved after every trial, and a study that was stopped goes on from
what it has. All choices are made from seeds and records, so that the same records lead to the same trials.
"""

import math
from collections.abc import Callable, Iterable, Iterator

import msgspec

from trivet.catalog.records import RunState
from trivet.catalog.study import Goal, Study
from trivet.errors import UserError
from trivet.tune.bench import Bench
from trivet.tune.budget import Budget
from trivet.tune.choice import Choice
from trivet.tune.degrade_lever import Losses
from trivet.tune.goals import check_goal
from trivet.tune.narrowing import narrowed, profiled_choices
from trivet.tune.prices import paid
from trivet.tune.progress import OnProgress, Progress, Stage
from trivet.tune.proposing import everything, num_proposed, num_screened, proposals
from trivet.tune.recommending.conclude import YamlOf, concluded, no_yaml
from trivet.tune.screen import Screen, screen
from trivet.tune.space import Space
from trivet.tune.state import Origin, State, best_so_far, opened, recorded, restored
from trivet.tune.verify import HOW_IT_ENDED, Verification

TOLD_EVERY = 10  # configurations
_SCREENING_ENDED = "screening ended with its time"  # how a note begins
Save = Callable[[Study], Study]


def tune(
    bench: Bench,
    space: Space,
    goal: Goal,
    budget_ns: int,
    seed: int,
    *,
    on_progress: OnProgress = lambda progress: None,
    save: Save = lambda study: study,
    resume: Study | None = None,
    origin: Origin | None = None,
    yaml_of: YamlOf = no_yaml,
    losses: Losses | None = None,
) -> Study:
    """Search the space for the goal within the budget.

    Args: save: is given the record after every step and gives it back, with an id where it had none.  resume: an earlier
    record of the same space, goal and seed; its profile and trials are taken over, and the budget is what this part has.
    yaml_of: the text of configuration.yaml for a trial of the record.  losses: of who stands in under load, by name, as they
    were measured.
    Raises: UserError: the goal cannot be met, whatever is tried; or nothing can be profiled.
    What goes wrong later, Ctrl-C included, is in the state and the notes of the record that is returned.
    """
    num_rows = (origin or Origin()).dataset.get("rows")
    doubts = check_goal(goal, space, num_rows)
    budget = Budget(bench.now_ns, budget_ns)
    record = save(_gone_on(resume) if resume else opened(space, goal, budget_ns, seed, origin or Origin()))
    state = State(
        bench=bench, space=space, goal=goal, budget=budget, seed=seed, record=record, losses=losses or {}
    )
    state.notes = list(record.notes)
    study = _Study(state, on_progress, save, yaml_of)
    state.told = study.say
    for doubt in doubts:
        state.note(doubt)
    return study.run(resume)


def _gone_on(earlier: Study) -> Study:
    """A record that is written again: how it ended before is no longer true."""
    notes = [
        note
        for note in earlier.notes
        if note not in HOW_IT_ENDED and not note.startswith(_SCREENING_ENDED)  # this part screens anew
    ]
    return msgspec.structs.replace(earlier, state="running", reason="", ended=None, notes=notes)


class _Study:
    """The stages, in order."""

    def __init__(self, state: State, on_progress: OnProgress, save: Save, yaml_of: YamlOf) -> None:
        self._state, self._on_progress, self._save, self._yaml_of = state, on_progress, save, yaml_of
        self._stage: Stage = "profile"

    def run(self, resume: Study | None) -> Study:
        """All stages; whatever ends them early, what was measured is kept and concluded from."""
        state, ended, reason = self._state, "complete", ""
        try:
            self._profile(resume)
            self._screen()
            self._verify()
        except KeyboardInterrupt:
            ended, reason = "partial", "stopped with Ctrl-C"
        except UserError as error:
            if state.profile is None:
                self._end("failed", str(error))
                raise
            ended, reason = "failed", str(error)
        except BaseException as error:
            self._end("failed", f"{type(error).__name__}: {error}")
            raise
        state.note_invalid()
        with state.budget.stage("finish"):
            self._step("finish")
            state.record = concluded(state, recorded(state), self._yaml_of)
        return self._end(ended, reason)  # type: ignore[arg-type]  # one of the words above

    def _end(self, ended: RunState, reason: str) -> Study:
        record = msgspec.structs.replace(
            self._state.record, state=ended, reason=reason, spent_ns=dict(self._state.budget.spent_ns)
        )
        self._state.record = self._save(record)
        return self._state.record

    def _profile(self, resume: Study | None) -> None:
        state = self._state
        if resume is not None:
            state.profile = restored(resume, state.records, state.ended)
        with state.budget.stage("profile"):
            choices = profiled_choices(state.space)
            self._step("profile", 0, len(choices))
            # Asked for again where it is known, too: setups come from it, and what was profiled is kept by the bench.
            state.profile = state.bench.profile(choices, budget_ns=state.budget.profile_ns)
        state.space = narrowed(state.space, state.profile, state.bench.setup)
        most = state.most_rps(state.space.default)
        if math.isfinite(most):
            state.note(
                "no server elsewhere is asked for more at once than while it was profiled: the service as declared is "
                f"offered at most {most:,.3g} requests a second, and no larger rate is promised"
            )
        state.record = msgspec.structs.replace(
            state.record,
            levers=opened(state.space, state.goal, 0, 0, Origin()).levers,
            left_out=list(state.space.left_out),
        )
        self._keep()

    def _screen(self) -> None:
        state = self._state
        if state.profile is None:
            return
        with state.budget.stage("screen"):
            budget_ns = state.budget.screen_ns
            most = num_screened(budget_ns)
            end_ns = state.bench.now_ns() + budget_ns
            looker = Screen(
                state.profile,
                state.bench.setup,
                state.goal,
                state.seed,
                state.space.zipf,
                paid(state.space.base.service),
            )
            proposed = proposals(state.space, looker, state.goal, most, state.seed)
            state.screening = screen(
                looker,
                self._counted(proposed, num_proposed(state.space, most)),
                state.goal,
                admissible=state.admissible,
                is_spent=lambda: state.bench.now_ns() >= end_ns,
            )
        self._tell_screening(most)
        self._keep()

    def _counted(self, choices: Iterable[Choice], of: int) -> Iterator[Choice]:
        for number, choice in enumerate(choices):
            if number % TOLD_EVERY == 0:
                self._step("screen", number, of)
            yield choice

    def _tell_screening(self, most: int) -> None:
        screening, space = self._state.screening, self._state.space
        if screening is None:
            return
        for reason, num in screening.not_profiled.items():
            some = "1 configuration was" if num == 1 else f"{num} configurations were"
            self._state.note(f"{some} not simulated: {reason}")
        if screening.ended_early:
            self._state.note(f"{_SCREENING_ENDED}, after {screening.num} configurations")
        elif everything(space, most) is None:
            self._state.note(
                f"{space.size:,} combinations are too many to simulate: a sampler proposed the {screening.num} that were"
            )

    def _verify(self) -> None:
        state = self._state
        if state.screening is None or not state.screening.found:
            state.note("nothing could be simulated, so nothing was verified")
            return
        verification = Verification(state, state.screening, self._step, self._keep)
        with state.budget.stage("verify"):
            verification.trials()
        if state.records.measured():
            with state.budget.stage("confirm"):
                verification.confirm()

    def _keep(self) -> None:
        self._state.record = self._save(recorded(self._state))

    def _step(self, stage: Stage, done: int = 0, of: int = 0, note: str = "") -> None:
        self._stage = stage
        best = best_so_far(self._state)
        self._on_progress(Progress(stage, done, of, best, self._state.budget.left_ns, note))

    def say(self, text: str) -> None:
        """A sentence that stays."""
        self._step(self._stage, note=text)
