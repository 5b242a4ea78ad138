"""A straight chain of stages: which comes next, and how much of the request's time each may use.

Decisions only: `runtime/` and `simulate/` carry them out. The form stays when stages branch (caches, cascades).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


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
    """The stages of a service in order."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        self._stages = tuple(stages)

    def start(self, deadline_ns: int) -> Run:
        return self.run(0, deadline_ns)

    def stage_done(self, index: int, deadline_ns: int) -> Run | Answer:
        """What follows stage `index` for a request that must be answered by `deadline_ns`."""
        if index + 1 == len(self._stages):
            return ANSWER
        return self.run(index + 1, deadline_ns)

    def run(self, index: int, deadline_ns: int) -> Run:
        """The command for stage `index` of a request that must be answered by `deadline_ns`."""
        # What the later stages are predicted to need is kept for them: a request that could end this stage in time
        # but not the rest would be work done in vain (PARD, arXiv 2602.08747).
        rest_ns = sum(stage.expected_ns() for stage in self._stages[index + 1 :])
        return Run(index, deadline_ns - rest_ns)
