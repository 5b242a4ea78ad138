"""The front that answers a request with the answer to another that means the same."""

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivet.errors import EngineError, RequestError
from trivet.pipeline.semantic.looking import Entry, look
from trivet.pipeline.semantic.policy import Decision, Policy
from trivet.pipeline.semantic.topics import Topics
from trivet.pipeline.semantic.wording import Wording, read
from trivet.runtime.counts import Counts
from trivet.runtime.front import answer_now
from trivet.runtime.request import Request
from trivet.runtime.results import Results
from trivet.runtime.semantic.encoders import Encoder, Vector
from trivet.runtime.semantic.index import Index
from trivet.runtime.semantic.meanings import Meanings
from trivet.runtime.semantic.scope import Scope, Scopes
from trivet.spec.semantic import ANSWER, SemanticCache

KIND = "semantic"


@dataclass(slots=True)
class _Asked:
    """A request that the pipeline answers, until it does."""

    scope: Scope
    vector: Vector
    wording: Wording
    found: list[tuple[float, Entry]]
    decision: Decision
    topic: str


class SemanticFront:
    """Of one live configuration in one worker: what it learns and keeps ends with them.

    Args: place: of the compared input among the request's.  topic_place: of the input that names the topic, if one does.
    pool: where an encoder that takes long runs; None: it is quick.  now_ns: the runtime's clock.
    """

    name = KIND

    def __init__(
        self,
        declared: SemanticCache,
        encoder: Encoder,
        meanings: Meanings,
        new_index: Callable[[], Index],
        place: int,
        topic_place: int | None,
        loop: asyncio.AbstractEventLoop,
        pool: Executor | None,
        counts: Counts,
        now_ns: Callable[[], int],
    ) -> None:
        self.policy = Policy(declared.budget, declared.audit_share, declared.seed)
        self.topics = Topics()
        ttl_ns = None if declared.ttl_ns == "none" else declared.ttl_ns
        self._entries = Scopes(declared.size, ttl_ns, new_index)
        self._encoder, self._meanings = encoder, meanings
        self._place, self._topic_place = place, topic_place
        self._by_answer = declared.topic == ANSWER
        self._has_topics = declared.topic is not None
        self._loop, self._pool = loop, pool
        self._counts, self._now_ns = counts, now_ns
        self._asked: dict[Request, _Asked] = {}

    def ask(self, request: Request, go_on: Callable[[], None]) -> bool:
        text = _text_of(request, self._place)
        if text is None:
            return False
        self._counts.add("trivet_cache_lookups_total", kind=KIND)
        if self._pool is None:
            try:
                vector = self._encoder.encode(text)
            except EngineError:
                self._failed_to_encode()
                return False
            return self._answer(request, text, vector)
        future = self._loop.run_in_executor(self._pool, self._encoder.encode, text)
        future.add_done_callback(lambda done: self._encoded(request, text, done, go_on))
        return True

    def _encoded(
        self, request: Request, text: str, done: "asyncio.Future[Vector]", go_on: Callable[[], None]
    ) -> None:
        if done.cancelled():  # the service is going
            go_on()
            return
        error = done.exception()
        if error is not None:
            self._failed_to_encode()
            go_on()
            return
        if not self._answer(request, text, done.result()):
            go_on()

    def _failed_to_encode(self) -> None:
        self._counts.add("trivet_semantic_encoder_failures_total")

    def _answer(self, request: Request, text: str, vector: Vector) -> bool:
        """Whether the request is answered; else it is remembered, to learn from the pipeline's answer."""
        if not vector.any():  # says nothing
            return False
        now_ns = self._now_ns()
        scope = _scope_of(request, self._place)
        wording = read(text)
        found = self._entries.search(scope, vector, now_ns)
        decision = self.policy.decide(look(wording, found, self.policy.records))
        topic = self._topic(request, decision)
        if decision.is_hit and decision.look is not None:
            entry = decision.look.entry
            self._entries.used(entry)
            self.topics.hit(topic, decision.claimed)
            self._counts.add("trivet_cache_hits_total", kind=KIND)
            self._show()
            outputs, rows = entry.value
            answer_now(request, outputs, rows, KIND, now_ns=self._now_ns())
            return True
        self._asked[request] = _Asked(scope, vector, wording, found, decision, topic)
        return False

    def answered(self, request: Request, results: Results, start: int) -> None:
        asked = self._asked.pop(request, None)
        if asked is None or request.notes is not None and request.notes.instead:  # not what the pipeline would say
            return
        outputs = _copied(results.part(start, request.rows))
        meaning = self._meanings.of(outputs)
        decision = asked.decision
        is_right = decision.look is not None and decision.look.answer == meaning
        if decision.is_audit:
            self._counts.add("trivet_semantic_audits_total", outcome="right" if is_right else "wrong")
            self.topics.audit(asked.topic, is_right)
        if self.policy.learn(decision, is_right):
            self._entries.clear()
            self._counts.add("trivet_semantic_alarms_total")
        self._show()
        if meaning is None:
            return
        self._entries.contradicted(asked.found, meaning)
        entry = Entry(0, asked.wording, meaning, self._now_ns(), (outputs, request.rows))
        self._entries.add(asked.scope, asked.vector, entry)

    def failed(self, request: Request, error: RequestError) -> None:
        self._asked.pop(request, None)

    def stale(self, request: Request) -> Results | None:
        return None  # an answer to another question is no older answer to this one

    def close(self) -> None:
        self._entries.clear()
        self._encoder.close()
        if self._pool is not None:
            self._pool.shutdown(wait=False)

    def _topic(self, request: Request, decision: Decision) -> str:
        if not self._has_topics:
            return ""
        if self._by_answer:
            return "" if decision.look is None else str(decision.look.answer)
        return _text_of(request, self._topic_place) or ""

    def _show(self) -> None:
        policy, counts = self.policy, self._counts
        counts.set("trivet_semantic_entries", len(self._entries))
        counts.set("trivet_semantic_claimed_wrong", policy.spent)


def _text_of(request: Request, place: int | None) -> str | None:
    """The only element of an input of text; None: there are several, or none, or it is no text."""
    if place is None:
        return None
    data = request.inputs[place].data
    if len(data) != 1:
        return None
    element = data[0]
    return element.decode(errors="replace") if isinstance(element, bytes) else None


def _scope_of(request: Request, place: int) -> Scope:
    tenant = "" if request.options is None else request.options.tenant
    if len(request.inputs) == 1:
        return tenant, repr(request.inputs[0].shape).encode()
    digest = hashlib.blake2b(digest_size=16)
    for number, tensor in enumerate(request.inputs):
        digest.update(repr(tensor.shape).encode())
        if number != place:
            data = tensor.data
            parts = data.tolist() if isinstance(data, np.ndarray) and data.dtype.kind == "O" else [bytes(data)]
            for part in parts:
                digest.update(len(part).to_bytes(8, "little") + part)
    return tenant, digest.digest()


def _copied(outputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {name: array.copy() for name, array in outputs.items()}
