"""What may answer a request before its pipeline runs, and how a request passes it.

A service without fronts has no `Fronts`. With them the steps before its first model run only for requests that no front
answers: `LiveService.request` makes one that has been decoded and nothing more.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from numpy.typing import NDArray

from trivet.clock import MonotonicClock
from trivet.errors import DeadlineError, RequestError
from trivet.pipeline.wiring import REQUEST
from trivet.runtime.counts import Counts
from trivet.runtime.fronts.asked import Asked
from trivet.runtime.notes import Notes
from trivet.runtime.results import Results
from trivet.schedule.job import DONE
from trivet.spec.row import CACHE_OUTCOMES

if TYPE_CHECKING:
    from trivet.runtime.fronts.stage_cache import StageCaches
    from trivet.runtime.request import Request, StreamReply
    from trivet.runtime.runtime import Runtime


class ClientLeftError(RequestError):
    """Nobody waits for this answer any more, and it will not be made."""

    status = 499


class Front(Protocol):
    """One of them. Everything is called in the loop."""

    name: str

    def ask(self, request: "Request", go_on: Callable[[], None]) -> bool:
        """True: it is answered (`answer_now`), or one of the two, the answer or `go_on`, follows later, once.
        False: this front knows nothing.
        """

    def answered(self, request: "Request", results: Results, start: int) -> None:
        """A request that this front was asked about, and did not answer, has got its answer: from the pipeline, or from
        another front (`request.notes.cache`).

        An answer in chunks comes whole: each output has the chunks on a new first axis, `request.rows` of them.
        """

    def failed(self, request: "Request", error: RequestError) -> None:
        """The same, with an error; ClientLeftError: it will get no answer; also of one that this front holds."""

    def stale(self, request: "Request") -> Results | None:
        """An older answer to the same request, for who has no other; all rows of it are the request's."""

    def close(self) -> None: ...


@runtime_checkable
class QuickFront(Front, Protocol):
    """One that may have the answer at hand."""

    def at_once(self, request: "Request") -> bool:
        """True: it is answered. False: it is not, and `ask` follows."""


class Fronts:
    """The fronts of one live configuration, in the order in which they are asked."""

    client_left: ClassVar = ClientLeftError("the client left")

    __slots__ = (
        "_at_once",
        "_fronts",
        "_has_caches",
        "_hit_us",
        "_hits",
        "_miss_us",
        "_misses",
        "_on_way",
        "_runtime",
        "num_held",
        "stages",
    )

    def __init__(
        self,
        fronts: Sequence[Front],
        runtime: "Runtime",
        counts: Counts | None = None,
        stages: "StageCaches | None" = None,
    ) -> None:
        """Args: counts: of the configuration. stages: whose outputs are remembered."""
        self._fronts = tuple(fronts)
        self._has_caches = any(front.name in CACHE_OUTCOMES for front in fronts)
        self._runtime = runtime
        # The first front may say at once whether it has the answer: then nothing is made for the way past the others.
        first = self._fronts[0] if fronts else None
        self._at_once = first.at_once if isinstance(first, QuickFront) else None
        self.stages = stages
        counts = counts or Counts()
        self._hits = counts.of("nv_cache_num_hits_per_model")
        self._misses = counts.of("nv_cache_num_misses_per_model")
        self._hit_us = counts.of("nv_cache_hit_duration_per_model")
        self._miss_us = counts.of("nv_cache_miss_duration_per_model")
        self._on_way: dict[Request, Asked] = {}  # in the pipeline
        self.num_held = 0  # requests that a front has taken and neither answered nor let go

    def take(self, request: "Request") -> None:
        """The request's `reply` gets exactly one answer, now or later, from a front or from the pipeline."""
        if self._at_once is not None and self._at_once(request):
            return
        asked = Asked(self, request)
        request.reply = asked
        asked.ask_next()

    def stale(self, request: "Request") -> Results | None:
        """What the first front that has an older answer would give."""
        for front in self._fronts:
            found = front.stale(request)
            if found is not None:
                return found
        return None

    def left(self, request: "Request") -> None:
        """The runtime has given up a request whose client left: its reply is not called any more."""
        asked = self._on_way.pop(request, None)
        if asked is not None:
            asked.leave()

    def close(self) -> None:
        for front in self._fronts:
            front.close()

    def submit(self, asked: "Asked", request: "Request") -> None:
        """No front knows the answer."""
        if self._has_caches:
            notes = request.notes = request.notes or Notes()
            notes.cache = notes.cache or "miss"
            self._misses.value += 1
            self._miss_us.value += (self._runtime.now_ns() - request.arrival_ns) / 1000
        self._on_way[request] = asked
        if request.stage == REQUEST:
            try:
                request.live.begin(request)
            except RequestError as error:
                self._runtime.fail(request, error, "OTHER")
                return
        if self.stages is None:
            self._runtime.submit(request)
        else:
            self.stages.submit(request)

    def hit(self, request: "Request", now_ns: int) -> None:
        """A front answers it."""
        self._hits.value += 1
        self._hit_us.value += (now_ns - request.arrival_ns) / 1000

    def released(self) -> None:
        """A request is not held any more."""
        self.num_held -= 1
        self._runtime.free_retired()

    def forget(self, request: "Request") -> None:
        self._on_way.pop(request, None)

    @property
    def all(self) -> Sequence[Front]:
        return self._fronts

    def front(self, place: int) -> Front | None:
        return self._fronts[place] if place < len(self._fronts) else None

    def now_ns(self) -> int:
        return self._runtime.now_ns()


