"""Child: from what the user's code gave to arrays that fit the signature, or an error that tells why not."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivet.engine.python.layout import named_dtypes
from trivet.errors import EngineError
from trivet.spec.signature import VARIABLE, Signature, TensorSpec


class Answers:
    """Checks answers against one signature. Arrays must have its datatypes; numbers and lists get them."""

    def __init__(self, signature: Signature) -> None:
        self._specs = signature.outputs
        self._dtypes = [dtype for _, dtype in named_dtypes(signature.outputs)]
        self._names = [spec.name for spec in signature.outputs]
        self._batch_axis = signature.batch_axis

    def arrays(self, answer: Any, num_rows: int | None) -> list[NDArray[Any]]:
        """The outputs in the order of the signature.

        Args: answer: a mapping by name; for one output also its value; for several also a list in order.
              num_rows: rows of the batch, which every output must have; None: any number (a stream's chunks).
        Raises: EngineError: an output is missing, unknown, or of another datatype or shape; names it.
        """
        values = self._values(answer)
        arrays = []
        for spec, dtype, value in zip(self._specs, self._dtypes, values, strict=True):
            array = _array(spec, dtype, value)
            if not _fits(array.shape, spec.shape):
                raise EngineError(
                    f"output {spec.name!r}: expected {_words(spec)}, got shape {list(array.shape)}"
                )
            if self._batch_axis and num_rows is not None and array.shape[0] != num_rows:
                raise EngineError(
                    f"output {spec.name!r}: expected {num_rows} rows like the inputs, got {array.shape[0]}"
                )
            arrays.append(array)
        return arrays

    def _values(self, answer: Any) -> list[Any]:
        names = self._names
        if (
            type(answer) is np.ndarray and len(names) == 1
        ):  # the commonest by far, and asking for a Mapping is slow
            return [answer]
        if isinstance(answer, Mapping):
            missing = [name for name in names if name not in answer]
            unknown = [name for name in answer if name not in names]
            if missing or unknown:
                wrong = (
                    f"output {missing[0]!r} is missing"
                    if missing
                    else f"output {unknown[0]!r} is not declared"
                )
                raise EngineError(f"{wrong}: expected {names}, got {list(answer)}")
            return [answer[name] for name in names]
        if len(names) == 1:
            return [answer]
        if isinstance(answer, list | tuple) and len(answer) == len(names):
            return list(answer)
        got = f"{len(answer)} values" if isinstance(answer, list | tuple) else f"a {type(answer).__name__}"
        raise EngineError(f"expected the outputs {names} as a dict, or a list in this order, got {got}")


def _array(spec: TensorSpec, dtype: np.dtype[Any], value: Any) -> NDArray[Any]:
    if dtype.hasobject:
        return _bytes_array(spec, value)
    array = value if type(value) is np.ndarray else np.asarray(value)
    if array.dtype == dtype:
        return array
    if isinstance(value, list | tuple | bool | int | float):
        return _converted(spec, dtype, array)
    got = f"a {type(value).__name__}" if array.dtype.hasobject else f"{array.dtype} {list(array.shape)}"
    raise EngineError(f"output {spec.name!r}: expected {_words(spec)}, got {got}")


def _converted(spec: TensorSpec, dtype: np.dtype[Any], array: NDArray[Any]) -> NDArray[Any]:
    """Python's own numbers in the declared datatype, where no value changes beyond rounding."""
    if array.size == 0 and array.dtype != np.object_:
        return array.astype(dtype)
    if np.can_cast(array.dtype, dtype, "same_kind") or (array.dtype.kind == "i" and dtype.kind == "u"):
        with np.errstate(over="ignore"):
            cast = array.astype(dtype)
        # Floats may round, but not to infinity.
        if (
            np.array_equal(cast, array)
            if dtype.kind in "iu"
            else np.array_equal(np.isinf(cast), np.isinf(array))
        ):
            return cast
    raise EngineError(
        f"output {spec.name!r}: expected {_words(spec)}, got a list of {array.dtype} that does not fit it"
    )


def _bytes_array(spec: TensorSpec, value: Any) -> NDArray[Any]:
    array = np.asarray(value, dtype=np.object_)
    items = np.empty(array.size, np.object_)
    for position, item in enumerate(array.reshape(-1)):
        if isinstance(item, str):
            items[position] = item.encode()
        elif isinstance(item, bytes):
            items[position] = item
        else:
            raise EngineError(
                f"output {spec.name!r}: expected {_words(spec)} of bytes or str, got a {type(item).__name__}"
            )
    return items.reshape(array.shape)


def _fits(shape: tuple[int, ...], declared: tuple[int, ...]) -> bool:
    if len(shape) != len(declared):
        return False
    for got, want in zip(shape, declared, strict=True):  # noqa: SIM110  # several times as fast as all()
        if want not in (got, VARIABLE):
            return False
    return True


def _words(spec: TensorSpec) -> str:
    return f"{spec.datatype} {list(spec.shape)}"
