"""What one worker keeps of answers and stages, bounded by bytes: the least recently used goes first."""

from cachetools import LRUCache

from trivet.runtime.fronts.kept import Kept


class LocalStore:
    """Whether an entry is still fresh is for its user to say: an old one stays until its room is needed."""

    __slots__ = ("_entries",)

    def __init__(self, size_bytes: int) -> None:
        self._entries: LRUCache[bytes, Kept] = LRUCache(size_bytes, getsizeof=_num_bytes)

    @property
    def num_bytes(self) -> int:
        return int(self._entries.currsize)

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes) -> Kept | None:
        return self._entries.get(key)

    def put(self, key: bytes, kept: Kept) -> bool:
        """False: it is larger than all the room there is."""
        if kept.num_bytes > self._entries.maxsize:
            return False
        self._entries[key] = kept
        return True

    def clear(self) -> None:
        self._entries.clear()


def _num_bytes(kept: Kept) -> int:
    return kept.num_bytes
