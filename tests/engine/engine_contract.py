"""What every engine promises, as tests. Each engine brings `make`, which gives it one of these models:

identity <datatype>: y = x, both [-1, -1];  two_inputs: total = a + b, difference = a - b, FP32 [-1, -1];
gather: row x of a table of 10 rows (i, i squared), INT64 [-1] -> FP32 [-1, 2].
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from trivet.engine.contract import Engine, input_dtypes
from trivet.errors import EngineError
from trivet.spec.dtypes import NUMPY_OF_DATATYPE
from trivet.spec.signature import TensorSpec

Make = Callable[[str], Engine]


class EngineContract:
    int64: type[np.signedinteger[Any]] = np.int64  # what it computes INT64 in

    @pytest.fixture
    def make(self) -> Make:
        raise LookupError("each engine brings its own")

    def test_its_signature_tells_names_datatypes_shapes_and_the_batch_axis(self, make: Make) -> None:
        signature = make("two_inputs").signature
        assert tuple(spec.name for spec in signature.inputs) == ("a", "b")
        assert tuple(spec.name for spec in signature.outputs) == ("total", "difference")
        assert {("FP32", (-1, -1))} == {
            (spec.datatype, spec.shape) for spec in (*signature.inputs, *signature.outputs)
        }
        assert signature.batch_axis

    def test_a_fixed_dimension_is_part_of_the_signature(self, make: Make) -> None:
        signature = make("gather").signature
        assert (TensorSpec("x", "INT64", (-1,)),) == signature.inputs
        assert (TensorSpec("y", "FP32", (-1, 2)),) == signature.outputs
        assert {"x": np.dtype(np.int64)} == input_dtypes(signature)

    def test_all_outputs_come_by_name_in_their_datatypes(self, make: Make) -> None:
        a, b = np.array([[5, 6]], np.float32), np.array([[1, 4]], np.float32)
        outputs = make("two_inputs").run({"a": a, "b": b})
        assert {k: v.tolist() for k, v in outputs.items()} == {"total": [[6, 10]], "difference": [[4, 2]]}
        assert {np.dtype(np.float32)} == {array.dtype for array in outputs.values()}

    @pytest.mark.parametrize(
        "datatype",
        [
            *("BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"),
            *("FP16", "FP32", "FP64"),
        ],
    )
    def test_every_value_of_a_datatype_comes_through(self, make: Make, datatype: str) -> None:
        dtype = np.dtype(NUMPY_OF_DATATYPE[datatype])
        if dtype.kind in "iu":
            bounds = np.iinfo(self.int64 if dtype == np.int64 else dtype)
            values = np.array([[bounds.min, 0, 1, bounds.max]], dtype)
        elif dtype.kind == "f":
            values = np.array([[-1.5, 0.0, np.inf, np.finfo(dtype).tiny]], dtype)
        else:
            values = np.array([[True, False]])
        y = make(f"identity {datatype}").run({"x": values})["y"]
        assert (dtype, values.shape, values.tobytes()) == (y.dtype, y.shape, y.tobytes())

    def test_a_batch_is_answered_as_its_rows_are(self, make: Make) -> None:
        engine = make("gather")
        rows = np.array([3, 0, 9, 9, 1])
        together = engine.run({"x": rows})["y"]
        alone = [engine.run({"x": rows[i : i + 1]})["y"][0].tolist() for i in range(len(rows))]
        assert together.tolist() == alone == [[i, i * i] for i in rows]

    def test_inputs_are_not_changed_and_may_be_read_only_views(self, make: Make) -> None:
        engine = make("two_inputs")
        base = np.arange(24, dtype=np.float32).reshape(4, 6)
        base.flags.writeable = False
        outputs = engine.run({"a": base[::2, ::3], "b": base.T[:2, :2]})
        assert outputs["total"].tolist() == (base[::2, ::3] + base.T[:2, :2]).tolist()
        assert base.tolist() == np.arange(24).reshape(4, 6).tolist()

    def test_outputs_stay_as_they_are_while_the_engine_goes_on(self, make: Make) -> None:
        engine = make("identity FP32")
        first = engine.run({"x": np.ones((2, 3), np.float32)})["y"]
        engine.run({"x": np.zeros((2, 3), np.float32)})
        assert first.tolist() == np.ones((2, 3)).tolist()

    def test_a_batch_may_be_larger_than_all_before(self, make: Make) -> None:
        engine = make("identity FP32")
        for num_rows in (1, 3, 70_000, 2):
            x = np.arange(num_rows * 8, dtype=np.float32).reshape(num_rows, 8)
            assert np.array_equal(x, engine.run({"x": x})["y"])

    def test_a_batch_that_fails_leaves_the_engine_well(self, make: Make) -> None:
        engine = make("gather")
        for _ in range(2):
            with pytest.raises(EngineError):
                engine.run({"x": np.array([[1, 2]])})
            assert engine.run({"x": np.array([2])})["y"].tolist() == [[2, 4]]

    @pytest.mark.parametrize("names", [(), ("a",), ("a", "b", "c")])
    def test_missing_and_unknown_inputs_are_errors(self, make: Make, names: tuple[str, ...]) -> None:
        engine = make("two_inputs")
        with pytest.raises(EngineError):
            engine.run({name: np.ones((1, 1), np.float32) for name in names})

    def test_an_input_of_another_datatype_is_an_error(self, make: Make) -> None:
        engine = make("identity FP32")
        with pytest.raises(EngineError):
            engine.run({"x": np.ones((1, 1), np.int64)})


class BytesContract:
    """For engines that take BYTES."""

    def test_bytes_come_through(self, make: Make) -> None:
        values = np.empty((2, 2), object)
        values[:] = [[b"", b"a"], ["é".encode(), b"b" * 100_000]]
        y = make("identity BYTES").run({"x": values})["y"]
        assert (np.dtype(object), values.tolist()) == (y.dtype, y.tolist())
