"""One request to a remote model: its tries, one after the other or two at once, until one answers or none will.

Decisions only: `runtime/remote_executor.py` carries them out with sockets, `simulate/upstreams.py` in virtual time. A call
is given `now_ns` and what became of its tries; it returns commands. Invariants, after every call of a method:

- a call ends exactly once, in `Answered` or `GaveUp`, and no later than its end; nothing is sent afterwards;
- every try that was sent is reported by the driver, or broken off by a `Break`;
- retries and hedges stay within their budgets (`budget.py`) at all times.
"""

import random
from collections.abc import Sequence

from trivet.pipeline.budget import Budget
from trivet.pipeline.recent import RecentTimes
from trivet.pipeline.tries import Answered, Break, Command, Failure, GaveUp, Send, Try
from trivet.pipeline.upstreams import Upstream, Upstreams
from trivet.spec.failures import BreakerRule, Failures

_NO_END = 1 << 62
# What an upstream has to be given before a timeout is its fault: twice what it usually takes; before that is known, this.
_FAIR_NS = 20_000_000
_LOOK_AGAIN_NS = 1_000_000
_MAX_PAUSE_NS = 60_000_000_000  # no Retry-After of an upstream keeps us away for longer


class Caller:
    """What all calls to one model share: its upstreams, what is left of the budgets, and how long answers take.

    Args: rules: of the stage; without a breaker it has one with the defaults.  last: upstreams of the fallback.
    """

    def __init__(
        self,
        named: Sequence[tuple[str, float]],
        rules: Failures,
        rng: random.Random,
        last: Sequence[str] = (),
    ) -> None:
        self.rules = rules
        self.rng = rng
        self.upstreams = Upstreams(named, rules.breaker or BreakerRule(), last)
        self.retries = Budget(rules.retry.budget if rules.retry else 0.0)
        self.hedges = Budget(rules.hedge.budget if rules.hedge else 0.0)
        after = rules.hedge.after if rules.hedge else "p95"
        self._fixed_ns = after if isinstance(after, int) else None
        self.times = RecentTimes(float(after[1:]) if isinstance(after, str) else 95.0)

    def call(self, now_ns: int, end_by_ns: int) -> "Call":
        """Args: end_by_ns: nobody waits for an answer after this instant."""
        self.retries.earn()
        self.hedges.earn()
        return Call(self, now_ns, end_by_ns)

    def hedge_after_ns(self) -> int | None:
        """How long a try runs before another is sent beside it; None: never, or not known yet."""
        if self.rules.hedge is None:
            return None
        return self._fixed_ns if self._fixed_ns is not None else self.times.value_ns()


