"""Answers to equal requests, given again: looked up in the worker, then where there is one in the store that servers share.

What happens at the same time is decided by `pipeline/exact_cache.py`. An answer is kept under the digest of its tenant,
configuration, inputs and parameters; it is the pipeline's own, as declared: what stood in for it (a cheaper model, a
fallback, another cache) is never kept, and is nobody else's answer.
"""

import asyncio
from collections.abc import Callable
from functools import lru_cache, partial
from typing import TYPE_CHECKING

from trivet.errors import DeadlineError, RequestError
from trivet.pipeline.exact_cache import NEVER, Flights, is_fresh
from trivet.runtime.fronts.front import ClientLeftError, answer_now, tenant_of
from trivet.runtime.fronts.kept import Kept, keep
from trivet.runtime.fronts.local_store import LocalStore
from trivet.runtime.results import Results
from trivet.schedule.job import DROPPED
from trivet.spec.cache import ExactCache
from trivet.wire.canonical import message_digest, scope

if TYPE_CHECKING:
    from trivet.runtime.fronts.shared_answers import SharedAnswers
    from trivet.runtime.live import LiveService
    from trivet.runtime.request import Request
    from trivet.runtime.runtime import Runtime


class ExactFront:
    """One configuration's.

    Args: urgency: of a request that names no priority. shared: None: each worker has its own answers only.
    """

    name = "exact"

    def __init__(
        self,
        rules: ExactCache,
        live: "LiveService",
        runtime: "Runtime",
        loop: asyncio.AbstractEventLoop,
        local: LocalStore,
        urgency: int,
        shared: "SharedAnswers | None" = None,
    ) -> None:
        self._ttl_ns = None if rules.ttl_ns == "none" else rules.ttl_ns
        # The chunks of an answer come one by one: who waits for a whole one would wait longest for its first.
        self._flights = Flights["Request"]() if rules.single_flight and not live.streams else None
        self._live = live
        self._runtime = runtime
        self._now_ns = runtime.now_ns
        self._loop = loop
        self._local = local
        self._shared = shared
        self._urgency = urgency
        self._names = [spec.name for spec in live.signature.outputs]
        self._keys: dict[
            Request, bytes
        ] = {}  # of those that are being computed, or looked up in the shared store
        self._waiting: dict[Request, Callable[[], None]] = {}  # for the answer to an equal one
        self._missed: Request | None = None  # what `at_once` did not know, until it is asked about
        self._missed_key = b""
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ns = NEVER
        self._own_scope = scope("answer", live.hash, "")  # where there are no tenants
        self._scope = lru_cache(maxsize=1024)(partial(scope, "answer", live.hash))  # by tenant
        counts = live.counts
        self._lookups = counts.of("trivet_cache_lookups_total", kind=self.name)
        self._hits = counts.of("trivet_cache_hits_total", kind=self.name)
        self._joined = counts.of("trivet_cache_joined_total")
        self._bytes = counts.of("trivet_cache_bytes")
        self._entries = counts.of("trivet_cache_entries")

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._shared is not None:
            self._shared.close()
        self._local.clear()

    # --- before the pipeline ------------------------------------------------------------------------------------

    def at_once(self, request: "Request") -> bool:
        now_ns = self._now_ns()
        self._lookups.value += 1
        key = self._key(request)
        kept = self._local.get(key)
        if kept is not None and is_fresh(kept.stored_ns, self._ttl_ns, now_ns):
            self._answer(request, kept)
            return True
        self._missed, self._missed_key = request, key
        return False

    def ask(self, request: "Request", go_on: Callable[[], None]) -> bool:
        if self._missed is not request and self.at_once(request):
            return True
        self._missed, key = None, self._missed_key
        if self._flights is not None:
            urgency = request.priority or self._urgency
            role = self._flights.arrive(key, request, request.end_by_ns, urgency)
            if role == "wait":
                self._waiting[request] = go_on
                self._joined.value += 1
                self._arm()
                return True
        self._keys[request] = key
        shared = self._shared
        return shared is not None and shared.look_up(
            key, request.end_by_ns, self._now_ns(), partial(self._looked_up, request, go_on)
        )

    def _key(self, request: "Request") -> bytes:
        within = self._own_scope if request.options is None else self._scope(tenant_of(request))
        return message_digest(within, request.message)

    def _answer(self, request: "Request", kept: Kept) -> None:
        self._hits.value += 1
        answer_now(
            request,
            kept.tensors,
            kept.rows,
            self.name,
            now_ns=self._now_ns(),
            answered_by=kept.answered_by,
            results=kept.results,
        )

    def _looked_up(self, request: "Request", go_on: Callable[[], None], kept: Kept | None) -> None:
        key = self._keys.get(request)
        if key is None:  # its client left
            return
        now_ns = self._now_ns()
        if kept is None or not is_fresh(kept.stored_ns, self._ttl_ns, now_ns):
            go_on()
            return
        del self._keys[request]
        self._put(key, kept)
        self._answer(request, kept)
        self._land(request, kept)

    # --- behind it ----------------------------------------------------------------------------------------------

    def answered(self, request: "Request", results: Results, start: int) -> None:
        key = self._keys.pop(request, None)
        if key is None:
            return
        notes = request.notes
        if notes is not None and (notes.instead or notes.cache != "miss"):
            self._let_go(request)
            return
        answered_by = "" if self._live.exits is None else request.exit
        part = results.part(start, request.rows)
        kept = keep(part, self._names, request.rows, self._now_ns(), answered_by)
        self._put(key, kept)
        if self._shared is not None:
            self._shared.store(key, kept, self._ttl_ns)
        self._land(request, kept)

    def failed(self, request: "Request", error: RequestError) -> None:
        self._waiting.pop(request, None)
        self._keys.pop(request, None)
        if self._flights is not None and isinstance(error, ClientLeftError):
            self._go_on(self._flights.left(request))
        else:
            self._let_go(request)

    def stale(self, request: "Request") -> Results | None:
        kept = self._local.get(self._key(request))
        if kept is None:
            return None
        batch_axis = self._live.streams or self._live.signature.batch_axis
        return Results(kept.tensors, batch_axis, kept.rows)

    def _put(self, key: bytes, kept: Kept) -> None:
        self._local.put(key, kept)
        self._bytes.value = self._local.num_bytes
        self._entries.value = len(self._local)

    def _land(self, request: "Request", kept: Kept) -> None:
        """The same answer for those that waited for it."""
        if self._flights is None:
            return
        for waiting in self._flights.landed(request):
            del self._waiting[waiting]
            self._answer(waiting, kept)

    def _let_go(self, request: "Request") -> None:
        """There is no answer that those who waited for `request` could have: each is computed."""
        if self._flights is not None:
            self._go_on(self._flights.failed(request))

    def _go_on(self, going: list["Request"]) -> None:
        # All are marked first: whoever is refused at once must not find the others still waiting.
        let_go = [(one, self._waiting.pop(one)) for one in going]
        for one, go_on in let_go:
            self._keys[one] = self._key(one)
            go_on()

    # --- who waits too long -------------------------------------------------------------------------------------

    def _arm(self) -> None:
        assert self._flights is not None  # somebody waits
        wake_ns = self._flights.wake_at_ns()
        if self._timer is not None:
            if self._timer_ns <= wake_ns:
                return  # it fires early, finds nothing, and arms the next
            self._timer.cancel()
        self._timer_ns = wake_ns
        delay_ns = max(0, wake_ns - self._now_ns())
        self._timer = self._loop.call_later(delay_ns * 1e-9, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        assert self._flights is not None  # as above
        now_ns = self._now_ns()
        for request in self._flights.expire(now_ns):
            del self._waiting[request]
            request.state = DROPPED
            waited_ms = (now_ns - request.received_ns) / 1e6
            error = DeadlineError(
                f"the deadline passed while the answer to an equal request was computed, after {waited_ms:.1f} ms"
            )
            self._runtime.fail(request, error, "REJECTED")
        if self._flights.wake_at_ns() != NEVER:
            self._arm()
