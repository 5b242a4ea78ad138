"""The front that answers a request with the answer to another that means the same."""

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivet.errors import RequestError
from trivet.pipeline.semantic.looking import Entry, look
from trivet.pipeline.semantic.policy import Decision, Policy
from trivet.pipeline.semantic.wording import Wording, read
from trivet.runtime.counts import Counts
from trivet.runtime.fronts.front import answer_now
from trivet.runtime.request import Request
from trivet.runtime.results import Results
from trivet.runtime.semantic.encoders import Vector
from trivet.runtime.semantic.encoding import Encodings
from trivet.runtime.semantic.index import Index, UsearchIndex
from trivet.runtime.semantic.learning import Learning
from trivet.runtime.semantic.meanings import Meaning
from trivet.runtime.semantic.preparing import PreparedSemantic
from trivet.runtime.semantic.scope import Scope, Scopes
from trivet.runtime.semantic.topics import Topics
from trivet.schedule.job import WAITING

KIND = "semantic"
# Longer texts are the pipeline's: what differs in them drowns in what does not, and they take long to read.
LONGEST_TEXT = 4_000


@dataclass(slots=True)
class _Asked:
    """A request that the pipeline answers, until it does."""

    scope: Scope
    vector: Vector
    wording: Wording
    found: list[tuple[float, Entry]]
    decision: Decision


@dataclass(frozen=True, slots=True)
class _Kept:
    """An answer of the pipeline. word: what it means, for people."""

    outputs: Mapping[str, NDArray[Any]]
    rows: int
    word: str


class SemanticFront:
    """Of one live configuration in one worker: what it learns and keeps ends with them.

    Args: now_ns: the runtime's clock.
    """

    name = KIND

    def __init__(
        self,
        prepared: PreparedSemantic,
        loop: asyncio.AbstractEventLoop,
        counts: Counts,
        now_ns: Callable[[], int],
        new_index: Callable[[int], Index] = UsearchIndex,
    ) -> None:
        declared, self._encoder = prepared.declared, prepared.encoder
        self.policy = Policy(declared.max_wrong, declared.audit, declared.seed)
        size, ttl_ns = prepared.encoder.size, None if declared.ttl_ns == "none" else declared.ttl_ns
        self._entries = Scopes(declared.size, ttl_ns, lambda: new_index(size))
        self._meanings = prepared.meanings
        self._place, self._topic_place = prepared.place, prepared.topic_place
        self._topics = None if declared.topic is None else Topics(counts)
        self._encodings = None if prepared.encoder.is_quick else Encodings(prepared.encoder, loop)
        self._learning = Learning(self.policy, loop)
        self._counts, self._now_ns = counts, now_ns
        self._lookups = counts.of("trivet_cache_lookups_total", kind=KIND)
        self._hits = counts.of("trivet_cache_hits_total", kind=KIND)
        self._asked: dict[Request, _Asked] = {}

    def ask(self, request: Request, go_on: Callable[[], None]) -> bool:
        text = _text_of(request, self._place)
        if text is None or len(text) > LONGEST_TEXT:
            return False
        self._lookups.value += 1
        if self._encodings is None:
            return self._answer(request, text, self._encoder.encode(text))
        if self._encodings.is_stuck:
            self._failed_to_encode()
            return False

        def take(vector: Vector | None) -> None:
            if vector is None:
                self._failed_to_encode()
                go_on()
            elif not self._answer(request, text, vector):
                go_on()

        self._encodings.start(text, request.end_by_ns - self._now_ns(), take)
        return True

    def _failed_to_encode(self) -> None:
        self._counts.add("trivet_semantic_encoder_failures_total")

    def _answer(self, request: Request, text: str, vector: Vector) -> bool:
        """Whether the request is answered; else it is remembered, to learn from the pipeline's answer."""
        if request.state != WAITING or not vector.any():  # its client left; or the text says nothing
            return False
        scope = _scope_of(request, self._place)
        wording = read(text)
        found = self._entries.search(scope, vector, text, self._now_ns())
        decision = self.policy.decide(look(wording, found, self.policy.records))
        if decision.is_hit and decision.look is not None:
            self._give(request, decision.look.entry, decision.claimed)
            return True
        self._asked[request] = _Asked(scope, vector, wording, found, decision)
        return False

    def _give(self, request: Request, entry: Entry, claimed: float) -> None:
        self._entries.used(entry)
        self._hits.value += 1
        if self._topics is not None:
            self._topics.hit(self._topic(request, entry), claimed)
        self._show()
        kept: _Kept = entry.value
        answer_now(request, kept.outputs, kept.rows, KIND, now_ns=self._now_ns())

    def answered(self, request: Request, results: Results, start: int) -> None:
        asked = self._asked.pop(request, None)
        if asked is None or (request.notes is not None and request.notes.instead):
            return  # not asked about; or the answer is not what the pipeline would say
        outputs = {name: array.copy() for name, array in results.part(start, request.rows).items()}
        meaning = self._meanings.of(outputs)
        self._learn(request, asked.decision, meaning)
        if meaning is not None:
            self._entries.contradicted(asked.found, meaning.number)
            kept = _Kept(outputs, request.rows, meaning.word)
            entry = Entry(0, asked.wording, meaning.number, self._now_ns(), kept)
            self._entries.add(asked.scope, asked.vector, entry)
        self._show()

    def _learn(self, request: Request, decision: Decision, meaning: Meaning | None) -> None:
        proposed = decision.look
        is_right = proposed is not None and meaning is not None and proposed.answer == meaning.number
        if decision.is_audit and proposed is not None:
            outcome = "right" if is_right else "wrong"
            self._counts.add("trivet_semantic_audits_total", outcome=outcome)
            if self._topics is not None:
                self._topics.audit(self._topic(request, proposed.entry), outcome)
        if self.policy.learn(decision, is_right):
            self._entries.clear()
            self._counts.add("trivet_semantic_alarms_total")
        self._learning.step()

    def failed(self, request: Request, error: RequestError) -> None:
        self._asked.pop(request, None)

    def stale(self, request: Request) -> Results | None:
        return None  # an answer to another question is no older answer to this one

    def close(self) -> None:
        self._entries.clear()
        self._learning.close()
        if self._encodings is not None:
            self._encodings.close()

    def _topic(self, request: Request, proposed: Entry) -> str:
        if self._topic_place is not None:
            return _text_of(request, self._topic_place) or ""
        kept: _Kept = proposed.value
        return kept.word

    def _show(self) -> None:
        self._counts.set("trivet_semantic_entries", len(self._entries))
        self._counts.set("trivet_semantic_claimed_wrong", self.policy.spent)


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
            parts = (
                data.tolist() if isinstance(data, np.ndarray) and data.dtype.kind == "O" else [bytes(data)]
            )
            for part in parts:
                digest.update(len(part).to_bytes(8, "little") + part)
    return tenant, digest.digest()