class Call:
    """One call. The driver starts it, tells what becomes of each try, and wakes it at `wake_at_ns`."""

    __slots__ = (
        "_caller",
        "_end_by_ns",
        "_end_ns",
        "_failure",
        "_hedge_at_ns",
        "_hedged",
        "_num_retries",
        "_retry_at_ns",
        "is_over",
        "num_tries",
        "running",
        "tried",
        "winner",
    )

    def __init__(self, caller: Caller, now_ns: int, end_by_ns: int) -> None:
        timeout_ns = caller.rules.timeout_ns
        self._caller = caller
        self._end_by_ns = end_by_ns
        self._end_ns = end_by_ns if timeout_ns is None else min(end_by_ns, now_ns + timeout_ns)
        self._failure = Failure("unavailable", "no upstream could be asked")
        self._hedge_at_ns: int | None = None
        self._hedged = False
        self._num_retries = 0
        self._retry_at_ns: int | None = None
        self.is_over = False
        self.num_tries = 0
        self.running: list[Try] = []
        self.tried: list[Upstream] = []
        self.winner: Try | None = None  # a stream's: it has begun to answer

    # --- from the driver ----------------------------------------------------------------------------------------

    def start(self, now_ns: int) -> list[Command]:
        upstream = self._caller.upstreams.choose(now_ns)
        if upstream is None:
            return self._turn_to_last(now_ns)
        return [self._send(upstream, now_ns)]

    def answered(self, attempt: Try, now_ns: int) -> list[Command]:
        """The whole answer of a try is here, and good; of a stream `began` said so before, perhaps."""
        if not attempt.is_running:
            return []
        if attempt is not self.winner:
            self._learn_time(attempt, now_ns)
        self._finish(attempt)
        attempt.upstream.breaker.succeeded(probe=attempt.is_probe)
        return [*self._break_losers(now_ns), *self._end(Answered(attempt))]

    def began(self, attempt: Try, now_ns: int) -> list[Command]:
        """The first part of a stream is here: whatever comes now, no other try can replace this one."""
        if not attempt.is_running or attempt is self.winner:
            return []
        self._learn_time(attempt, now_ns)
        self.winner = attempt
        self._end_ns = self._end_by_ns = attempt.end_ns = _NO_END
        self._hedge_at_ns = None
        return self._break_losers(now_ns)

    def failed(self, attempt: Try, failure: Failure, now_ns: int) -> list[Command]:
        if not attempt.is_running:
            return []
        self._finish(attempt)
        self._failure = failure
        self._judge(attempt, failure, now_ns)
        if attempt is self.winner or failure.why == "request":
            return [*self._break_all(), *self._end(GaveUp(failure))]
        if self.running:  # the hedge, or what it was sent beside
            return []
        return self._try_again(attempt, now_ns)

    def wake(self, now_ns: int) -> list[Command]:
        """Whatever is due: a try's end, the end of all, a retry, a hedge."""
        commands: list[Command] = []
        for attempt in list(self.running):
            if now_ns >= attempt.end_ns and not self.is_over:
                commands.append(Break(attempt))
                took_ms = (now_ns - attempt.sent_ns) / 1e6
                failure = Failure("timeout", f"no answer of {attempt.upstream.name} within {took_ms:.0f} ms")
                commands += self.failed(attempt, failure, now_ns)
        if not self.is_over and self._retry_at_ns is not None and now_ns >= self._retry_at_ns:
            commands += self._retry(now_ns)
        if not self.is_over and self._hedge_at_ns is not None and now_ns >= self._hedge_at_ns:
            commands += self._hedge(now_ns)
        return commands

    def wake_at_ns(self) -> int | None:
        """When something is due; None: never."""
        if self.is_over:
            return None
        instants = [attempt.end_ns for attempt in self.running if attempt.end_ns < _NO_END]
        instants += [at for at in (self._retry_at_ns, self._hedge_at_ns) if at is not None]
        return min(instants, default=None)

    def cancel(self) -> list[Command]:
        """Nobody waits any more: break off what runs. No `GaveUp` follows."""
        commands = self._break_all()
        self._end(GaveUp(self._failure))
        return commands

    # --- tries --------------------------------------------------------------------------------------------------

    def _send(
        self, upstream: Upstream, now_ns: int, *, is_hedge: bool = False, is_last: bool = False
    ) -> Command:
        caller = self._caller
        retry = caller.rules.retry
        end_ns = self._end_ns
        if retry is not None and retry.timeout_ns is not None and not is_last:
            end_ns = min(end_ns, now_ns + retry.timeout_ns)
        attempt = Try(upstream, now_ns, end_ns, upstream.breaker.sent(), is_hedge, is_last)
        upstream.num_running += 1
        upstream.num_tries += 1
        self.num_tries += 1
        self.running.append(attempt)
        self.tried.append(upstream)
        after_ns = None if self._hedged or is_last else caller.hedge_after_ns()
        self._hedge_at_ns = None if after_ns is None else now_ns + after_ns
        return Send(attempt)

    def _hedge(self, now_ns: int) -> list[Command]:
        """Send another try beside the first, where that is within the budget."""
        self._hedge_at_ns = None
        busy = [attempt.upstream for attempt in self.running]
        other = self._caller.upstreams.choose_other(now_ns, busy)
        if other is None:
            return []
        if not self._caller.hedges.spend():
            # What is only a little late will be here soon; what is very late is still running when there is budget again.
            after_ns = self._caller.hedge_after_ns() or 0
            self._hedge_at_ns = now_ns + max(after_ns, _LOOK_AGAIN_NS)
            return []
        self._hedged = True
        return [self._send(other, now_ns, is_hedge=True)]

    def _try_again(self, attempt: Try, now_ns: int) -> list[Command]:
        """The last running try has failed: pause and try again, ask the fallback, or give up."""
        retry = self._caller.rules.retry
        self._hedge_at_ns = None
        if attempt.is_last or retry is None or self._num_retries >= retry.max:
            return self._turn_to_last(now_ns)
        # Full jitter: many calls that failed at one instant come back at many. Source: Brooker, AWS (2015).
        pause_ns = int(self._caller.rng.random() * 2 * retry.backoff_ns * 2**self._num_retries)
        at_ns = max(now_ns + pause_ns, self._caller.upstreams.free_again_ns())
        if at_ns >= self._end_ns or not self._caller.retries.spend():
            return self._turn_to_last(now_ns)
        self._num_retries += 1
        self._retry_at_ns = at_ns
        return []

    def _retry(self, now_ns: int) -> list[Command]:
        self._retry_at_ns = None
        upstream = self._caller.upstreams.choose(now_ns, self.tried) if now_ns < self._end_ns else None
        if upstream is None:
            return self._turn_to_last(now_ns)
        return [self._send(upstream, now_ns)]

    def _turn_to_last(self, now_ns: int) -> list[Command]:
        """No own upstream will answer: the fallback's are asked one after the other, inside the request's deadline."""
        upstreams = self._caller.upstreams
        upstream = upstreams.choose_last(now_ns, self.tried)
        if upstream is None or now_ns >= self._end_by_ns:
            return self._end(GaveUp(self._told(now_ns)))
        timeout_ns = self._caller.rules.timeout_ns
        self._end_ns = self._end_by_ns if timeout_ns is None else min(self._end_by_ns, now_ns + timeout_ns)
        return [self._send(upstream, now_ns, is_last=True)]

    def _told(self, now_ns: int) -> Failure:
        if self.tried:
            return self._failure
        wait_ns = max(0, self._caller.upstreams.free_again_ns() - now_ns)
        names = ", ".join(one.name for one in self._caller.upstreams.own)
        return Failure("unavailable", f"no upstream is asked now, they failed or are busy: {names}", wait_ns)

    # --- ends ---------------------------------------------------------------------------------------------------

    def _learn_time(self, attempt: Try, now_ns: int) -> None:
        took_ns = now_ns - attempt.sent_ns
        if not attempt.is_last:
            self._caller.times.add(took_ns)
            self._caller.upstreams.answered(attempt.upstream, took_ns, now_ns)

    def _judge(self, attempt: Try, failure: Failure, now_ns: int) -> None:
        """What a failure says of its upstream."""
        upstream = attempt.upstream
        if failure.why == "request":  # it works well enough to say so
            upstream.breaker.succeeded(probe=attempt.is_probe)
            return
        if failure.why == "timeout" and now_ns - attempt.sent_ns < _fair_ns(upstream):
            # The request had little time left: whoever sends many such must not have it left alone by everybody.
            upstream.breaker.dropped(probe=attempt.is_probe)
            return
        upstream.num_failed += 1
        if failure.retry_after_ns is not None:
            wait_ns = min(failure.retry_after_ns, _MAX_PAUSE_NS)
            self._caller.upstreams.pause(upstream, now_ns + wait_ns)
        self._caller.upstreams.failed(upstream, now_ns, probe=attempt.is_probe)

    def _finish(self, attempt: Try) -> None:
        attempt.is_running = False
        attempt.upstream.num_running -= 1
        self.running.remove(attempt)

    def _break_losers(self, now_ns: int) -> list[Command]:
        """Another try was first."""
        for attempt in self.running:
            if attempt is not self.winner and not attempt.is_last:
                # It would have taken longer: left out, the percentile that hedges go by would sink with each of them.
                self._caller.times.add(now_ns - attempt.sent_ns)
        return self._break_all(but=self.winner)

    def _break_all(self, but: Try | None = None) -> list[Command]:
        commands: list[Command] = []
        for attempt in [one for one in self.running if one is not but]:
            self._finish(attempt)
            attempt.upstream.breaker.dropped(probe=attempt.is_probe)
            commands.append(Break(attempt))
        return commands

    def _end(self, command: Command) -> list[Command]:
        if self.is_over:
            return []
        self.is_over = True
        self._retry_at_ns = self._hedge_at_ns = None
        return [command]


def _fair_ns(upstream: Upstream) -> int:
    usual_ns = upstream.times.value_ns()
    return _FAIR_NS if usual_ns is None else 2 * usual_ns
