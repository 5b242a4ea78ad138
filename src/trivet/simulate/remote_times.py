"""What was measured of a remote model: single tries at its upstreams, by how many were on their way at once."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from trivet.pipeline.tries import Why


class Tries(msgspec.Struct, frozen=True, kw_only=True):
    """Of one upstream at one load. good_ns: times of good answers.  failed: time and why of the others."""

    good_ns: list[int] = []
    failed: list[tuple[int, Why]] = []


class RemoteTimes(msgspec.Struct, frozen=True, kw_only=True):
    """tries: upstream -> tries on their way at once, on average -> what became of them.  call_ns: of the event loop, for a
    call, beside what a request costs it anyway.  tokens: of an answered call, of its input and its output, on average.
    """

    tries: dict[str, dict[int, Tries]]
    call_ns: int = 0
    tokens: tuple[float, float] = (0.0, 0.0)

    def lacks(self, upstreams: Sequence[str]) -> str:
        """Empty, or the first of the upstreams that was never asked."""
        return next((name for name in upstreams if not self.tries.get(name)), "")

    def most_calls_rps(self, upstreams: Sequence[str]) -> float:
        """Calls a second, spread over the upstreams, at which hardly ever more are on their way than were profiled.

        Calls that come at random and take t on average are Poisson in number, with mean m = rate * t: m + 3 * sqrt(m) is
        exceeded 0.3 % of the time or less often.
        """
        found = 0.0
        for name in upstreams:
            levels = {level: tries.good_ns for level, tries in self.tries[name].items() if tries.good_ns}
            if levels:
                most = max(levels)
                mean = ((math.sqrt(9 + 4 * most) - 3) / 2) ** 2
                found += mean * 1e9 / (sum(levels[most]) / len(levels[most]))
        return found
