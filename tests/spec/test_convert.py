"""Trees into Structs: whatever the tree, a Struct or an error of ours that names a place in it."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet.spec.convert import convert
from trivet.spec.deployment import Deployment
from trivet.spec.fields import FieldError, close, dotted, nearest
from trivet.spec.service import Service

KEYS = [
    "name",
    "models",
    "m",
    "file",
    "python",
    "levers",
    "deferral",
    "ragged",
    "axis",
    "pipeline",
    "model",
    "slo",
]
trees = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.sampled_from(["auto", "m", "a.onnx", "5ms"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@given(trees)
def test_any_tree_brings_a_service_or_names_a_place(tree: object) -> None:
    try:
        path: object = convert(tree, Service).name
    except FieldError as error:
        path = error.where
    assert isinstance(path, str)


@given(st.dictionaries(st.sampled_from(["services", "host", "port", "limits", "max_body", "workers"]), trees))
def test_any_mapping_brings_a_deployment_or_names_a_place(tree: dict[str, object]) -> None:
    try:
        port = convert(tree, Deployment).port
    except FieldError as error:
        port = 0 if error.message else -1
    assert 0 <= port <= 65_535


class Inner(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    one: int


class Outer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    inner: dict[str, tuple[Inner, ...]] = {}


def test_the_place_of_a_mistake_is_its_path() -> None:
    with pytest.raises(FieldError) as caught:
        convert({"inner": {"a": [{"one": 1}, {"one": "x"}]}}, Outer)
    assert caught.value.path == ("inner", "a", 1, "one")
    assert caught.value.message == "inner.a[1].one: expected a whole number, got 'x'"
    assert "inner.a[1].one" == caught.value.where == dotted(caught.value.path)


def test_a_tree_that_fits_is_converted() -> None:
    assert Outer(inner={"a": (Inner(one=1),)}) == convert({"inner": {"a": [{"one": 1}]}}, Outer)


def test_a_long_value_is_shown_in_part() -> None:
    with pytest.raises(FieldError) as caught:
        convert({"inner": "x" * 1000}, Outer)
    assert len(caught.value.message) < 200


def test_what_a_declaration_cannot_hold_is_a_mistake_of_the_programmer() -> None:
    class Bad(msgspec.Struct):
        data: bytes

    with pytest.raises(TypeError, match="a declaration cannot hold"):
        convert({"data": "x"}, Bad)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("Threads", "; did you mean 'threads'?"),
        ("thread", "; did you mean 'threads'?"),
        ("max_batch", "; did you mean 'max_batch_size'?"),
        ("zzz", ""),
    ],
)
def test_the_nearest_known_word_is_named(word: str, expected: str) -> None:
    known = ["threads", "instances", "max_batch_size"]
    assert expected == close(word, known)
    assert (expected or "; known: threads, instances, max_batch_size") == nearest(word, known)
    assert nearest(word, []) == ""
