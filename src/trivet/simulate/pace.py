"""How fast the machine is from moment to moment: recorded stretches of its pace, one after the other in another order.

What else runs on a machine makes the same work take longer for milliseconds, for seconds and for minutes alike, so that
slow batches come together. A queue that is nearly full knows the difference: a tail is made of such a stretch.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

import numpy as np

_NEVER: Final = 1 << 62


class Pace:
    """`factor` of all times, until virtual time `until_ns`; then `go_on`.

    Args: stretches: factors in the order measured, each of which holds for step_ns; none: always 1.
    rng: its own, so that the machine is the same whatever else is drawn.
    """

    __slots__ = ("_begun_ns", "_lasts", "_now", "_rng", "_step_ns", "_stretches", "factor", "until_ns")

    def __init__(
        self,
        stretches: Sequence[Sequence[float]],
        step_ns: int,
        rng: np.random.Generator,
    ) -> None:
        self._stretches, self._step_ns, self._rng = stretches, step_ns, rng
        self._lasts = list(accumulate(map(len, stretches)))
        self.factor, self.until_ns = 1.0, _NEVER
        if stretches:
            self.until_ns = 0
            self._begin(0)

    def go_on(self, now_ns: int) -> None:
        """To the pace at `now_ns`, which is not before `until_ns`."""
        place = (now_ns - self._begun_ns) // self._step_ns
        if place >= len(self._now):
            # Another stretch, from where the last one ended; from now on, where nobody looked for so long.
            end_ns = self._begun_ns + len(self._now) * self._step_ns
            self._begin(now_ns if now_ns - end_ns >= self._step_ns else end_ns)
            place = 0
        self.factor = self._now[place]
        self.until_ns = self._begun_ns + (place + 1) * self._step_ns

    def _begin(self, at_ns: int) -> None:
        """One of the stretches, each as likely as it is long."""
        step = int(self._rng.integers(self._lasts[-1]))
        self._now = self._stretches[bisect_right(self._lasts, step)]
        self._begun_ns = at_ns
