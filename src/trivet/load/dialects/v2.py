"""The Open Inference Protocol V2: Triton, KServe, MLServer, trivet and others, with JSON or binary tensors."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from trivet.errors import SpecError
from trivet.load.dialects.contract import Row, header, read_ok
from trivet.load.http import BadAnswerError
from trivet.load.job import HttpRequest
from trivet.spec.dtypes import NUMPY_OF_DATATYPE
from trivet.spec.fields import nearest
from trivet.spec.signature import Signature, TensorSpec
from trivet.wire.tensor import BINARY_ONLY
from trivet.wire.v2_client import (
    BadResponseError,
    InferResponse,
    UnsendableError,
    decode_infer,
    encode_infer,
)
from trivet.wire.v2_input import fits

JSON_SIZE = "Inference-Header-Content-Length"


class V2Dialect:
    """Speaks of one model. Requests look as tritonclient's do; answers may come as JSON or binary, whatever was asked.

    Args: version: empty: the server chooses.  prefix: of the path, where a gateway needs one.  parameters: of every
    request (`timeout`, `priority`).
    Raises: SpecError: the model's tensors need binary data, and `binary` is False.
    """

    def __init__(
        self,
        signature: Signature,
        binary: bool,
        model: str,
        version: str = "",
        *,
        prefix: str = "",
        headers: Mapping[str, str] | None = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> None:
        if not signature.inputs:
            raise SpecError(f"model {model!r}: no inputs are known; declare them, as the server does not")
        if not binary:
            _refuse_binary_only(signature, model)
        self._signature, self._binary, self._parameters = signature, binary, dict(parameters or {})
        self._path = f"{prefix.rstrip('/')}/v2/models/{quote(model, safe='')}"
        self._path += f"/versions/{quote(version, safe='')}/infer" if version else "/infer"
        self._headers = dict(headers or {})

    def requests(self, rows: Sequence[Row]) -> list[HttpRequest]:
        return [self._request(row, number) for number, row in enumerate(rows, start=1)]

    def outputs(self, status: int, headers: Mapping[str, str], body: bytes) -> dict[str, NDArray[Any]]:
        """In the signature's order; then what the server gave besides. BF16 comes as float32, which holds it exactly."""
        response = self.response(status, headers, body)
        declared = [spec.name for spec in self._signature.outputs]
        for name in declared:
            if name not in response.outputs:
                raise BadAnswerError(
                    f"the answer lacks the output {name!r}; it has {', '.join(response.outputs)}"
                )
        names = [*declared, *(name for name in response.outputs if name not in declared)]
        return {name: _numbers(response.outputs[name], response.datatypes[name]) for name in names}

    def response(self, status: int, headers: Mapping[str, str], body: bytes) -> InferResponse:
        """The answer with all that its JSON part says: a trivet server names its configuration in `parameters`."""
        size = header(headers, JSON_SIZE)
        return read_ok(status, body, lambda whole: decode_infer(whole, None if size is None else _size(size)))

    def _request(self, row: Row, number: int) -> HttpRequest:
        specs = {spec.name: spec for spec in self._signature.inputs}
        for name in row:
            if name not in specs:
                raise SpecError(f"row {number}: the model has no input {name!r}{nearest(name, specs)}")
        inputs = [(spec, _checked(row, spec, number)) for spec in specs.values()]
        try:
            body, json_size = encode_infer(inputs, binary=self._binary, parameters=self._parameters)
        except UnsendableError as error:
            raise SpecError(f"row {number}: {error}; send binary tensors") from None
        if json_size is None:
            return HttpRequest(
                path=self._path, headers={**self._headers, "Content-Type": "application/json"}, body=body
            )
        headers = {"Content-Type": "application/octet-stream", JSON_SIZE: str(json_size)}
        return HttpRequest(path=self._path, headers={**self._headers, **headers}, body=body)


def _checked(row: Row, spec: TensorSpec, number: int) -> NDArray[Any]:
    if spec.name not in row:
        raise SpecError(f"row {number}: no input {spec.name!r}; it has {', '.join(row) or 'none'}")
    array = row[spec.name]
    wanted = np.dtype(NUMPY_OF_DATATYPE[spec.datatype])
    if array.dtype != wanted:
        raise SpecError(f"row {number}: input {spec.name!r} is {array.dtype}; {spec.datatype} is {wanted}")
    if not fits(array.shape, spec.shape):
        raise SpecError(
            f"row {number}: input {spec.name!r} has the shape {list(array.shape)}; expected {list(spec.shape)}"
        )
    return array


def _refuse_binary_only(signature: Signature, model: str) -> None:
    for kind, specs in (("input", signature.inputs), ("output", signature.outputs)):
        for spec in specs:
            if spec.datatype in BINARY_ONLY:
                message = f"model {model!r}: {kind} {spec.name!r} is {spec.datatype}, which JSON cannot carry"
                raise SpecError(f"{message}; use binary tensors")


def _size(text: str) -> int:
    if not text.isdecimal():
        raise BadResponseError(f"{JSON_SIZE} is {text!r}; expected a count of bytes")
    return int(text)


def _numbers(array: NDArray[Any], datatype: str) -> NDArray[Any]:
    """bfloat16 is the upper half of a float32."""
    return (array.astype(np.uint32) << 16).view(np.float32) if datatype == "BF16" else array
