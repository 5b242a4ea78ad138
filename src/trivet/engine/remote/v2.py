"""A model of a V2 server, with binary tensors; answers may come as JSON or binary, whatever was asked."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import numpy as np

from trivet.engine.contract import Tensors
from trivet.engine.remote.contract import Asking, Outputs, Told, TryError
from trivet.errors import SpecError
from trivet.spec.dtypes import NUMPY_OF_DATATYPE
from trivet.spec.remote import Remote
from trivet.spec.signature import VARIABLE, Signature, TensorSpec
from trivet.wire.v2_client import BadResponseError, decode_infer, encode_infer
from trivet.wire.v2_input import fits

_JSON_SIZE = "Inference-Header-Content-Length"


class V2Dialect:
    """Args: signature: without batch axis where rows of several requests must not share one."""

    def __init__(self, remote: Remote, signature: Signature) -> None:
        self._signature = signature
        self._path = f"/v2/models/{quote(remote.model, safe='')}/infer"
        self._names = [spec.name for spec in signature.outputs]

    @property
    def signature(self) -> Signature:
        return self._signature

    def asking(self, inputs: Tensors) -> Asking:
        signature = self._signature
        tensors = [(spec, inputs[spec.name]) for spec in signature.inputs]
        body, json_size = encode_infer(tensors, binary=True, outputs=self._names)
        headers = {"Content-Type": "application/octet-stream", _JSON_SIZE: str(json_size)}
        rows = len(tensors[0][1]) if signature.batch_axis else None
        return Asking(self._path, body, headers, rows=rows)

    def told(self, asking: Asking, headers: Mapping[str, str], body: bytes) -> Told:
        text = headers.get(_JSON_SIZE, "")
        try:
            answer = decode_infer(body, int(text) if text.isdecimal() else None)
        except BadResponseError as error:
            raise TryError("rubbish", str(error)) from None
        found: Outputs = {}
        for spec in self._signature.outputs:
            array = answer.outputs.get(spec.name)
            if array is None:
                names = ", ".join(answer.outputs) or "none"
                raise TryError("rubbish", f"the answer lacks output {spec.name!r}; it has {names}")
            wanted = np.dtype(NUMPY_OF_DATATYPE[spec.datatype])
            if array.dtype != wanted or not fits(array.shape, spec.shape):
                raise TryError(
                    "rubbish",
                    f"output {spec.name!r} is {answer.datatypes[spec.name]} {list(array.shape)}; "
                    f"expected {spec.datatype} {list(spec.shape)}",
                )
            if asking.rows is not None and len(array) != asking.rows:
                raise TryError(
                    "rubbish",
                    f"output {spec.name!r} has {len(array)} rows for the {asking.rows} that were asked",
                )
            found[spec.name] = array
        return Told(found)

    def chunk(self, data: bytes) -> Told | None:
        raise TryError("rubbish", "a V2 answer came in chunks")


def metadata_path(remote: Remote) -> str:
    return f"/v2/models/{quote(remote.model, safe='')}"


def signature_of(metadata: Any, model: str) -> Signature:
    """What a server tells of a model. Rows share axis 0 where that is free in all tensors, as the protocol has it.

    Raises: SpecError: not a V2 server's metadata.
    """
    try:
        inputs, outputs = (
            tuple(TensorSpec(one["name"], one["datatype"], tuple(one["shape"])) for one in metadata[key])
            for key in ("inputs", "outputs")
        )
    except (KeyError, TypeError):
        raise SpecError(f"the metadata of model {model!r} names no inputs and outputs") from None
    if not inputs or not outputs:
        raise SpecError(f"model {model!r} has no inputs or no outputs there")
    return with_batch_axis(inputs, outputs)


def with_batch_axis(inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]) -> Signature:
    free = all(spec.shape and spec.shape[0] == VARIABLE for spec in (*inputs, *outputs))
    return Signature(inputs, outputs, free)
