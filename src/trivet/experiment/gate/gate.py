"""A gate for CI: may this configuration take the place of the baseline? Exit 0 pass, 1 regression, 2 not enough data.

The past only raises suspicion (history.py). What decides is a confirmation here and now: blocks of the baseline and the
candidate in turn, on the same arrivals and inputs, each pair of blocks on servers that were started anew, in rounds until
every figure is decided or the budget is spent. Where the history says that something got worse earlier and nobody
noticed, the last configuration before that is measured along, so that small steps do not add up behind a moving baseline.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from trivet.clock import Clock
from trivet.experiment.gate.decision import EXIT_CODES, Decision, Finding, Outcome, outcome_of
from trivet.experiment.gate.history import Suspect

__all__ = ["EXIT_CODES", "Gate", "Round", "gate"]

Values = Mapping[str, float]  # figures of one start of one side


@dataclass(frozen=True, slots=True)
class Round:
    """What some starts of all sides gave.

    starts: for each start the figures of each side, by its name.  settled: findings of what is not timed (accuracy).
    failed: which side could not be measured, and why; empty otherwise.  invalid: why the round says nothing.
    """

    starts: Sequence[Mapping[str, Values]]
    runs: tuple[str, ...] = ()
    settled: tuple[Finding, ...] = ()
    failed: tuple[str, str] | None = None
    invalid: str = ""


@dataclass(frozen=True, slots=True)
class Gate:
    """What came of it. `runs`: that were measured for it, in the catalog."""

    outcome: Outcome
    findings: tuple[Finding, ...]
    suspects: tuple[Suspect, ...]
    notes: tuple[str, ...]
    runs: tuple[str, ...]
    seconds: float

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.outcome]


@dataclass(slots=True)
class _Course:
    """A gate on its way."""

    decisions: dict[str, Decision]  # by the side that the candidate is compared with
    settled: dict[str, Finding] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)
    is_over: bool = False

    def add(self, measured: Round, candidate: str) -> None:
        self.runs += measured.runs
        for finding in measured.settled:
            self.settled.setdefault(finding.figure, finding)
        if measured.invalid:
            self.notes.append(f"a round was invalid: {measured.invalid}")
            return
        if measured.failed is not None:
            self._fail(*measured.failed, candidate)
            return
        for start in measured.starts:
            for reference, decision in self.decisions.items():
                decision.add(start.get(reference, {}), start.get(candidate, {}))

    def _fail(self, side: str, why: str, candidate: str) -> None:
        """A candidate that cannot carry the load is one the gate must stop; a baseline that cannot tells nothing."""
        outcome: Outcome = "regression" if side == candidate else "not enough data"
        self.settled["load"] = Finding("load", outcome, f"{side} could not be measured: {why}")
        self.is_over = True

    def is_decided(self) -> bool:
        return self.is_over or all(decision.is_decided() for decision in self.decisions.values())

    def findings(self) -> tuple[Finding, ...]:
        found = [
            replace(finding, figure=_name(finding.figure, reference, self.decisions))
            for reference, decision in self.decisions.items()
            for finding in decision.findings()
        ]
        timed = [] if self.is_over else found
        return (*timed, *self.settled.values())


def gate(
    measure: Callable[[int], Round],
    *,
    candidate: str,
    references: Sequence[str],
    clock: Clock,
    budget_ns: int,
    margins: Mapping[str, float],
    suspects: Sequence[Suspect] = (),
    notes: Sequence[str] = (),
) -> Gate:
    """Confirm or clear, round by round.

    Args: measure: the n-th round.  candidate: its name in the rounds' blocks.  references: the sides that it is compared
    with, the baseline first.  budget_ns: no round is begun that would likely end after it.
    """
    course = _Course({reference: Decision(margins) for reference in references}, notes=list(notes))
    begun_ns, longest_ns, index = clock.now_ns(), 0, 0
    while True:
        round_ns = clock.now_ns()
        course.add(measure(index), candidate)
        index += 1
        longest_ns = max(longest_ns, clock.now_ns() - round_ns)
        spent_ns = clock.now_ns() - begun_ns
        if course.is_decided():
            break
        if spent_ns + longest_ns > budget_ns:
            rounds = "1 round" if index == 1 else f"{index} rounds"
            course.notes.append(f"the budget of {budget_ns / 1e9:g} s was spent after {rounds}")
            break
    findings = course.findings()
    seconds = (clock.now_ns() - begun_ns) / 1e9
    return Gate(
        outcome_of(findings), findings, tuple(suspects), tuple(course.notes), tuple(course.runs), seconds
    )


def _name(figure: str, reference: str, decisions: Mapping[str, Decision]) -> str:
    """Of the baseline, the first, by itself; of an earlier run, with its name."""
    return figure if reference == next(iter(decisions)) else f"{figure} beside {reference}"
