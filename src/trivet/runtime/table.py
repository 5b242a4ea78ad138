"""The live configurations of one service, and which of them answers a request."""

import zlib
from collections.abc import Sequence

from trivet.errors import UnavailableError
from trivet.runtime.live import LiveService

_SHARES = 1 << 32
_GOLDEN = 2_654_435_769  # 2**32 over the golden ratio


class LiveTable:
    """Weighted live configurations of one service version. Replacing the entries is one assignment: atomic."""

    __slots__ = ("_bounds", "_entries", "_place", "only")

    def __init__(self, entries: Sequence[tuple[LiveService, float]] = ()) -> None:
        self._place = 0
        self.replace(entries)

    def replace(self, entries: Sequence[tuple[LiveService, float]]) -> None:
        """Args: entries: configurations with their shares of the traffic (any positive unit)."""
        total = sum(share for _, share in entries)
        bounds, reached = [], 0.0
        for live, share in entries:
            reached += share
            bounds.append((round(_SHARES * reached / total), live))
        self._entries = tuple(live for live, _ in entries)
        self._bounds = tuple(bounds)
        self.only = self._entries[0] if len(self._entries) == 1 else None

    @property
    def entries(self) -> tuple[LiveService, ...]:
        return self._entries

    def pick(self, key: bytes) -> LiveService:
        """The configuration for a request key: the same for the same key as long as the shares stand.

        Requests without a key are dealt out in turn: of any n in a row each configuration gets its share of n, give
        or take two or so (the multiples of the golden ratio modulo 1 are spread evenly at every n: Weyl, Knuth).

        Raises: UnavailableError: nothing is live.
        """
        if self.only is not None:
            return self.only
        if key:
            place = zlib.crc32(key)
        else:
            place = self._place = (self._place + _GOLDEN) % _SHARES
        for bound, live in self._bounds:
            if place < bound:
                return live
        raise UnavailableError("no configuration of this service is live")

    def by_hash(self, prefix: str) -> LiveService | None:
        for live in self._entries:
            if live.hash.startswith(prefix):
                return live
        return None
