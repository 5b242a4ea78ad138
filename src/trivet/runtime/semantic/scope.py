"""The entries that may answer one kind of request: of one tenant, with the same other inputs."""

from collections import OrderedDict
from collections.abc import Callable

from trivet.pipeline.semantic.looking import NUM_NEIGHBOURS, Entry
from trivet.runtime.semantic.encoders import Vector
from trivet.runtime.semantic.index import Index

Scope = tuple[str, bytes]  # tenant, digest of the other inputs
# From this cosine on two texts are the same to the encoder.
_SAME = 0.9999


class Scopes:
    """Entries by scope, with an index each; bounded together, those used least recently go first."""

    def __init__(self, max_entries: int, ttl_ns: int | None, new_index: Callable[[], Index]) -> None:
        self._max_entries = max_entries
        self._ttl_ns = ttl_ns
        self._new_index = new_index
        self._indexes: dict[Scope, Index] = {}
        self._by_text: dict[tuple[Scope, str], Entry] = {}  # the newest of each
        self._entries: OrderedDict[int, tuple[Scope, Entry]] = OrderedDict()  # least recently used first
        self._next = 0

    def __len__(self) -> int:
        return len(self._entries)

    def search(self, scope: Scope, vector: Vector, text: str, now_ns: int) -> list[tuple[float, Entry]]:
        """The most similar entries that still may answer, the most similar first; one with the same text is never missed."""
        index = self._indexes.get(scope)
        if index is None:
            return []
        found = [
            (min(1.0, cosine), self._entries[key][1]) for cosine, key in index.search(vector, NUM_NEIGHBOURS)
        ]
        same = self._by_text.get((scope, text))
        if same is not None and all(entry is not same for _, entry in found):
            found = [(1.0, same), *found[: NUM_NEIGHBOURS - 1]]
        if self._ttl_ns is None:
            return found
        fresh = []
        for cosine, entry in found:
            if now_ns - entry.since_ns < self._ttl_ns:
                fresh.append((cosine, entry))
            else:
                self.remove(entry.key)
        return fresh

    def add(self, scope: Scope, vector: Vector, entry: Entry) -> None:
        """`entry.key` is set."""
        index = self._indexes.get(scope)
        if index is None:
            index = self._indexes[scope] = self._new_index()
        entry.key, self._next = self._next, self._next + 1
        index.add(entry.key, vector)
        self._entries[entry.key] = (scope, entry)
        self._by_text[scope, entry.wording.text] = entry
        if len(self._entries) > self._max_entries:
            self.remove(next(iter(self._entries)))

    def used(self, entry: Entry) -> None:
        if entry.key in self._entries:
            self._entries.move_to_end(entry.key)

    def contradicted(self, found: list[tuple[float, Entry]], answer: int | None) -> None:
        """The pipeline gave another answer to what these entries were asked: the same text, so they are out of date."""
        for cosine, entry in found:
            if cosine < _SAME:
                return
            if entry.answer != answer:
                self.remove(entry.key)

    def remove(self, key: int) -> None:
        removed = self._entries.pop(key, None)
        if removed is None:
            return
        scope, entry = removed
        if self._by_text.get((scope, entry.wording.text)) is entry:
            del self._by_text[scope, entry.wording.text]
        index = self._indexes[scope]
        index.remove(key)
        if not len(index):
            del self._indexes[scope]

    def clear(self) -> None:
        self._entries.clear()
        self._by_text.clear()
        self._indexes.clear()
