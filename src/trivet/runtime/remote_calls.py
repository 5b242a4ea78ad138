"""One call to a remote model with sockets: its tries as tasks, its timer, and its end.

Carries out what `pipeline/attempts.py` decides. Each call ends once and in time, whatever the upstreams do: the decisions
see to that, and a try that nobody wants any more is cancelled, which closes its connection.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from trivet.engine.remote.client import Client
from trivet.engine.remote.contract import Dialect, Tokens, TryError
from trivet.errors import BadRequestError, DeadlineError, RequestError, UnavailableError, UpstreamError
from trivet.pipeline.attempts import Caller
from trivet.pipeline.tries import Answered, Break, Command, Failure, GaveUp, Send, Try
from trivet.runtime.counts import Counts
from trivet.runtime.executors import unexpected
from trivet.runtime.notes import Notes, note_call

if TYPE_CHECKING:
    from trivet.runtime.live import LiveModel
    from trivet.runtime.request import Request


class RemotePool:
    """What the executors of one remote model share.

    Args: urls: of the upstreams, by name.  name: of the model.
    """

    def __init__(
        self,
        dialect: Dialect,
        client: Client,
        caller: Caller,
        urls: Mapping[str, str],
        loop: asyncio.AbstractEventLoop,
        now_ns: Callable[[], int],
        name: str,
    ) -> None:
        self.name = name
        self.counts = Counts()  # the service's, as soon as there is one
        self.dialect = dialect
        self.client = client
        self.caller = caller
        self.urls = urls
        self.loop = loop
        self.now_ns = now_ns
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task: asyncio.Task[None] = self.loop.create_task(work)
        self._tasks.add(task)  # the loop itself keeps only weak references
        task.add_done_callback(self._tasks.discard)
        return task

    def count_try(self, attempt: Try, kind: str) -> None:
        upstream = attempt.upstream.name
        self.counts.add("trivet_upstream_tries_total", stage=self.name, upstream=upstream, kind=kind)

    def count_end(self, attempt: Try, outcome: str) -> None:
        """`outcome`: answered, broken_off, or why it failed."""
        upstream = attempt.upstream
        stage, name, counts = self.name, upstream.name, self.counts
        counts.add("trivet_upstream_outcomes_total", stage=stage, upstream=name, outcome=outcome)
        is_closed = upstream.breaker.state(self.now_ns()) == "closed"
        counts.set("trivet_upstream_breaker_open", int(not is_closed), stage=stage, upstream=name)
        counts.set("trivet_upstream_ejections_total", upstream.num_ejected, stage=stage, upstream=name)

    def close(self) -> None:
        """No call is on its way any more."""
        self.spawn(self.client.close())


class RemoteCall:
    """Args: ask: one try, to its end; raises TryError.  answered, gave_up: one of the two is called, once, unless the
    call is cancelled.
    """

    def __init__(
        self,
        pool: RemotePool,
        end_by_ns: int,
        ask: Callable[[Try], Awaitable[None]],
        answered: Callable[[Try], None],
        gave_up: Callable[[Failure], None],
    ) -> None:
        self._pool = pool
        self._ask = ask
        self._answered = answered
        self._gave_up = gave_up
        self._tasks: dict[Try, asyncio.Task[None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._call = pool.caller.call(pool.now_ns(), end_by_ns)

    def start(self) -> None:
        self._carry_out(self._call.start(self._pool.now_ns()))

    def began(self, attempt: Try) -> None:
        """The first part of this try's answer is here."""
        self._carry_out(self._call.began(attempt, self._pool.now_ns()))

    def cancel(self) -> None:
        self._carry_out(self._call.cancel())

    def notes(self, attempt: Try | None) -> Notes:
        """What is told of the call. Args: attempt: that answered."""
        notes = Notes(attempts=self._call.num_tries)
        if attempt is not None:
            notes.upstream = attempt.upstream.name
            notes.instead = "fallback:upstream" if attempt.is_last else ""
        return notes

    def _carry_out(self, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case Send(attempt):
                    self._pool.count_try(attempt, self._kind(attempt))
                    self._tasks[attempt] = self._pool.spawn(self._try(attempt))
                case Break(attempt):
                    self._pool.count_end(attempt, "broken_off")
                    self._tasks.pop(attempt).cancel()
                case Answered(attempt):
                    self._answered(attempt)
                case GaveUp(failure):
                    self._gave_up(failure)
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        wake_ns = self._call.wake_at_ns()
        if wake_ns is not None:
            seconds = max(0, wake_ns - self._pool.now_ns()) / 1e9
            self._timer = self._pool.loop.call_later(seconds, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._carry_out(self._call.wake(self._pool.now_ns()))

    async def _try(self, attempt: Try) -> None:
        failure: Failure | None = None
        try:
            await self._ask(attempt)
        except TryError as error:
            told = self._pool.client.told(attempt.upstream.name, error)
            failure = Failure(error.why, told, error.retry_after_ns)
        except Exception as error:  # a mistake of ours: this try fails, the call goes on
            failure = Failure("rubbish", str(unexpected(error)))
        self._tasks.pop(attempt, None)
        now_ns = self._pool.now_ns()
        commands = (
            self._call.answered(attempt, now_ns)
            if failure is None
            else self._call.failed(attempt, failure, now_ns)
        )
        self._pool.count_end(attempt, "answered" if failure is None else failure.why)
        self._carry_out(commands)

    def _kind(self, attempt: Try) -> str:
        if attempt.is_last:
            return "fallback"
        return "hedge" if attempt.is_hedge else "first" if len(self._call.tried) == 1 else "retry"


def called(model: "LiveModel", requests: "Sequence[Request]", notes: Notes, tokens: Tokens) -> None:
    """Tell of the requests of one call what became of it, and have the first of them pay for it, and each for its tokens."""
    for request in requests:
        note_call(request, notes)
    if len(requests) == 1:
        pay_call(model, requests[0], notes.attempts, tokens)
        return
    for request in requests[:1]:
        pay_call(model, request, notes.attempts)
    if tokens != (0, 0):
        _share_tokens(model, requests, tokens)


def _share_tokens(model: "LiveModel", requests: "Sequence[Request]", tokens: Tokens) -> None:
    """By rows: nobody tells which of them had more. The shares add up to what was counted."""
    total = sum(request.rows for request in requests)
    rows, paid = 0, (0, 0)
    for request in requests:
        rows += request.rows
        due = (tokens[0] * rows // total, tokens[1] * rows // total)
        if request.live.costing is not None:
            request.live.costing.counted(request, model.name, (due[0] - paid[0], due[1] - paid[1]))
        paid = due


def pay_call(model: "LiveModel", request: "Request", num_tries: int, tokens: Tokens = (0, 0)) -> None:
    """Each try is paid, where the service has prices. Args: tokens: of the input and the output, of the last one."""
    costing = request.live.costing
    if costing is not None and num_tries:
        for _ in range(num_tries - 1):
            costing.called(request, model.name)
        costing.called(request, model.name, *tokens)


def request_error(failure: Failure) -> RequestError:
    """What a request is told of a call that failed."""
    match failure.why:
        case "request":
            return BadRequestError(failure.message)
        case "timeout":
            return DeadlineError(failure.message)
        case "refused" | "unavailable":
            if failure.retry_after_ns is None:
                return UnavailableError(failure.message)
            return UnavailableError(failure.message, failure.retry_after_ns)
    return UpstreamError(failure.message)
