"""Turns: several loads in one stretch of time, each for a moment, then the next one's.

What one load is has no gaps: it is offered piece by piece, a piece in each of its turns, and what comes back is put
together again. So two servers can be asked within a few tens of milliseconds of each other, and whatever the machine does
for longer than that meets both.
"""

import msgspec
import numpy as np
from numpy.typing import NDArray

from trivet.errors import SpecError


class Turns(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When one load has its turns: ns from the start of all, ascending; each lasts `length_ns`."""

    length_ns: int
    begins_ns: tuple[int, ...]

    def gaps_ns(self, instants_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        """How much later than in a load of its own each instant comes: shape (n,), ns. Args: instants_ns: of the load.

        Raises: SpecError: an instant lies behind the last turn.
        """
        places = instants_ns // self.length_ns
        if len(places) and places.max() >= len(self.begins_ns):
            raise SpecError(
                f"{len(self.begins_ns)} turns of {self.length_ns} ns end before the load, at {int(instants_ns.max())} ns"
            )
        begins_ns = np.array(self.begins_ns, np.int64)
        return np.asarray(begins_ns[places] - places * self.length_ns, np.int64)


def deal(num_loads: int, duration_ns: int, length_ns: int, seed: int) -> list[Turns]:
    """Turns for each of so many loads that last `duration_ns`: round by round, in an order that is drawn for each."""
    num_rounds = -(-duration_ns // length_ns)
    rng = np.random.default_rng(seed)
    places = rng.permuted(np.tile(np.arange(num_loads), (num_rounds, 1)), axis=1)
    begins_ns = (np.arange(num_rounds)[:, np.newaxis] * num_loads + places) * length_ns
    return [Turns(length_ns=length_ns, begins_ns=tuple(begins_ns[:, i].tolist())) for i in range(num_loads)]