class Held(Protocol):
    """What stands for a request that a front holds, where the runtime looks (`Request.split`)."""

    def cancel(self) -> None: ...


def tenant_of(request: "Request") -> str:
    """Whose request it is; empty where there are no tenants."""
    return "" if request.options is None else request.options.tenant


def answer_now(
    request: "Request",
    tensors: Mapping[str, NDArray[Any]],
    rows: int,
    cache: str,
    *,
    now_ns: int | None = None,
    answered_by: str | list[str] = "",
    results: Results | None = None,
) -> None:
    """Answer a request with these outputs, all rows of which are its own; no engine has run.

    Args: rows: of the outputs; of a streaming service: chunks, on a first axis of their own (as `Front.answered` is given
        them). cache: one of spec.row.CACHE_OUTCOMES. now_ns: by the runtime's clock; by default read here.
        answered_by: the model, or the one of each row, where there are exits; by default the last one.
        results: these outputs, where they have been given before: what writing them took is not done again.
    """
    live = request.live
    if now_ns is None:
        now_ns = MonotonicClock.now_ns() if live.fronts is None else live.fronts.now_ns()
    notes = request.notes = request.notes or Notes()
    notes.cache = cache
    request.formed_ns = request.started_ns = request.ended_ns = now_ns
    request.batch_rows = 0
    request.state = DONE
    if now_ns > request.end_by_ns:
        live.answered_counters.fail("LATE", now_ns - request.received_ns)
        late_ms = (now_ns - request.end_by_ns) / 1e6
        request.reply.fail(
            request, DeadlineError(f"the deadline passed {late_ms:.1f} ms before the answer was ready")
        )
        return
    if live.fronts is not None:
        live.fronts.hit(request, now_ns)
    if live.exits is not None:
        request.exit = answered_by or live.exits.last_model.name
    if live.streams:
        _stream_now(request, tensors, rows)
        return
    request.rows = rows
    if results is None or not live.signature.batch_axis:
        results = Results(tensors, live.signature.batch_axis, rows)
    request.reply.answer(request, results, 0)


def _stream_now(request: "Request", tensors: Mapping[str, NDArray[Any]], num_chunks: int) -> None:
    reply: StreamReply = request.reply  # type: ignore[assignment]  # who sends to a streaming model takes chunks
    for place in range(num_chunks):
        reply.chunk(request, Results({name: array[place] for name, array in tensors.items()}, False, 1))
    reply.ended(request, None)
