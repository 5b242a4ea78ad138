"""What was measured of a remote model: single tries at its upstreams, by how many were on their way at once."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from trivet.pipeline.tries import Why


class Tries(msgspec.Struct, frozen=True, kw_only=True):
    """Of one upstream at one load. good_ns: times of good answers.  failed: time and why of the others."""

    good_ns: list[int] = []
    failed: list[tuple[int, Why]] = []


class RemoteTimes(msgspec.Struct, frozen=True, kw_only=True):
    """tries: upstream -> tries on their way at once, on average -> what became of them.  call_ns: of the event loop, for a
    call, beside what a request costs it anyway."""

    tries: dict[str, dict[int, Tries]]
    call_ns: int = 0

    def lacks(self, upstreams: Sequence[str]) -> str:
        """Empty, or the first of the upstreams that was never asked."""
        return next((name for name in upstreams if not self.tries.get(name)), "")
