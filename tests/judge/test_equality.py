import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from trivet.judge.equality import compare_answers, compare_outputs

INF = math.inf
any_floats = arrays(np.float32, array_shapes(max_dims=2, max_side=4), elements=st.floats(width=32))


def compare(answer: Any, reference: Any, dtype: Any = np.float32) -> Any:
    return compare_outputs("y", np.array(answer, dtype), np.array(reference, dtype))


@given(values=any_floats)
def test_an_answer_is_the_same_as_itself(values: "np.typing.NDArray[np.float32]") -> None:
    equality = compare_outputs("y", values, values.copy())
    assert (equality.same, equality.absolute, equality.relative) == (True, 0, 0)


@given(values=any_floats, data=st.data())
def test_the_verdict_is_that_of_the_formula_for_each_element(
    values: "np.typing.NDArray[np.float32]", data: st.DataObject
) -> None:
    reference = data.draw(arrays(np.float32, values.shape, elements=st.floats(width=32)))
    nearby = np.where(data.draw(arrays(np.bool_, values.shape)), values, reference)
    expected = all(
        a == b
        or (math.isnan(a) and math.isnan(b))
        or (math.isfinite(a) and math.isfinite(b) and abs(a - b) <= 1e-5 + 1e-3 * abs(b))
        for a, b in zip(nearby.ravel().tolist(), reference.ravel().tolist(), strict=True)
    )
    assert compare_outputs("y", nearby, reference).same is expected


@pytest.mark.parametrize(
    ("answer", "reference", "same", "absolute", "relative"),
    [
        ([1.0, 2.0], [1.0, 2.0], True, 0, 0),
        ([1.0, 2.001], [1.0, 2.0], True, 0.001, 0.0005),
        ([1.0, 2.5], [1.0, 2.0], False, 0.5, 0.25),
        ([1e-6], [0.0], True, 1e-6, INF),
        ([2e-5], [0.0], False, 2e-5, INF),
        ([math.nan], [math.nan], True, 0, 0),
        ([math.nan], [1.0], False, INF, INF),
        ([1.0], [math.nan], False, INF, INF),
        ([INF], [INF], True, 0, 0),
        ([INF], [-INF], False, INF, INF),
        ([1.0], [INF], False, INF, INF),
        ([], [], True, 0, 0),
    ],
)
def test_floats_are_equal_within_the_tolerance(
    answer: list[float], reference: list[float], same: bool, absolute: float, relative: float
) -> None:
    equality = compare(answer, reference, np.float64)
    assert equality.same is same
    assert (equality.absolute, equality.relative) == pytest.approx((absolute, relative))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_every_float_type_has_the_tolerance(dtype: Any) -> None:
    assert compare([1.0005], [1.0], dtype).same
    assert not compare([1.01], [1.0], dtype).same


@pytest.mark.parametrize(
    ("answer", "reference", "dtype", "absolute"),
    [
        ([5, 7], [5, 4], np.int64, 3),
        ([2**64 - 1], [0], np.uint64, 2.0**64),
        ([-(2**63)], [2**63 - 1], np.int64, 2.0**64),
        ([True], [False], np.bool_, INF),
        ([b"a"], [b"b"], np.object_, INF),
    ],
)
def test_what_is_no_float_must_be_identical(answer: Any, reference: Any, dtype: Any, absolute: float) -> None:
    assert compare(reference, reference, dtype).same
    equality = compare(answer, reference, dtype)
    assert not equality.same
    assert equality.absolute == absolute


def test_the_reason_names_the_first_element_that_differs() -> None:
    equality = compare([[1, 2, 9], [3, 8, 5]], [[1, 2, 3], [3, 4, 5]], np.int32)
    assert equality.reason.startswith("2 of 6 elements differ, first at [0, 2]: ")
    equality = compare([[1, 2], [3, 8]], [[1, 2], [3, 4]])
    assert equality.reason.endswith("first at [1, 1]: 8 against 4")


def test_another_shape_or_type_is_not_the_same() -> None:
    assert compare([[1]], [1]).reason == "shape [1, 1] against [1]"
    reason = compare_outputs("y", np.zeros(1, np.float32), np.zeros(1)).reason
    assert reason == "type float32 against float64"


def test_answers_are_compared_output_by_output() -> None:
    reference = {"y": np.ones(2), "label": np.array([b"cat"], np.object_)}
    assert compare_answers(dict(reference), reference).same
    off = compare_answers(
        {"y": np.array([1, 1.5]), "label": reference["label"], "extra": np.ones(1)}, reference
    )
    assert not off.same
    assert [(output.name, output.same) for output in off.outputs] == [
        ("y", False),
        ("label", True),
        ("extra", False),
    ]
    assert off.outputs[0].absolute == 0.5
    assert off.absolute == INF
    assert "extra: missing in the reference" in str(off)
    assert "y: missing in the answer" in str(compare_answers({}, {"y": np.ones(1)}))
    assert str(compare_answers(reference, reference)) == "same (largest difference 0, relative 0)"


def test_bfloat16_is_compared_as_the_floats_that_its_bits_mean() -> None:
    """0x3F80 is 1.0; the next bfloat16 is 1.0078125, too far off; 0x0001 is about 1e-40."""
    one, above, tiny, zero = ({"y": np.array([bits], np.uint16)} for bits in (0x3F80, 0x3F81, 1, 0))
    assert compare_answers(tiny, zero, bf16=["y"]).same
    assert not compare_answers(tiny, zero).same
    off = compare_answers(above, one, bf16=["y"])
    assert (off.same, off.absolute) == (False, 2**-7)
