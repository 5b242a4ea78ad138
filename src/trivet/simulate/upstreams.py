"""Calls to remote models in virtual time: the same decisions that the server takes (`pipeline/attempts.py`), against
upstreams that behave as told. What retries, hedges and breakers cost and gain is seen here before it is tried live.
"""

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from trivet.pipeline.attempts import Call, Caller
from trivet.pipeline.tries import Answered, Break, Command, Failure, GaveUp, Send, Try
from trivet.simulate.hiccups import NEVER

# What an upstream does with a try sent at an instant: how long that takes, and the failure (None: a good answer);
# no time at all: it never says a word.
Behaviour = Callable[[Try, int], tuple[int, Failure | None] | None]


@dataclass(slots=True, eq=False)
class CallRow:
    """One call, in ns. upstream: who answered; empty where nobody did.  is_last: it is the fallback's."""

    sent_ns: int
    done_ns: int
    upstream: str
    num_tries: int
    failure: Failure | None
    is_last: bool = False


def simulate_calls(
    caller: Caller, arrivals_ns: Iterable[int], deadline_ns: int, behave: Behaviour
) -> list[CallRow]:
    """One row for each call, in the order of their arrivals.

    Args: arrivals_ns: ascending.  deadline_ns: of each call, from its arrival.
    """
    calls = VirtualCalls(caller, behave)
    rows = []
    for at_ns in arrivals_ns:
        calls.ended(at_ns - 1)  # of what happens at one instant a new call comes first
        rows.append(calls.begin(at_ns, at_ns + deadline_ns))
    calls.ended(NEVER)
    return rows


class VirtualCalls:
    """Calls to one remote model. Whoever drives it is told when something happens next, and which calls have ended."""

    def __init__(self, caller: Caller, behave: Behaviour) -> None:
        self._caller = caller
        self._behave = behave
        self._events: list[tuple[int, int, Callable[[int], None]]] = []
        self._num_events = 0
        self._rows: dict[Call, CallRow] = {}  # of those on their way
        self._over: list[CallRow] = []

    @property
    def next_ns(self) -> int:
        """When something happens, or has happened that nobody was told; NEVER: nothing ever will."""
        if self._over:
            return self._over[0].done_ns
        return self._events[0][0] if self._events else NEVER

    def begin(self, now_ns: int, end_by_ns: int) -> CallRow:
        """A call; its row is filled in when it has ended."""
        call = self._caller.call(now_ns, end_by_ns)
        row = self._rows[call] = CallRow(now_ns, -1, "", 0, None)
        self._carry_out(call, call.start(now_ns), now_ns)
        return row

    def ended(self, now_ns: int) -> list[CallRow]:
        """Everything that happens until now; the calls that have ended since they were asked for, in that order."""
        while self._events and self._events[0][0] <= now_ns:
            at_ns, _, happen = heapq.heappop(self._events)
            happen(at_ns)
        over, self._over = self._over, []
        return over

    def _at(self, at_ns: int, happen: Callable[[int], None]) -> None:
        self._num_events += 1
        heapq.heappush(self._events, (at_ns, self._num_events, happen))

    def _carry_out(self, call: Call, commands: list[Command], now_ns: int) -> None:
        row = self._rows[call]
        for command in commands:
            match command:
                case Send(attempt):
                    self._send(call, attempt, now_ns)
                case Answered(attempt):
                    row.done_ns, row.upstream, row.is_last = now_ns, attempt.upstream.name, attempt.is_last
                case GaveUp(failure):
                    row.done_ns, row.failure = now_ns, failure
                case Break():
                    pass  # whatever the upstream still says is not heard
        row.num_tries = call.num_tries
        if call.is_over:
            self._over.append(self._rows.pop(call))
            return
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
