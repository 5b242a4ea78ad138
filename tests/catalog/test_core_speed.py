"""Cores that time fixed pieces of work while others run on them: real processes."""

import os

import numpy as np
import pytest

from trivet.catalog.core_speed import CoreSpeed, decode, encode, watching
from trivet.catalog.noise import integer_work
from trivet.errors import UserError


def test_each_core_tells_when_its_pieces_began_and_how_long_they_took() -> None:
    cores = sorted(os.sched_getaffinity(0))[:2]
    with watching(cores) as found:
        for _ in range(4000):  # some hundred milliseconds
            integer_work(1500)
    assert sorted(found) == cores
    pieces = [speed for speed in found.values() if len(speed.instants_ns)]
    assert pieces  # of the core that this test does not run on, at least
    for speed in pieces:
        assert speed.pieces_ns.shape == speed.instants_ns.shape
        assert (np.diff(speed.instants_ns) > 0).all()
        assert (speed.pieces_ns > 10_000).all()


def test_a_probe_may_end_on_another_core_than_the_one_that_others_keep_busy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It has what nobody else wants of its core: that may be nothing for seconds."""
    ours, allowed = os.sched_getaffinity(0), list[set[int]]()
    move = os.sched_setaffinity

    def moved(pid: int, cores: set[int]) -> None:
        move(pid, cores)
        allowed.append(os.sched_getaffinity(pid))

    monkeypatch.setattr(os, "sched_setaffinity", moved)
    with watching([min(ours)]):
        pass
    assert allowed == [ours]


def test_a_core_that_is_not_ours_is_told() -> None:
    with (
        pytest.raises(UserError, match=r"core 100000: its speed cannot be probed: .*--no-record"),
        watching([100_000]),
    ):
        pass


def test_what_is_kept_can_be_read_again() -> None:
    speed = CoreSpeed(np.arange(5), np.arange(5, 10))
    found = decode(encode({3: speed, 7: speed}))
    assert sorted(found) == [3, 7]
    np.testing.assert_array_equal(found[7].pieces_ns, speed.pieces_ns)
    empty = CoreSpeed(np.array([], np.int64), np.array([], np.int64))
    assert decode(encode({0: empty}))[0].pieces_ns.shape == (0,)


@pytest.mark.parametrize("damaged", [b"", b"PK\x03\x04rubbish", encode({})[:-10], b"\x93NUMPY\x01\x00"])
def test_what_is_damaged_is_told(damaged: bytes) -> None:
    with pytest.raises(ValueError, match="no record of cores' speed"):
        decode(damaged)
