"""Which requests of a sequence a semantic cache answers, and which of its answers are wrong: by the policy itself.

`pipeline/semantic/` decides about one request after the other, each answered before the next comes; texts, likeness and
meanings are those that were measured of the inputs. What it learns does not depend on how long answers take, so that the
outcomes of a sequence are found once and hold at any rate and for any configuration behind it.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trivet.pipeline.semantic.looking import NUM_NEIGHBOURS, Entry, look
from trivet.pipeline.semantic.policy import Policy
from trivet.pipeline.semantic.wording import Wording, read
from trivet.simulate.front_table import NO_MEANING, SemanticTable
from trivet.simulate.setup import SemanticSetup

NO_HIT: Final = 0
RIGHT: Final = 1
WRONG: Final = 2
_SAME = 0.9999  # as in runtime/semantic/scope.py: two texts are one to the encoder
_MOST_KEPT = 64  # sequences whose outcomes are remembered

Ints = NDArray[np.int64]


def semantic_outcomes(
    table: SemanticTable,
    setup: SemanticSetup,
    items: Ints,
    is_asked: NDArray[np.bool_],
    arrivals_ns: Ints,
) -> NDArray[np.uint8]:
    """NO_HIT, RIGHT or WRONG for each request, shape (n,).

    Args: items: which input each request carries.  is_asked: the caches before this one do not answer it.
    arrivals_ns: ascending; they matter where entries live for a limited time.
    """
    instants = b"" if setup.ttl_ns is None else arrivals_ns.tobytes()
    found = _outcomes(table, setup, items.tobytes(), is_asked.tobytes(), instants)
    return np.frombuffer(found, np.uint8)


def _by_likeness(found: tuple[float, Entry]) -> tuple[float, int]:
    """The most similar first, the newest of those that are equally so."""
    return -found[0], -found[1].key


@lru_cache(maxsize=_MOST_KEPT)
def _outcomes(
    table: SemanticTable, setup: SemanticSetup, items: bytes, is_asked: bytes, instants: bytes
) -> bytes:
    sequence = np.frombuffer(items, np.int64).tolist()
    asked = np.frombuffer(is_asked, np.bool_).tolist()
    at_ns = np.frombuffer(instants, np.int64).tolist() if instants else [0] * len(sequence)
    cache = _Cache(table, setup)
    return bytes(
        cache.ask(item, now_ns) if is_one and table.texts[item] else NO_HIT
        for item, is_one, now_ns in zip(sequence, asked, at_ns, strict=True)
    )


class _Cache:
    """The front of runtime/semantic/ on inputs by their numbers."""

    def __init__(self, table: SemanticTable, setup: SemanticSetup) -> None:
        self._table, self._ttl_ns, self._max_entries = table, setup.ttl_ns, setup.size
        self._policy = Policy(setup.max_wrong, setup.audit, setup.seed)
        self._wordings: dict[int, Wording] = {}
        self._similarities = table.similarities()
        self._order: dict[int, list[int]] = {}  # of all inputs by their likeness to one
        self._of_input: dict[int, list[Entry]] = {}
        self._entries: OrderedDict[int, tuple[int, Entry]] = OrderedDict()  # least recently used first
        self._next = 0

    def ask(self, item: int, now_ns: int) -> int:
        wording, meaning = self._wording(item), self._table.meanings[item]
        found = self._search(item, now_ns)
        decision = self._policy.decide(look(wording, found, self._policy.records))
        if decision.is_hit and decision.look is not None:
            entry = decision.look.entry
            self._entries.move_to_end(entry.key)
            return RIGHT if entry.answer == meaning else WRONG
        is_known = meaning != NO_MEANING
        is_right = decision.look is not None and is_known and decision.look.answer == meaning
        if self._policy.learn(decision, is_right):
            self._entries.clear()
            self._of_input.clear()
        fitting = self._policy.due()
        if fitting is not None:
            self._policy.adopt(fitting.run())
        if is_known:
            self._contradict(found, meaning)
            self._add(item, Entry(0, wording, meaning, now_ns))
        return NO_HIT

    def _wording(self, item: int) -> Wording:
        found = self._wordings.get(item)
        if found is None:
            found = self._wordings[item] = read(self._table.texts[item])
        return found

    def _search(self, item: int, now_ns: int) -> list[tuple[float, Entry]]:
        likeness = self._similarities[item]
        order = self._order.get(item)
        if order is None:
            order = self._order[item] = np.argsort(-likeness, kind="stable").tolist()
        found: list[tuple[float, Entry]] = []
        for other in order:
            cosine = float(likeness[other])
            if len(found) >= NUM_NEIGHBOURS and cosine < found[-1][0]:
                break
            found += [(cosine, entry) for entry in self._of_input.get(other, ())]
        found.sort(key=_by_likeness)
        found = found[:NUM_NEIGHBOURS]
        if self._ttl_ns is None:
            return found
        for _, entry in found:
            if now_ns - entry.since_ns >= self._ttl_ns:
                self._remove(entry.key)
        return [(cosine, entry) for cosine, entry in found if entry.key in self._entries]

    def _contradict(self, found: list[tuple[float, Entry]], meaning: int) -> None:
        for cosine, entry in found:
            if cosine < _SAME:
                return
            if entry.answer != meaning:
                self._remove(entry.key)

    def _add(self, item: int, entry: Entry) -> None:
        entry.key, self._next = self._next, self._next + 1
        self._entries[entry.key] = (item, entry)
        self._of_input.setdefault(item, []).append(entry)
        if len(self._entries) > self._max_entries:
            self._remove(next(iter(self._entries)))

    def _remove(self, key: int) -> None:
        removed = self._entries.pop(key, None)
        if removed is not None:
            self._of_input[removed[0]].remove(removed[1])
