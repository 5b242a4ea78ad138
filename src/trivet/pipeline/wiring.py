"""Where each stage of a chain takes its inputs: by name, from the latest stage (or the request) that gave them.

Decisions only, made once for a service. A request carries with it what a later stage than the next one takes.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trivet.errors import EngineError

REQUEST = -1  # the place of what the request itself brings


@dataclass(frozen=True, slots=True)
class Taking:
    """What one stage takes and gives.

    takes: its own name of each input -> the name that it was given under; None: all that the stage before gives.
    gives: names of its outputs; None: not known before it runs.
    others: names that who stands in for it takes beside.
    """

    name: str
    takes: Mapping[str, str] | None
    gives: Collection[str] | None
    others: Collection[str] = ()


class Wiring:
    """The stages of a service in order, and what has to be carried past the next of them.

    Args: given: names of the request's inputs.
    """

    def __init__(self, stages: Sequence[Taking], given: Collection[str]) -> None:
        self._stages = tuple(stages)
        self._kept = {
            place: _kept(stages, place, given if place == REQUEST else stages[place].gives)
            for place in range(REQUEST, len(stages))
        }
        self.carries = any(self._kept.values())

    def kept(self, place: int) -> Collection[str]:
        """Of what the stage at `place` gives: the names that a later stage than the next may take."""
        return self._kept[place]

    def hand_over(self, place: int, outputs: Mapping[str, Any], carried: dict[str, Any]) -> Mapping[str, Any]:
        """The inputs of the stage behind `place`, which gave `outputs`.

        Args: carried: what earlier stages gave, by name; brought up to date.
        Raises: EngineError: an input that nobody gave.
        """
        stage = self._stages[place + 1]
        inputs = outputs if stage.takes is None else _taken(stage, outputs, carried)
        self.keep(place, outputs, carried)
        return inputs

    def keep(self, place: int, outputs: Mapping[str, Any], carried: dict[str, Any]) -> None:
        """Put aside what later stages than the next may take of what the stage at `place` gave."""
        for name in self._kept[place]:
            if name in outputs:
                carried[name] = outputs[name]

    def sources(self, start: int, stop: int) -> frozenset[str]:
        """The names that the stages from `start` to before `stop` take, as they were given; and what those who stand in
        for them, or for the one before, take beside."""
        return _later(self._stages[:stop], start)


def _kept(stages: Sequence[Taking], place: int, gives: Collection[str] | None) -> frozenset[str]:
    later = _later(stages, place + 2)
    return later if gives is None else later & frozenset(gives)


def _later(stages: Sequence[Taking], start: int) -> frozenset[str]:
    taken = {source for stage in stages[start:] for source in (stage.takes or {}).values()}
    # What is handed to the stage before `start` does not reach who stands in for it.
    return frozenset(taken.union(*(stage.others for stage in stages[start - 1 :])))


def _taken(stage: Taking, outputs: Mapping[str, Any], carried: Mapping[str, Any]) -> dict[str, Any]:
    inputs = {}
    for name, source in (stage.takes or {}).items():
        if source in outputs:
            inputs[name] = outputs[source]
        elif source in carried:
            inputs[name] = carried[source]
        else:
            given = sorted({*outputs, *carried})
            raise EngineError(f"{stage.name!r} needs {source!r}; the stages before it gave {given}")
    return inputs
