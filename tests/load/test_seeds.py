import numpy as np
import pytest

from trivet.errors import SpecError
from trivet.load.arrivals import Recorded
from trivet.load.job import HttpRequest, Job, OpenLoop
from trivet.load.seeds import PURPOSES, generator


def test_every_purpose_has_numbers_of_its_own() -> None:
    draws = {purpose: generator(7, purpose).integers(2**60) for purpose in PURPOSES}
    assert len(set(draws.values())) == len(PURPOSES)
    assert generator(8, "items").integers(2**60) != draws["items"]
    assert generator(7, "items").integers(2**60) == draws["items"]


def test_the_streams_are_those_that_one_seed_spawns() -> None:
    spawned = np.random.SeedSequence(3).spawn(len(PURPOSES))
    for purpose, sequence in zip(PURPOSES, spawned, strict=True):
        assert generator(3, purpose).random() == np.random.default_rng(sequence).random()


def test_a_purpose_with_a_seed_of_its_own_leaves_the_others_alone() -> None:
    own = {"arrivals": 99}
    assert generator(7, "arrivals", own).random() == np.random.default_rng(99).random()
    assert generator(7, "items", own).random() == generator(7, "items").random()


def test_a_purpose_that_there_is_not_is_refused() -> None:
    with pytest.raises(SpecError, match="for weather; seeds: arrivals, items, scaling, order"):
        generator(1, "weather")
    with pytest.raises(SpecError, match="for weather"):
        Job(
            target="h:1",
            requests=[HttpRequest(path="/")],
            load=OpenLoop(arrivals=Recorded(at_ns=())),
            seed=1,
            seeds={"weather": 3},
        )
