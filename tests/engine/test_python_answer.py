"""From what user code returns to arrays: which forms are taken, and that no value changes on the way."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet.engine.python._answer import Answers
from trivet.errors import EngineError
from trivet.spec.dtypes import NUMPY_OF_DATATYPE
from trivet.spec.signature import Signature, TensorSpec


def answers(
    datatype: str, shape: tuple[int, ...] = (-1,), *, names: str = "y", batch_axis: bool = False
) -> Answers:
    return Answers(Signature((), tuple(TensorSpec(name, datatype, shape) for name in names), batch_axis))


def test_an_array_of_the_declared_datatype_is_taken_as_it_is() -> None:
    array = np.ones(3, np.float32)
    (taken,) = answers("FP32").arrays(array, None)
    assert taken is array


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        ({"a": [1.0], "b": [2.0]}, [[1.0], [2.0]]),
        ({"b": [2.0], "a": [1.0]}, [[1.0], [2.0]]),
        ([[1.0], [2.0]], [[1.0], [2.0]]),
        (([1.0], np.array([2.0], np.float32)), [[1.0], [2.0]]),
    ],
)
def test_several_outputs_come_by_name_or_in_order(returned: Any, expected: list[list[float]]) -> None:
    assert expected == [array.tolist() for array in answers("FP32", names="ab").arrays(returned, None)]


@pytest.mark.parametrize(
    ("returned", "got"),
    [([[1.0]], "1 values"), (np.ones((2, 1), np.float32), "a ndarray"), (3, "a int"), (None, "a NoneType")],
)
def test_several_outputs_in_any_other_form_are_an_error(returned: Any, got: str) -> None:
    with pytest.raises(EngineError, match=rf"expected the outputs \['a', 'b'\] as a dict, .*, got {got}"):
        answers("FP32", names="ab").arrays(returned, None)


@pytest.mark.parametrize("datatype", ["INT8", "UINT8", "INT32", "UINT64", "FP16", "FP64", "BOOL"])
@given(values=st.lists(st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(-3, 300))))
def test_a_list_of_numbers_is_converted_exactly_or_not_at_all(datatype: str, values: list[int]) -> None:
    dtype = np.dtype(NUMPY_OF_DATATYPE[datatype])
    if dtype.kind == "b":
        fits = not values
    elif dtype.kind == "f":
        fits = (
            all(abs(value) < 65520 for value in values) or datatype != "FP16"
        )  # from there on it is infinity
    else:
        fits = all(np.iinfo(dtype).min <= value <= np.iinfo(dtype).max for value in values)
    if fits:
        (taken,) = answers(datatype).arrays(values, None)
        assert taken.dtype == dtype
        assert dtype.kind == "f" or taken.tolist() == values
    else:
        with pytest.raises(EngineError, match="that does not fit it"):
            answers(datatype).arrays(values, None)


@pytest.mark.parametrize(
    ("datatype", "returned"),
    [
        ("INT64", [0.5]),
        ("FP32", [1 + 2j]),
        ("FP32", ["1"]),
        ("BOOL", [1]),
        ("INT64", np.array([1], np.int32)),
        ("FP32", np.array([1])),
        ("FP32", np.float64(1)),
        ("FP32", object()),
        ("BYTES", [1]),
        ("BYTES", [None]),
        ("FP32", [[1.0], [1.0, 2.0]]),
    ],
)
def test_what_would_change_a_value_is_an_error(datatype: str, returned: Any) -> None:
    with pytest.raises((EngineError, ValueError)):
        answers(datatype).arrays(returned, None)


@pytest.mark.parametrize(
    "returned", [[b"a", "é"], np.array(["a", "é"]), np.array([b"a", "é".encode()], object)]
)
def test_texts_become_bytes(returned: Any) -> None:
    (taken,) = answers("BYTES").arrays(returned, None)
    assert taken.tolist() == [b"a", "é".encode()]


@pytest.mark.parametrize(
    ("shape", "declared", "fits"),
    [
        ((2, 3), (-1, 3), True),
        ((2, 3), (-1, 4), False),
        ((2,), (-1, 3), False),
        ((), (), True),
        ((0, 3), (-1, 3), True),
    ],
)
def test_shapes_fit_where_each_fixed_dimension_does(
    shape: tuple[int, ...], declared: tuple[int, ...], fits: bool
) -> None:
    checker, array = answers("FP32", declared), np.zeros(shape, np.float32)
    if fits:
        assert checker.arrays({"y": array}, None)[0] is array
    else:
        with pytest.raises(EngineError, match="output 'y': expected FP32"):
            checker.arrays({"y": array}, None)


def test_rows_are_compared_only_where_there_is_a_batch_axis() -> None:
    array = np.zeros(3, np.float32)
    assert answers("FP32").arrays(array, 2)[0] is array
    assert answers("FP32", batch_axis=True).arrays(array, 3)[0] is array
    with pytest.raises(EngineError, match="expected 2 rows like the inputs, got 3"):
        answers("FP32", batch_axis=True).arrays(array, 2)
