"""Whole answers kept for later: what each of some inputs was answered when it was asked alone.

In the file every tensor of row i is an array `i:name`, a colon in the name written as %3A; tensors of bytes are one array of
all their bytes with the ends of the elements and the shape beside it, so that nothing is pickled.
"""

import io
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from trivet.errors import SpecError

Tensors = Mapping[str, NDArray[Any]]
_ENDS, _SHAPE = ":ends", ":shape"


def write_tensors(rows: Sequence[Tensors]) -> bytes:
    """Rows of tensors as npz; the same rows give the same bytes."""
    arrays: dict[str, NDArray[Any]] = {}
    for i, row in enumerate(rows):
        for name, array in row.items():
            key = f"{i}:{_escaped(name)}"
            if array.dtype == np.object_:
                elements = [bytes(element) for element in array.reshape(-1)]
                arrays[key] = np.frombuffer(b"".join(elements), np.uint8)
                arrays[key + _ENDS] = np.cumsum([len(element) for element in elements], dtype=np.int64)
                arrays[key + _SHAPE] = np.array(array.shape, np.int64)
            else:
                arrays[key] = array
    arrays["num_rows"] = np.array(len(rows))
    return _npz(arrays)


def _npz(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """As `numpy.savez_compressed` writes it; the date of every member is the zip format's first day."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            info = zipfile.ZipInfo(f"{name}.npy")
            info.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(info, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
    return content.getvalue()


def read_tensors(content: bytes) -> list[dict[str, NDArray[Any]]]:
    """The inverse of `write_tensors`. Raises: SpecError: not such a file."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            rows: list[dict[str, NDArray[Any]]] = [{} for _ in range(int(arrays["num_rows"]))]
            for key in arrays.files:
                row, colon, name = key.partition(":")
                if colon and not key.endswith((_ENDS, _SHAPE)):
                    rows[int(row)][unquote(name)] = _tensor(arrays, key)
    except (ValueError, KeyError, IndexError, EOFError, zipfile.BadZipFile) as error:
        raise SpecError(f"not a file of kept tensors: {error}") from None
    return rows


def _escaped(name: str) -> str:
    """Without colons, which part what a key says: TensorFlow's `Identity:0`, PyTorch's `onnx::Gather_7`."""
    return name.replace("%", "%25").replace(":", "%3A")


def _tensor(arrays: Any, key: str) -> NDArray[Any]:
    if key + _ENDS not in arrays.files:
        return np.asarray(arrays[key])
    data, ends = arrays[key].tobytes(), arrays[key + _ENDS].tolist()
    elements = np.empty(len(ends), np.object_)
    elements[:] = [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    return elements.reshape(arrays[key + _SHAPE])
