"""What is kept is bounded by bytes; as bytes for others it comes back as it was, or not at all."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from trivet.runtime.fronts import shared_entry
from trivet.runtime.fronts.kept import Kept, keep
from trivet.runtime.fronts.local_store import LocalStore
from trivet.runtime.fronts.shared_entry import decode_entry, encode_entry

KEY = b"k" * 24
NUMBERS = hnp.arrays(
    st.sampled_from([np.float32, np.int64, np.uint8, np.bool_, np.float16]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)
STRINGS = st.lists(st.binary(max_size=20), max_size=5).map(lambda words: np.array([*words, b""], object)[:-1])
OUTPUTS = st.dictionaries(st.text(max_size=5), NUMBERS | STRINGS, min_size=1, max_size=3)


def entry(num_floats: int = 10) -> Kept:
    return keep({"y": np.zeros(num_floats, np.float32)}, ["y"], 1, 5)


def same(one: Kept, other: Kept) -> None:
    assert one.tensors.keys() == other.tensors.keys()
    for name, array in one.tensors.items():
        found = other.tensors[name]
        assert (found.dtype, found.shape) == (array.dtype, array.shape)
        assert found.tolist() == array.tolist() or found.tobytes() == array.tobytes()
    assert (one.rows, one.answered_by, one.num_bytes) == (other.rows, other.answered_by, other.num_bytes)


def test_what_is_kept_is_a_copy_that_nobody_can_change() -> None:
    batch = np.arange(6.0).reshape(3, 2)
    kept = keep({"y": batch[1:2], "z": batch}, ["y"], 1, 0)
    batch[:] = 9
    assert kept.tensors["y"].tolist() == [[2.0, 3.0]]
    assert list(kept.tensors) == ["y"]
    with pytest.raises(ValueError, match="read-only"):
        kept.tensors["y"][0, 0] = 1


def test_what_was_used_least_recently_goes_first() -> None:
    store = LocalStore(3 * entry().num_bytes)
    for key in (b"a", b"b", b"c"):
        assert store.put(key, entry())
    assert store.get(b"a") is not None
    store.put(b"d", entry())
    assert [store.get(key) is not None for key in (b"a", b"b", b"c", b"d")] == [True, False, True, True]


@settings(derandomize=True, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3000)), max_size=40), st.integers(0, 20_000))
def test_the_store_never_holds_more_than_it_may(puts: list[tuple[int, int]], size: int) -> None:
    store = LocalStore(size)
    for number, length in puts:
        kept = entry(length)
        assert store.put(b"%d" % number, kept) == (kept.num_bytes <= size)
        assert store.num_bytes <= size
        if kept.num_bytes <= size:
            assert store.get(b"%d" % number) is kept


def test_the_size_of_strings_is_counted() -> None:
    long = np.array([b"x" * 100_000], object)
    assert keep({"y": long}, ["y"], 1, 0).num_bytes > 100_000


@settings(derandomize=True, deadline=None, max_examples=40)
@given(OUTPUTS, st.sampled_from(["", "front", ["front", "rest"]]), st.integers(0, 10**12))
def test_an_answer_comes_back_as_it_was_with_its_age(outputs: Any, answered_by: Any, age_ns: int) -> None:
    kept = keep(outputs, outputs.keys(), 3, 0, answered_by)
    data = encode_entry(KEY, kept, age_ns, 10**18)
    found = decode_entry(KEY, data, now_ns=7 * 10**12, wall_ns=10**18 + 50)
    assert found is not None
    same(kept, found)
    assert found.stored_ns == 7 * 10**12 - age_ns - 50


def test_hosts_clocks_differ() -> None:
    data = encode_entry(KEY, entry(), 0, 10**18)
    found = decode_entry(KEY, data, now_ns=100, wall_ns=10**18 - 10**9)
    assert found is not None
    assert found.stored_ns == 100


DATA = encode_entry(KEY, entry(), 0, 10**18)


@settings(derandomize=True, deadline=None)
@given(st.integers(0, len(DATA) - 1), st.integers(1, 255))
def test_a_changed_byte_is_no_answer(at: int, change: int) -> None:
    changed = bytearray(DATA)
    changed[at] ^= change
    assert decode_entry(KEY, bytes(changed), 0, 0) is None


@pytest.mark.parametrize("data", [b"", b"TRVT", DATA[:-1], DATA[:17], DATA + b"x", b"\x80", b"old format"])
def test_what_is_cut_off_or_somebody_elses_is_no_answer(data: bytes) -> None:
    assert decode_entry(KEY, data, 0, 0) is None


def test_an_answer_under_another_key_is_none() -> None:
    assert decode_entry(b"j" * 24, DATA, 0, 0) is None


def test_another_versions_entry_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(shared_entry, "_MARK", b"TRVT\x02")
        newer = encode_entry(KEY, entry(), 0, 0)
    assert decode_entry(KEY, newer, 0, 0) is None


def test_bytes_that_pass_the_checksum_and_mean_nothing_are_no_answer() -> None:
    """What only a mistake of ours could have written."""
    for body in (b"\x01", b"\x95\x01\x01\x01\x01\x01"):
        assert decode_entry(KEY, shared_entry._MARK + shared_entry._check(body) + body, 0, 0) is None
    tensor = shared_entry._Tensor("y", "O8", (1,), b"12345678")
    body = shared_entry._encode(shared_entry._Entry(KEY, 1, 0, "", [tensor]))
    assert decode_entry(KEY, shared_entry._MARK + shared_entry._check(body) + body, 0, 0) is None
