"""Shared memory, the layout of tensors in it, and the messages beside it: both ends in one process."""

import os
import socket
from collections.abc import Iterator

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet.engine.python.channel import MAX_MESSAGE_BYTES, Channel
from trivet.engine.python.layout import OverLimitError, named_dtypes, read, write
from trivet.engine.python.messages import LoadFailed, Run, ToChild, ToParent
from trivet.engine.python.slab import ALIGNMENT, INITIAL_BYTES, Regions, Slab
from trivet.errors import BadRequestError, EngineError
from trivet.spec.dtypes import NUMPY_OF_DATATYPE
from trivet.spec.signature import TensorSpec


@pytest.fixture
def slab() -> Iterator[Slab]:
    with Slab.create("test", writable=True) as slab:
        yield slab


@given(st.lists(st.one_of(st.integers(0, 500), st.sampled_from(["oldest", "newest"])), max_size=60))
def test_regions_never_overlap_and_are_aligned(steps: list[int | str]) -> None:
    regions = Regions()
    taken: list[tuple[int, int]] = []  # (start, size), oldest first
    for step in steps:
        if isinstance(step, int):
            taken.append((regions.take(step), max(step, 1)))
        elif taken:
            start, _ = taken.pop(0 if step == "oldest" else -1)
            regions.free(start)
        for start, size in taken:
            assert start % ALIGNMENT == 0
            assert all(
                start + size <= other or other + length <= start for other, length in taken if other != start
            )
        assert len({start for start, _ in taken}) == len(taken) == len(regions.taken)


def test_a_free_region_is_used_again_before_new_memory() -> None:
    regions = Regions()
    assert [regions.take(100), regions.take(64), regions.take(1)] == [0, 128, 192]
    regions.free(128)
    assert [regions.take(65), regions.take(64)] == [256, 128]
    with pytest.raises(KeyError, match="no region starts at byte 64"):
        regions.free(64)


def test_a_slab_grows_without_moving_what_others_see(slab: Slab) -> None:
    with Slab(os.dup(slab.fd), writable=False) as other:
        before = np.ndarray((4,), np.uint8, slab.map)
        before[:] = [1, 2, 3, 4]
        slab.grow(INITIAL_BYTES + 1)
        assert len(slab.map) == 2 * INITIAL_BYTES
        other.cover(2 * INITIAL_BYTES)
        before[0] = 9
        assert np.ndarray((4,), np.uint8, other.map).tolist() == [9, 2, 3, 4]
        with pytest.raises(
            ValueError, match=f"byte {2 * INITIAL_BYTES + 1} of a slab of {2 * INITIAL_BYTES} bytes"
        ):
            other.cover(2 * INITIAL_BYTES + 1)


def test_nobody_can_shrink_a_slab_under_its_reader(slab: Slab) -> None:
    with pytest.raises(PermissionError):
        os.ftruncate(slab.fd, 0)


@pytest.mark.parametrize("datatype", NUMPY_OF_DATATYPE)
@pytest.mark.parametrize("shape", [(), (3,), (2, 0, 4), (2, 3, 2)])
def test_what_is_written_is_read_back(slab: Slab, datatype: str, shape: tuple[int, ...]) -> None:
    dtype = np.dtype(NUMPY_OF_DATATYPE[datatype])
    count = int(np.prod(shape))
    if dtype.hasobject:
        array = np.array([b"x" * i for i in range(count)], object).reshape(shape)
    else:
        array = np.arange(count).astype(dtype).reshape(shape)
    specs = [TensorSpec("first", datatype, shape), TensorSpec("second", datatype, shape)]
    _, places = write(slab, Regions(), [array, array], 1 << 20)
    got = read(slab, named_dtypes(specs), places)
    assert list(got) == ["first", "second"]
    for other in got.values():
        assert (other.dtype, other.shape, other.tolist()) == (dtype, shape, array.tolist())


def test_tensors_over_the_limit_take_nothing(slab: Slab) -> None:
    regions = Regions()
    with pytest.raises(OverLimitError, match="192 bytes; at most 191 are allowed"):
        write(slab, regions, [np.zeros(10), np.zeros(1)], 191)
    assert regions.taken == ()


@pytest.mark.parametrize(
    ("datatype", "place"),
    [
        ("FP32", (INITIAL_BYTES, 4, (1,))),
        ("FP32", (INITIAL_BYTES - 4, 4, (2,))),
        ("FP32", (0, 4, (1 << 40,))),
        ("BYTES", (0, 4, (2,))),
        ("BYTES", (INITIAL_BYTES - 2, 4, (1,))),
    ],
)
def test_a_place_that_lies_is_an_error(
    slab: Slab, datatype: str, place: tuple[int, int, tuple[int, ...]]
) -> None:
    with pytest.raises((ValueError, TypeError, BadRequestError)):
        read(slab, named_dtypes([TensorSpec("x", datatype, (-1,))]), (place,))


Ends = tuple[Channel[ToParent], Channel[ToChild], socket.socket, socket.socket]


@pytest.fixture
def ends() -> Iterator[Ends]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        yield Channel(ours, ToParent), Channel(theirs, ToChild), ours, theirs


def test_posting_never_waits_and_keeps_the_order(ends: Ends) -> None:
    parent, child, _, _ = ends
    for batch_id in range(5_000):
        parent.post(Run(batch_id, 0, ()))
    received = []
    while (message := child.receive(wait=False)) is not None:
        received.append(message.batch_id)
        parent.flush()
    assert received == list(range(5_000))
    assert not child.ended


def test_an_end_is_found_after_everything_that_was_sent(ends: Ends) -> None:
    parent, child, ours, _ = ends
    parent.post(Run(1, 0, ()))
    child.send(LoadFailed("unread: it turns the end into a reset"))
    ours.close()
    assert child.receive(wait=True) == Run(1, 0, ())
    assert child.receive(wait=True) is None
    assert child.ended


def test_posting_to_a_closed_end_is_no_error(ends: Ends) -> None:
    parent, _, _, theirs = ends
    theirs.close()
    parent.post(Run(1, 0, ()))
    assert parent.receive(wait=False) is None
    assert parent.ended


def test_a_message_larger_than_a_packet_is_refused_and_the_largest_passes(ends: Ends) -> None:
    parent, child, _, _ = ends
    header = len(parent.encode(LoadFailed("x" * 70_000))) - 70_000
    with pytest.raises(EngineError, match=f"LoadFailed message of {MAX_MESSAGE_BYTES + 1} bytes"):
        child.send(LoadFailed("x" * (MAX_MESSAGE_BYTES - header + 1)))
    child.send(LoadFailed("x" * (MAX_MESSAGE_BYTES - header)))
    assert parent.receive(wait=True) == LoadFailed("x" * (MAX_MESSAGE_BYTES - header))


@pytest.mark.parametrize(
    "packet",
    [
        b"\x93\x63\x01\x02",
        *(msgspec.msgpack.encode([2, 1, [place]]) for place in ([-64, 4, [1]], [0, -4, [1]], [0, 4, [-1]])),
    ],
)
def test_what_is_no_message_is_an_error(ends: Ends, packet: bytes) -> None:
    parent, _, _, theirs = ends
    theirs.send(packet)
    with pytest.raises(msgspec.DecodeError):
        parent.receive(wait=True)
