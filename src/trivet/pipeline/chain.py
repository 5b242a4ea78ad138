"""A chain of stages: which comes next, and how much of the request's time each may use.

Decisions only: `runtime/` and `simulate/` carry them out. Stages follow one another; where an exit stands behind one, some
rows skip the models that follow it. Whatever else lets rows skip stages (a cache's hit, a cascade) has the same form.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from trivet.pipeline.exits import ExitPoint


class Stage(Protocol):
    """One step of a service's pipeline."""

    def expected_ns(self) -> int:
        """Service time that this stage is predicted to need for one request, without waiting."""


@dataclass(frozen=True, slots=True)
class Run:
    """Command: run the stage of this index, so that it ends by `deadline_ns`."""

    index: int
    deadline_ns: int


class Answer:
    """Command: the request's last stage is done."""


ANSWER = Answer()


class Chain:
    """The stages of a service in order.

    Args: exits: behind which stages rows may leave early.  last_model: the stage that they skip to the end of; what an
    exit gives stands for what that one would.
    """

    def __init__(
        self, stages: Sequence[Stage], exits: Mapping[int, ExitPoint] | None = None, last_model: int = -1
    ) -> None:
        self._stages = tuple(stages)
        self.exits = dict(exits or {})
        self.last_model = last_model

    def start(self, deadline_ns: int) -> Run:
        return self.run(0, deadline_ns)

    def stage_done(self, index: int, deadline_ns: int) -> Run | Answer:
        """What follows stage `index` for a request that must be answered by `deadline_ns`."""
        if index + 1 == len(self._stages):
            return ANSWER
        return self.run(index + 1, deadline_ns)

    def left(self, deadline_ns: int) -> Run | Answer:
        """What follows for rows that an exit has answered: whatever stands behind the last model."""
        return self.stage_done(self.last_model, deadline_ns)

    def run(self, index: int, deadline_ns: int) -> Run:
        """The command for stage `index` of a request that must be answered by `deadline_ns`."""
        # What the later stages are predicted to need is kept for them: a request that could end this stage in time
        # but not the rest would be work done in vain (PARD, arXiv 2602.08747).
        if self.exits:
            return Run(index, deadline_ns - self._expected_rest_ns(index))
        rest_ns = sum(stage.expected_ns() for stage in self._stages[index + 1 :])
        return Run(index, deadline_ns - rest_ns)

    def _expected_rest_ns(self, index: int) -> int:
        """What is predicted for the stages behind `index`, each weighted by the share of rows that gets there."""
        share, rest_ns = 1.0, 0.0
        for place in range(index, len(self._stages) - 1):
            if place in self.exits:
                share *= self.exits[place].share_on
            elif place == self.last_model:
                share = 1.0  # whoever left comes out here
            rest_ns += share * self._stages[place + 1].expected_ns()
        return round(rest_ns)
