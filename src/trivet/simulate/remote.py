"""A remote stage of a simulated worker: the server's own retries, hedges, breakers and fallbacks, on recorded tries."""

from __future__ import annotations

import random
from bisect import bisect_left
from dataclasses import dataclass

import numpy as np

from trivet.pipeline.attempts import Caller
from trivet.pipeline.tries import Failure, Try
from trivet.schedule import Batch
from trivet.simulate.errors import TooManyCallsError
from trivet.simulate.remote_times import RemoteTimes, Tries
from trivet.simulate.setup import RemoteSetup
from trivet.simulate.upstreams import CallRow, VirtualCalls


@dataclass(frozen=True, slots=True)
class Told:
    """What rows say of a request's calls. instead: who answered in place of the stage."""

    upstream: str
    attempts: int
    instead: str = ""

    def then(self, later: Told) -> Told:
        """Of both together, as runtime/notes.py has it: who answered last, and the tries of all calls."""
        return Told(
            later.upstream or self.upstream, self.attempts + later.attempts, later.instead or self.instead
        )


NOTHING_TOLD = Told("", 0)


class RecordedUpstreams:
    """Behaves as the upstreams did: a try takes a recorded time, or fails as a recorded one, of the same load at least.

    Args: workers: that ask them as much as this one does.
    """

    def __init__(self, times: RemoteTimes, rng: np.random.Generator, workers: int, name: str) -> None:
        self._rng, self._workers, self._name = rng, workers, name
        self._levels = {upstream: sorted(by_level) for upstream, by_level in times.tries.items()}
        self._tries = times.tries

    def __call__(self, attempt: Try, now_ns: int) -> tuple[int, Failure | None]:
        """Raises: TooManyCallsError: more tries are on their way than ever were."""
        tries = self._at(attempt.upstream.name, attempt.upstream.num_running * self._workers)
        place = int(self._rng.integers(len(tries.good_ns) + len(tries.failed)))
        if place < len(tries.good_ns):
            return tries.good_ns[place], None
        took_ns, why = tries.failed[place - len(tries.good_ns)]
        return took_ns, Failure(why, "as an upstream did while it was profiled")

    def _at(self, upstream: str, num_running: int) -> Tries:
        levels = self._levels.get(upstream, [])
        place = bisect_left(levels, num_running)
        if place == len(levels):
            most = levels[-1] if levels else 0
            raise TooManyCallsError(
                f"not simulated: {num_running} calls to {self._name!r} at {upstream} at once: profiled up to {most}; "
                "offer less, or bound the calls with its lever `instances`"
            )
        return self._tries[upstream][levels[place]]


class SimulatedRemote:
    """Of one worker. Args: name: of the stage, for messages."""

    def __init__(
        self, setup: RemoteSetup, times: RemoteTimes, rng: np.random.Generator, workers: int, name: str
    ) -> None:
        caller = Caller(setup.upstreams, setup.rules, random.Random(int(rng.integers(1 << 62))), setup.last)
        self.call_ns = times.call_ns
        self.instead = setup.instead
        self._calls = VirtualCalls(caller, RecordedUpstreams(times, rng, workers, name))
        self._batches: dict[CallRow, Batch] = {}
        self.num_tries = self.num_answered = 0  # of the calls that have ended

    @property
    def next_ns(self) -> int:
        return self._calls.next_ns

    def start(self, batch: Batch, now_ns: int, end_by_ns: int) -> None:
        """Args: end_by_ns: nobody waits for an answer after this instant."""
        self._batches[self._calls.begin(now_ns, end_by_ns)] = batch

    def ended(self, now_ns: int) -> list[tuple[Batch, CallRow]]:
        ended = self._calls.ended(now_ns)
        for row in ended:
            self.num_tries += row.num_tries
            self.num_answered += row.failure is None
        return [(self._batches.pop(row), row) for row in ended]

    def told(self, row: CallRow) -> Told:
        return Told(row.upstream, row.num_tries, "fallback:upstream" if row.is_last else "")

    def rescued(self) -> Told:
        """Somebody else answers; what a call that failed before took is told already."""
        return Told("", 0, f"fallback:{self.instead}")
