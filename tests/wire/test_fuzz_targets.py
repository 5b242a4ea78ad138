"""The fuzz targets themselves: every seed is a right input, and a few thousand damaged ones pass without a fuzzer."""

import random
from importlib import import_module

import pytest

from fuzz import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_and_damaged_seeds_pass(name: str) -> None:
    target = import_module(f"fuzz.{name}")
    rng = random.Random(1)
    for seed in target.SEEDS.values():
        target.check(seed)
        for _ in range(20):
            data = bytearray(seed)
            for _ in range(rng.randint(1, 4)):
                at = rng.randrange(len(data) + 1)
                data[at : at + rng.randint(0, 3)] = rng.choice(
                    [b"", rng.randbytes(2), rng.choice(target.TOKENS)]
                )
            target.check(bytes(data))
    assert len(target.SEEDS) >= 3
