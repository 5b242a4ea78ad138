"""Measure a recorded run again, and say whether it came out the same: reproduced, differs (what), or cannot tell.

Four looks, each a check with words of its own: (a) digests of files, levers and data, and the environment; (b) the
answers of a pass of single requests; (c) what answers under load mean; (d) equivalence of engine time, p50, p99,
throughput and accuracy. A replay offers the recorded load once, and once more where times alone are in doubt: so it
lasts at most twice as long as the run.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from trivet.catalog.records import Run
from trivet.errors import UserError
from trivet.experiment.replay.beside import check_beside
from trivet.experiment.replay.check_answers import check_answers, check_decisions
from trivet.experiment.replay.check_content import (
    check_content,
    check_data,
    check_environment,
    is_same_arithmetic,
    is_same_hardware,
    surroundings,
)
from trivet.experiment.replay.check_timing import Timed, check_ratio, check_timing, slowest_phase
from trivet.experiment.replay.checks import Change, Check, Verdict, changes, verdict
from trivet.experiment.replay.evidence import Evidence, unrest
from trivet.experiment.replay.windows import ENGINE, P50, P99, QUANTITIES, THROUGHPUT
from trivet.experiment.yardstick import is_yardstick
from trivet.spec.service import SMALLER_IS_BETTER

ACCURACY_MARGIN = 0.005  # half a point: of the same rows and labels, so that it has no sampling error
MAX_REPEATS = 2
MAX_OTHER_COURSE = (
    1.02  # times as many requests: a scenario that looks for a limit, or blocks that were invalid
)

Again = Callable[[int], Sequence[Evidence]]  # measures all runs once more, for the n-th time


@dataclass(frozen=True, slots=True)
class Replay:
    """What came of a replay. `differs`: what changed, as far as it was found; `notes`: what a reader must know first."""

    verdict: Verdict
    checks: tuple[Check, ...]
    differs: tuple[Change, ...]
    notes: tuple[str, ...]
    runs: tuple[str, ...]  # that were measured for it


def check_replayable(runs: Sequence[Run]) -> None:
    """Raises: UserError: there is nothing to reproduce."""
    for run in runs:
        if run.state != "complete":
            raise UserError(
                f"run {run.id} is {run.state}{f' ({run.reason})' if run.reason else ''}: only a complete run can be "
                "replayed"
            )


def replay(then: Sequence[Evidence], again: Again, packages: Sequence[str] | None = None) -> Replay:
    """Compare what was recorded with what `again` measures.

    Args: then: one run, or the runs of one comparison in their order.  packages: libraries that can change what is
    measured; None: all.
    Raises: UserError: a run that cannot be replayed, or a replay that could not even begin.
    """
    check_replayable([side.run for side in then])
    rounds: list[Sequence[Evidence]] = []
    found: list[Check] = []
    while len(rounds) < MAX_REPEATS:
        rounds.append(again(len(rounds)))
        found = checks_of(then, rounds, packages)
        if not _only_times_are_in_doubt(found):
            break
    measured = tuple(side.run.id for sides in rounds for side in sides)
    return Replay(verdict(found), tuple(found), changes(found), _notes(then, rounds[0]), measured)


def checks_of(
    then: Sequence[Evidence], rounds: Sequence[Sequence[Evidence]], packages: Sequence[str] | None = None
) -> list[Check]:
    """All checks of all runs; of a comparison on other hardware, of ratios instead of times."""
    found: list[Check] = []
    yardstick = next((index for index, side in enumerate(then) if is_yardstick(side.run)), None)
    for index, side in enumerate(then):
        repeats = [sides[index] for sides in rounds]
        beside = None if yardstick is None else (then[yardstick], [sides[yardstick] for sides in rounds])
        checks = _checks_of_one(side, repeats, packages, beside)
        label = f"{side.run.service} {side.run.id}: " if len(then) > 1 else ""
        found += [replace(check, name=label + check.name) for check in checks]
    if (
        yardstick is None
        and len(then) > 1
        and not is_same_hardware(then[0].run.environment, rounds[0][0].run.environment)
    ):
        found += _ratios(then, rounds)
    return found


def _checks_of_one(
    then: Evidence,
    repeats: Sequence[Evidence],
    packages: Sequence[str] | None,
    beside: tuple[Evidence, Sequence[Evidence]] | None,
) -> list[Check]:
    """Args: beside: the yardstick that was measured in turn, then and each time now."""
    now = repeats[-1]
    environments = then.run.environment, now.run.environment
    answers = check_answers(then.answers, now.answers, bitwise=is_same_arithmetic(*environments, packages))
    if any(side.run.state in ("failed", "partial") for side in repeats):
        return [
            check_content(then.run, now.run),
            check_environment(*environments, packages),
            _failed(repeats),
        ]
    return [
        check_content(then.run, now.run),
        check_data(then.run, now.run),
        check_environment(*environments, packages),
        answers,
        decisions := check_decisions(
            then.decisions, now.decisions, answers_are_same=answers.status == "same"
        ),
        _accuracy(then.run, now.run, decisions),
        *_times(then, repeats, beside),
    ]


def _failed(repeats: Sequence[Evidence]) -> Check:
    side = next(side for side in repeats if side.run.state in ("failed", "partial"))
    return Check(
        "timing", "load", "cannot tell", f"the replay {side.run.id} is {side.run.state}: {side.run.reason}"
    )


def _times(
    then: Evidence, repeats: Sequence[Evidence], beside: tuple[Evidence, Sequence[Evidence]] | None
) -> list[Check]:
    """(d) Of times and throughput."""
    if is_yardstick(then.run):
        return [Check("timing", "times", "not compared", "it is what the others' times are told by")]
    if not is_same_hardware(then.run.environment, repeats[0].run.environment):
        return [
            Check("timing", "times", "not compared", "other hardware: times of one run mean nothing there")
        ]
    if beside is None:
        return _times_alone(then, repeats)
    return _times_beside(then, repeats, *beside)


def _times_alone(then: Evidence, repeats: Sequence[Evidence]) -> list[Check]:
    now = [timed for side in repeats if (timed := _valid(side)) is not None]
    if then.timed is None or not now:
        return [_nothing_valid(repeats)]
    numbers = [then.timed.rows.num_rows, *(timed.rows.num_rows for timed in now)]
    if not then.run.workload.get("users") and max(numbers) > MAX_OTHER_COURSE * min(numbers):
        detail = f"another course than then: {' and '.join(f'{num:,}' for num in numbers)} requests"
        return [Check("timing", "times", "cannot tell", detail)]
    found = [check_timing(quantity, then.timed, now) for quantity in QUANTITIES]
    return _explained(found, (then.timed, now[-1]), [then, *repeats])


def _times_beside(
    then: Evidence, repeats: Sequence[Evidence], stick_then: Evidence, sticks: Sequence[Evidence]
) -> list[Check]:
    now = [
        (timed, stick.timed)
        for side, stick in zip(repeats, sticks, strict=True)
        if (timed := _valid(side)) is not None and stick.timed is not None
    ]
    if then.timed is None or stick_then.timed is None or not now:
        return [_nothing_valid(repeats)]
    found = [check_beside(quantity, (then.timed, stick_then.timed), now) for quantity in QUANTITIES]
    return _explained(found, (then.timed, now[-1][0]), [then, *repeats])


def _valid(side: Evidence) -> Timed | None:
    return side.timed if side.run.state == "complete" else None


def _nothing_valid(repeats: Sequence[Evidence]) -> Check:
    why = next((f": {side.run.reason}" for side in repeats if side.run.state == "invalid"), "")
    return Check("timing", "times", "cannot tell", f"nothing valid was measured{why}", once_more=True)


def _explained(found: Sequence[Check], timed: tuple[Timed, Timed], sides: Sequence[Evidence]) -> list[Check]:
    """A time that differs with its cause: the engine, another phase; or nobody's, where others were at work.

    Args: timed: then, and now.  sides: what was measured then and now, each of which may have had others at work.
    """
    restless = [why for side in sides if (why := unrest(side.run.environment))]
    return [
        _explained_one(check, *timed, restless) if check.status == "differs" else check for check in found
    ]


def _explained_one(check: Check, then: Timed, now: Timed, restless: Sequence[str]) -> Check:
    if restless:
        return replace(check, status="cannot tell", detail=f"{check.detail}; but {restless[0]}", changes=())
    phase = slowest_phase(then.rows, now.rows) if check.name != ENGINE.name else None
    return replace(check, changes=(*check.changes, phase)) if phase is not None else check


def _accuracy(then: Run, now: Run, decisions: Check) -> Check:
    """(d) Of the metric on the same labelled rows."""
    first, second = then.figures.get("accuracy"), now.figures.get("accuracy")
    if first is None or second is None:
        return Check("accuracy", "accuracy", "not compared", "not measured, then or now")
    allowed = ACCURACY_MARGIN * (max(abs(first.estimate), 1e-12) if first.unit in SMALLER_IS_BETTER else 1)
    text = f"{first.unit} {first.estimate:.4f} then, {second.estimate:.4f} now, margin {allowed:g}"
    if abs(second.estimate - first.estimate) <= allowed:
        return Check("accuracy", "accuracy", "same", text)
    if decisions.status == "same":
        return Check("accuracy", "accuracy", "cannot tell", f"{text}; other rows got no answer than then")
    change = Change(first.unit, f"{first.estimate:.4f}", f"{second.estimate:.4f}")
    return Check("accuracy", "accuracy", "differs", text, (change,))


def _ratios(then: Sequence[Evidence], rounds: Sequence[Sequence[Evidence]]) -> list[Check]:
    """How many times each run of a comparison is its first, then and now."""
    found = []
    for index in range(1, len(then)):
        name = f"{then[index].run.id} over {then[0].run.id}"
        pairs = [(sides[0].timed, sides[index].timed) for sides in (then, *rounds)]
        whole = [(a, b) for a, b in pairs if a is not None and b is not None]
        if len(whole) < len(pairs):
            found.append(Check("timing", name, "cannot tell", "nothing valid was measured", once_more=True))
            continue
        found += [check_ratio(quantity, name, whole[0], whole[1:]) for quantity in (P50, P99, THROUGHPUT)]
    return found


def _only_times_are_in_doubt(checks: Sequence[Check]) -> bool:
    """Whether a second round can change the verdict: what differs otherwise differs, however often it is measured."""
    otherwise = any(check.status == "differs" and check.kind != "timing" for check in checks)
    return not otherwise and any(check.once_more for check in checks)


def _notes(then: Sequence[Evidence], now: Sequence[Evidence]) -> tuple[str, ...]:
    environments = then[0].run.environment, now[0].run.environment
    notes = []
    if not is_same_hardware(*environments):
        what = (
            "accuracy and the ratios between the configurations"
            if len(then) > 1
            else "answers and accuracy only"
        )
        notes.append(f"other hardware: the verdict is about {what}")
    if around := surroundings(*environments):
        notes.append("also not as it was: " + "; ".join(map(str, around)))
    notes += dict.fromkeys(why for side in now if (why := unrest(side.run.environment)))
    return tuple(notes)


def as_builtins(result: Replay) -> Mapping[str, object]:
    """For --json and the audit log."""
    return {
        "verdict": result.verdict,
        "differs": [str(change) for change in result.differs],
        "checks": [
            {"kind": check.kind, "name": check.name, "status": check.status, "detail": check.detail}
            for check in result.checks
        ],
        "notes": list(result.notes),
        "runs": list(result.runs),
    }
