"""Equal requests have one digest, whatever their encoding; others have another."""

import json
import struct
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.spec.signature import Signature, TensorSpec
from trivet.wire.canonical import message_digest, scope, tensors_digest
from trivet.wire.v2_input import InferInput
from trivet.wire.v2_request import InferMessage, RequestDecoder

SIGNATURE = Signature(
    (
        TensorSpec(name="x", datatype="FP32", shape=(-1, -1)),
        TensorSpec(name="t", datatype="INT64", shape=(-1, 1)),
    ),
    (
        TensorSpec(name="y", datatype="FP32", shape=(-1, -1)),
        TensorSpec(name="z", datatype="FP32", shape=(-1, 1)),
    ),
    True,
)
TEXT = Signature(
    (TensorSpec(name="s", datatype="BYTES", shape=(-1,)),),
    (TensorSpec(name="y", datatype="FP32", shape=(-1,)),),
    True,
)
HERE = scope("answer", "a configuration", "")
FLOATS = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=4)


def as_json(x: list[float], t: int, *, is_reversed: bool = False, nested: bool = False, **rest: Any) -> bytes:
    data: Any = [x] if nested else x
    inputs = [
        {"name": "x", "datatype": "FP32", "shape": [1, len(x)], "data": data},
        {"name": "t", "datatype": "INT64", "shape": [1, 1], "data": [t]},
    ]
    return json.dumps({"inputs": inputs[::-1] if is_reversed else inputs, **rest}).encode()


def as_binary(x: list[float], t: int) -> tuple[bytes, int]:
    raw = struct.pack(f"<{len(x)}f", *x), struct.pack("<q", t)
    inputs = [
        {"name": name, "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": len(data)}}
        for (name, datatype, shape), data in zip(
            (("x", "FP32", [1, len(x)]), ("t", "INT64", [1, 1])), raw, strict=True
        )
    ]
    head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    return head + raw[0] + raw[1], len(head)


def digest(body: bytes, size: int | None = None) -> bytes:
    return message_digest(HERE, RequestDecoder(SIGNATURE).decode(body, size))


@settings(derandomize=True, deadline=None, max_examples=30)
@given(FLOATS, st.integers(-(2**63), 2**63 - 1))
def test_how_a_request_is_written_makes_no_difference(x: list[float], t: int) -> None:
    plain = digest(as_json(x, t))
    assert digest(*as_binary(x, t)) == plain
    assert digest(as_json(x, t, is_reversed=True)) == plain
    assert digest(as_json(x, t, nested=True)) == plain
    assert digest(as_json(x, t, id="7", outputs=[{"name": "z"}])) == plain
    assert (
        digest(as_json(x, t, parameters={"timeout": 5, "priority": 1, "binary_data_output": False})) == plain
    )


@settings(derandomize=True, deadline=None, max_examples=30)
@given(FLOATS, FLOATS, st.integers(0, 3), st.integers(0, 3))
def test_digests_are_equal_where_the_tensors_are(x: list[float], y: list[float], t: int, u: int) -> None:
    same = struct.pack(f"{len(x)}f", *x) == struct.pack(f"{len(y)}f", *y) and t == u
    assert (digest(as_json(x, t)) == digest(as_json(y, u))) == same


def test_parameters_that_may_change_the_answer_are_told_apart_whatever_their_order() -> None:
    one = digest(as_json([1], 1, parameters={"a": 1, "b": {"c": 2, "d": 3}}))
    assert one == digest(as_json([1], 1, parameters={"b": {"d": 3, "c": 2}, "timeout": 9, "a": 1}))
    assert one != digest(as_json([1], 1, parameters={"a": 1, "b": {"c": 2, "d": 4}}))
    assert one != digest(as_json([1], 1))


def test_the_same_numbers_in_another_shape_are_another_request() -> None:
    flat = InferInput((1, 4), struct.pack("<4f", 1, 2, 3, 4))
    square = InferInput((2, 2), flat.data)
    messages = [InferMessage([tensor], "", None, None, False) for tensor in (flat, square)]
    assert message_digest(HERE, messages[0]) != message_digest(HERE, messages[1])


@settings(derandomize=True, deadline=None, max_examples=30)
@given(st.lists(st.text(), min_size=2, max_size=2), st.lists(st.text(), min_size=2, max_size=2))
def test_strings_are_told_apart_wherever_they_are_cut(a: list[str], b: list[str]) -> None:
    def of(words: list[str]) -> bytes:
        body = {"inputs": [{"name": "s", "datatype": "BYTES", "shape": [2], "data": words}]}
        return message_digest(HERE, RequestDecoder(TEXT).decode(msgspec.json.encode(body)))

    assert (of(a) == of(b)) == (a == b)
    assert of(["ab", "c"]) != of(["a", "bc"])


@settings(derandomize=True, deadline=None, max_examples=30)
@given(st.lists(st.text(), max_size=3), st.lists(st.text(), max_size=3))
def test_scopes_are_equal_where_their_words_are(a: list[str], b: list[str]) -> None:
    assert (scope(*a) == scope(*b)) == (a == b)


def test_a_tenant_or_configuration_of_its_own_is_another_digest() -> None:
    message = RequestDecoder(SIGNATURE).decode(as_json([1.0], 1))
    within = [scope("answer", "a", ""), scope("answer", "a", "anne"), scope("answer", "aanne", "")]
    assert len({message_digest(one, message) for one in within}) == 3


@pytest.mark.parametrize(
    "other",
    [
        {"a": np.array([1, 2], np.int32)},
        {"a": np.array([1.0, 2.0], np.float32)},
        {"a": np.array([[1, 2]])},
        {"b": np.array([1, 2])},
        {"a": np.array([1, 2]), "b": np.array([])},
        {"a": np.array([1, 3])},
        {"a": np.array(["1", "2"])},
        {"a": np.array(["1", "2"], object)},
        {"a": np.array([b"1", b"2"], object)},
    ],
)
def test_tensors_are_told_apart_by_name_kind_shape_and_value(other: dict[str, np.ndarray]) -> None:
    own = {"a": np.array([1, 2])}
    assert tensors_digest(HERE, own) == tensors_digest(HERE, {"a": np.array([1, 9, 2])[::2]})
    found = tensors_digest(HERE, other)
    assert found is not None
    assert found != tensors_digest(HERE, own)
    assert found == tensors_digest(HERE, {name: other[name].copy() for name in reversed(other)})


def test_text_and_bytes_of_the_same_letters_are_told_apart() -> None:
    text, raw = (np.array([word], object) for word in ("a", b"a"))
    assert tensors_digest(HERE, {"a": text}) != tensors_digest(HERE, {"a": raw})


def test_what_is_neither_number_nor_string_has_no_digest() -> None:
    assert tensors_digest(HERE, {"a": np.array([None, {}], object)}) is None
