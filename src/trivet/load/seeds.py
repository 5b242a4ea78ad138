"""One seed for each purpose: another arrival process draws the same items, another scaling the same arrivals."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from trivet.errors import SpecError

# In this order for ever: a purpose's place is what tells its stream from the others'.
PURPOSES = ("arrivals", "items", "scaling", "order")
NO_SEEDS: Mapping[str, int] = MappingProxyType({})


def generator(seed: int, purpose: str, own: Mapping[str, int] = NO_SEEDS) -> np.random.Generator:
    """The random numbers of one purpose: from its own seed, where it has one, else from the run's.

    Raises: SpecError: a purpose that there is not.
    """
    check_purposes([purpose, *own])
    if purpose in own:
        return np.random.default_rng(own[purpose])
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(PURPOSES.index(purpose),)))


def check_purposes(purposes: "list[str]") -> None:
    """Raises: SpecError: a purpose that there is not."""
    if unknown := sorted(set(purposes) - set(PURPOSES)):
        raise SpecError(f"no random numbers are drawn for {', '.join(unknown)}; seeds: {', '.join(PURPOSES)}")
