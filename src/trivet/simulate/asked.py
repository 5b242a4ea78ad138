"""Which of the measured inputs the requests of a simulation carry: a live run's own, or drawn by their popularity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trivet.load.popularity import picks
from trivet.simulate.errors import NotProfiledError
from trivet.simulate.profile import ServiceProfile
from trivet.simulate.setup import Setup

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """items: of each request; None: drawn.  zipf: the exponent of the popularity of those that are drawn; 0: all alike.

    num_known: so many of the first inputs were asked before: an exact cache knows them.
    """

    items: Ints | None = None
    zipf: float = 0.0
    num_known: int = 0


EVENLY: Final = Asked()


def items_of(
    profile: ServiceProfile, setup: Setup, asked: Asked, num: int, rng: np.random.Generator
) -> Ints | None:
    """Shape (num,); None: nothing depends on them.

    Raises: NotProfiledError: requests carry inputs that the profile does not know.
    """
    table = profile.fronts
    if table is None or (setup.fronts is None and not asked.zipf and asked.items is None):
        return None
    if asked.items is None:
        return picks(num, table.num_inputs, asked.zipf, rng)
    if len(asked.items) and int(asked.items.max()) >= table.num_inputs:
        if setup.fronts is None:
            return None
        raise NotProfiledError(
            f"not simulated: requests carry input {int(asked.items.max())}, and {table.num_inputs} were profiled; profile "
            "it again (--again) with as many"
        )
    return asked.items
