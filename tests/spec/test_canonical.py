"""Canonical JSON against the numbers of RFC 8785 (appendix B) and against JSON itself."""

import json
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet.spec.canonical import canonical_json


@pytest.mark.parametrize(
    ("bits", "expected"),
    [
        ("0000000000000000", "0"),
        ("8000000000000000", "0"),
        ("0000000000000001", "5e-324"),
        ("8000000000000001", "-5e-324"),
        ("7fefffffffffffff", "1.7976931348623157e+308"),
        ("4340000000000000", "9007199254740992"),
        ("c340000000000000", "-9007199254740992"),
        ("4430000000000000", "295147905179352830000"),
        ("44b52d02c7e14af5", "9.999999999999997e+22"),
        ("44b52d02c7e14af6", "1e+23"),
        ("44b52d02c7e14af7", "1.0000000000000001e+23"),
        ("444b1ae4d6e2ef4e", "999999999999999700000"),
        ("444b1ae4d6e2ef4f", "999999999999999900000"),
        ("444b1ae4d6e2ef50", "1e+21"),
        ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
        ("3eb0c6f7a0b5ed8d", "0.000001"),
        ("41b3de4355555553", "333333333.3333332"),
        ("becbf647612f3696", "-0.0000033333333333333333"),
        ("43143ff3c1cb0959", "1424953923781206.2"),
    ],
)
def test_numbers_are_written_as_rfc_8785_writes_them(bits: str, expected: str) -> None:
    (value,) = struct.unpack(">d", bytes.fromhex(bits))
    assert expected.encode() == canonical_json(value)


def test_keys_are_sorted_by_utf_16_code_units() -> None:
    value = {"€": 1, "\r": 2, "\ufb33": 3, "1": 4, "😀": 5, "\x80": 6, "ö": 7}
    assert list(json.loads(canonical_json(value)).values()) == [2, 4, 6, 7, 1, 5, 3]  # the RFC's own example


def test_text_is_escaped_as_little_as_json_allows() -> None:
    assert canonical_json('\x01\b\t\n\f\r"\\/ö') == b'"\\u0001\\b\\t\\n\\f\\r\\"\\\\/\xc3\xb6"'


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_a_number_that_is_not_finite_has_no_canonical_form(value: float) -> None:
    with pytest.raises(ValueError, match="not a finite number"):
        canonical_json({"a": value})


def test_what_json_does_not_have_is_refused() -> None:
    with pytest.raises(TypeError, match="bytes"):
        canonical_json(b"x")


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=10,
)


@given(json_values)
def test_the_canonical_form_is_json_of_the_same_value_and_stable(value: object) -> None:
    text = canonical_json(value)
    read = json.loads(text, parse_int=float)  # as a reader whose only number is a double
    assert value == read
    assert text == canonical_json(read)
