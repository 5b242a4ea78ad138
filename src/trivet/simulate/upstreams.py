"""Calls to remote models in virtual time: the same decisions that the server takes (`pipeline/attempts.py`), against
upstreams that behave as told. What retries, hedges and breakers cost and gain is seen here before it is tried live.
"""

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from trivet.pipeline.attempts import Call, Caller
from trivet.pipeline.tries import Answered, Break, Command, Failure, GaveUp, Send, Try

# What an upstream does with a try sent at an instant: how long that takes, and the failure (None: a good answer);
# no time at all: it never says a word.
Behaviour = Callable[[Try, int], tuple[int, Failure | None] | None]


@dataclass(slots=True)
class CallRow:
    """One call, in ns. upstream: who answered; empty where nobody did."""

    sent_ns: int
    done_ns: int
    upstream: str
    num_tries: int
    failure: Failure | None


def simulate_calls(
    caller: Caller, arrivals_ns: Iterable[int], deadline_ns: int, behave: Behaviour
) -> list[CallRow]:
    """One row for each call, in the order of their arrivals.

    Args: arrivals_ns: ascending.  deadline_ns: of each call, from its arrival.
    """
    return _Simulation(caller, deadline_ns, behave).run(list(arrivals_ns))


class _Simulation:
    def __init__(self, caller: Caller, deadline_ns: int, behave: Behaviour) -> None:
        self._caller = caller
        self._deadline_ns = deadline_ns
        self._behave = behave
        self._events: list[tuple[int, int, Callable[[int], None]]] = []
        self._num_events = 0
        self._rows: dict[Call, CallRow] = {}

    def run(self, arrivals_ns: list[int]) -> list[CallRow]:
        for at_ns in arrivals_ns:
            self._at(at_ns, self._arrive)
        while self._events:
            now_ns, _, happen = heapq.heappop(self._events)
            happen(now_ns)
        return list(self._rows.values())

    def _at(self, at_ns: int, happen: Callable[[int], None]) -> None:
        self._num_events += 1
        heapq.heappush(self._events, (at_ns, self._num_events, happen))

    def _arrive(self, now_ns: int) -> None:
        call = self._caller.call(now_ns, now_ns + self._deadline_ns)
        self._rows[call] = CallRow(now_ns, -1, "", 0, None)
        self._carry_out(call, call.start(now_ns), now_ns)

    def _carry_out(self, call: Call, commands: list[Command], now_ns: int) -> None:
        row = self._rows[call]
        for command in commands:
            match command:
                case Send(attempt):
                    self._send(call, attempt, now_ns)
                case Answered(attempt):
                    row.done_ns, row.upstream = now_ns, attempt.upstream.name
                case GaveUp(failure):
                    row.done_ns, row.failure = now_ns, failure
                case Break():
                    pass  # whatever the upstream still says is not heard
        row.num_tries = call.num_tries
        wake_ns = call.wake_at_ns()
        if wake_ns is not None:
            self._at(wake_ns, lambda at_ns: self._wake(call, at_ns))

    def _wake(self, call: Call, now_ns: int) -> None:
        due_ns = call.wake_at_ns()
        if due_ns is not None and due_ns <= now_ns:
            self._carry_out(call, call.wake(now_ns), now_ns)

    def _send(self, call: Call, attempt: Try, now_ns: int) -> None:
        said = self._behave(attempt, now_ns)
        if said is None:
            return
        took_ns, failure = said

        def done(at_ns: int) -> None:
            if attempt.is_running:
                commands = (
                    call.answered(attempt, at_ns) if failure is None else call.failed(attempt, failure, at_ns)
                )
                self._carry_out(call, commands, at_ns)

        self._at(now_ns + took_ns, done)
