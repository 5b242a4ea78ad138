"""One configuration's answers in the store that servers share."""

import time
from collections.abc import Callable
from functools import partial
from typing import Final

from trivet.runtime.counts import Counts
from trivet.runtime.fronts.kept import Kept
from trivet.runtime.fronts.redis_store import RedisStore
from trivet.runtime.fronts.shared_entry import KEY_PREFIX, decode_entry, encode_entry

# A request that has less time than so many times the store's patience asks its pipeline at once: half of it may pass before
# the store has said nothing.
_LEAST_PATIENCES: Final = 4
_LOOKUPS: Final = "trivet_cache_shared_lookups_total"
_STORES: Final = "trivet_cache_shared_stores_total"


class SharedAnswers:
    """Keys are digests that cover the tenant and the configuration (`wire/canonical.py`)."""

    def __init__(
        self,
        store: RedisStore,
        counts: Counts,
        now_ns: Callable[[], int],
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._store = store
        self._counts = counts
        self._now_ns = now_ns
        self._wall_ns = wall_ns
        self._up = counts.of("trivet_cache_shared_up")
        self._up.value = int(store.is_up)
        store.watchers.append(self._watch)

    def close(self) -> None:
        self._store.watchers.remove(self._watch)

    def look_up(self, key: bytes, end_by_ns: int, now_ns: int, done: Callable[[Kept | None], None]) -> bool:
        """True: `done` is called later, once. False: the store is not asked."""
        if not self._store.is_up or end_by_ns - now_ns < _LEAST_PATIENCES * self._store.patience_ns:
            self._counts.add(_LOOKUPS, outcome="no_time" if self._store.is_up else "down")
            return False
        self._store.get(KEY_PREFIX + key, partial(self._got, key, done))
        return True

    def _got(self, key: bytes, done: Callable[[Kept | None], None], data: bytes | None, word: str) -> None:
        kept = None
        if data is not None:
            kept = decode_entry(key, data, self._now_ns(), self._wall_ns())
            word = "foreign" if kept is None else "hit"
        self._counts.add(_LOOKUPS, outcome=word)
        done(kept)

    def store(self, key: bytes, kept: Kept, ttl_ns: int | None) -> None:
        """Nobody waits for it; what the store does not take is computed again elsewhere."""
        if not self._store.is_up:
            self._counts.add(_STORES, outcome="down")
            return
        age_ns = self._now_ns() - kept.stored_ns
        if ttl_ns is not None:
            ttl_ns -= age_ns
            if ttl_ns < 1_000_000:  # the store counts in milliseconds
                return
        data = encode_entry(key, kept, age_ns, self._wall_ns())
        self._store.put(KEY_PREFIX + key, data, ttl_ns, self._stored)

    def _stored(self, word: str) -> None:
        self._counts.add(_STORES, outcome=word)

    def _watch(self, is_up: bool) -> None:
        self._up.value = int(is_up)
