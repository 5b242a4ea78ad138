"""Caches and tables of a live server, measured for the simulator: what inputs are equal, what they mean, what a hit costs.

Each cost is what a short run shows that the same server without it does not take: all requests hits, all misses, all asked
of the semantic cache.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from trivet.errors import SpecError
from trivet.experiment.asking import Answer, ask_all
from trivet.experiment.placement import Placement
from trivet.experiment.side import Side
from trivet.experiment.simulating.fronts import has_fronts, why_not_semantic, with_fronts, without_fronts
from trivet.experiment.simulating.live_points import NUM_USERS, LivePoint, asked, closed, served
from trivet.load.inputs.reading import MAX_ROWS
from trivet.runtime.fronts.kept import keep
from trivet.runtime.semantic import hashed
from trivet.runtime.semantic.front import LONGEST_TEXT
from trivet.runtime.semantic.meanings import Meanings
from trivet.simulate.front_table import NO_MEANING, FrontTable, SemanticTable
from trivet.simulate.profile import HostCosts
from trivet.simulate.setup import Setup
from trivet.spec.cache import Cache, ExactCache
from trivet.spec.configuration import Configuration

MAX_MEANT = 1_000  # inputs whose likeness to each other is kept
_NUM_SIZED = 64  # answers whose size is looked at
_NUM_HIT = 16  # inputs of the point where all is hit: each has been asked for before
_ASKED_POINTS = 6  # as long as so many points: inputs are asked for what they mean
_AT_ONCE = 8
_CACHE_HEADER = "x-trivet-cache"
_SHORTEST_NS = 1  # of a time to live: nothing is fresh any more when it is asked for


@dataclass(slots=True)
class FrontPoints:
    """Args: declared: with all fronts that are to be measured.  patient: the same with a deadline that nobody misses.

    setup, costs: of the service and of the host without fronts.  point_ns: of each short run.
    """

    declared: Configuration
    patient: Configuration
    placement: Placement
    setup: Setup
    costs: HostCosts
    point_ns: int
    seed: int
    told: Callable[[str], None] = lambda text: None
    now_ns: Callable[[], int] = field(default=time.monotonic_ns)

    def measure(self) -> FrontTable:
        """Raises: UserError: the service does not start, or gives no answers."""
        service = self.declared.service
        why_not = why_not_semantic(self.declared)
        wants_meanings = service.semantic_cache is not None and not why_not
        most = MAX_MEANT if wants_meanings else MAX_ROWS
        workload = asked(max_inputs=most)
        with served(without_fronts(self.patient), self.placement, workload) as made:
            answers = self._asked(made, len(made.requests) if wants_meanings else _NUM_SIZED)
            num = len(answers) if wants_meanings else len(made.requests)
            keys = _numbers(made, num)
            entry_bytes = _entry_bytes(made, answers)
            semantic = _semantic(self.declared, made, answers) if wants_meanings else None
        self.told("what inputs are answered")
        hit_ns, miss_ns = self._hit_ns(), self._miss_ns()
        self.told("hits and misses of a cache")
        semantic_ns = [self._semantic_ns(hit_ns)] if semantic is not None else []
        return FrontTable(
            keys=keys,
            entry_bytes=entry_bytes,
            hit_ns=[hit_ns],
            miss_ns=[miss_ns],
            semantic_ns=semantic_ns,
            semantic=semantic,
            why_not_semantic=why_not,
            tabled={} if service.precomputed is None else {self.declared.hash: self._tabled(num)},
        )

    def _asked(self, made: Side, most: int) -> list[Answer]:
        """Answers of the first inputs, as many as there is time for; at least of some."""
        answers: list[Answer] = []
        end_ns = self.now_ns() + _ASKED_POINTS * self.point_ns
        while len(answers) < min(most, len(made.requests)) and (not answers or self.now_ns() < end_ns):
            chunk = made.requests[len(answers) : len(answers) + _NUM_SIZED]
            answers += ask_all(made.target, chunk, num_connections=_AT_ONCE)
        return answers

    # --- costs --------------------------------------------------------------------------------------------------

    def _hit_ns(self) -> int:
        with self._served(cache=Cache(exact=ExactCache())) as made:
            made.requests = made.requests[:_NUM_HIT]
            ask_all(made.target, made.requests)
            point = self._closed(made)
        return max(1, round(point.loop_ns / max(1, point.num_done)))

    def _miss_ns(self) -> int:
        with self._served(cache=Cache(exact=ExactCache(ttl_ns=_SHORTEST_NS, single_flight=False))) as made:
            point = self._closed(made)
        return self._beyond_ns(point, 0.0, 0)

    def _semantic_ns(self, hit_ns: int) -> int:
        with self._served(semantic_cache=self.declared.service.semantic_cache) as made:
            point = self._closed(made)
        self.told("the semantic cache")
        is_hit = point.rows.words["cache"].equal("semantic")
        return self._beyond_ns(point, float(is_hit.mean()) if len(is_hit) else 0.0, hit_ns)

    def _served(self, **fronts: Any) -> AbstractContextManager[Side]:
        return served(with_fronts(self.patient, **fronts), self.placement, asked())

    def _closed(self, made: Side) -> LivePoint:
        return closed(made, self.placement, NUM_USERS, self.point_ns, self.seed)

    def _beyond_ns(self, point: LivePoint, hit_share: float, hit_ns: int) -> int:
        """Of the event loop, for each request, beyond what hits, and requests that take the pipeline, take without this."""
        rows, stage_ns = point.column("batch_size"), 0.0
        if len(rows):
            stage = next((one for one in self.setup.stages if one.kind == "model"), self.setup.stages[0])
            stage_ns = _mean(self.costs.per_request_ns) + _mean(self.costs.per_batch_ns) * float(
                (1 / rows).mean()
            )
            if stage.execution == "inline":
                stage_ns += float((point.column("compute_ns") / rows).mean())
        whole_ns = point.loop_ns / max(1, point.num_done)
        return max(1, round(whole_ns - hit_share * hit_ns - (1 - hit_share) * stage_ns))

    # --- tables -------------------------------------------------------------------------------------------------

    def _tabled(self, num: int) -> list[bool]:
        """Which inputs the table of precomputed answers has, by what the service as declared says."""
        with served(self.declared, self.placement, asked(max_inputs=num)) as made:
            answers = self._asked(made, num)
        found = [answer.headers.get(_CACHE_HEADER) == "precomputed" for answer in answers]
        return found + [False] * (num - len(found))


def num_front_points(configuration: Configuration) -> int:
    """How many times it is told that something was measured."""
    service = configuration.service
    if not has_fronts(service):
        return 0
    return 2 + (service.semantic_cache is not None and not why_not_semantic(configuration))


def _numbers(made: Side, num: int) -> tuple[int, ...]:
    """Of the first inputs; equal ones have the same."""
    known: dict[bytes, int] = {}
    digests = [blake2b(request.body, digest_size=16).digest() for request in made.requests[:num]]
    return tuple(known.setdefault(digest, len(known)) for digest in digests)


def _entry_bytes(made: Side, answers: Sequence[Answer]) -> int:
    """Of a kept answer, on average; as runtime/fronts/kept.py counts."""
    kept = [
        keep(outputs, outputs.keys(), 1, 0) for one in answers[:_NUM_SIZED] if (outputs := made.outputs(one))
    ]
    if not kept:
        raise SpecError(f"{made.name} answers without outputs: there is nothing that a cache could keep")
    return round(_mean([one.num_bytes for one in kept]))


def _semantic(configuration: Configuration, made: Side, answers: Sequence[Answer]) -> SemanticTable:
    """What the first inputs say, and what they were answered. Raises: SpecError: no input holds one text."""
    service = configuration.service
    assert service.semantic_cache is not None  # asked for where there is one
    name = service.semantic_cache.input
    texts = tuple(_text(row.get(name)) for row in made.inputs[: len(answers)])
    if not any(texts):
        raise SpecError(f"no row of the data has a text for {name!r}, which the semantic cache compares")
    outputs = () if made.signature is None else made.signature.outputs
    meanings = Meanings(service.decode, outputs, Path(configuration.root))
    found = [meanings.of(made.outputs(answer)) for answer in answers]
    vectors = np.array([hashed.encode(text) for text in texts], np.float16)
    return SemanticTable(
        texts=texts,
        meanings=tuple(NO_MEANING if one is None else one.number for one in found),
        size=vectors.shape[1],
        vectors=vectors.tobytes(),
    )


def _text(value: Any) -> str:
    """As the server reads it; empty where it would not ask the cache."""
    elements = np.asarray(value, object).reshape(-1)
    if len(elements) != 1:
        return ""
    one = elements[0]
    text = one.decode(errors="replace") if isinstance(one, bytes) else str(one)
    return "" if len(text) > LONGEST_TEXT else text


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
