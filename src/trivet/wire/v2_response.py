"""Open Inference Protocol V2: infer answers in JSON and binary, from tensors to bytes. No sockets, no models.

Source: kserve/open-inference-protocol (REST), Triton's binary tensor extension.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from numpy.typing import NDArray

from trivet.errors import BadRequestError
from trivet.spec.signature import VARIABLE, Signature, TensorSpec
from trivet.wire.tensor import BINARY_ONLY, Buffer, to_bytes
from trivet.wire.v2_request import InferMessage


class ResponseEncoder:
    """Writes the infer answers of one service."""

    def __init__(self, name: str, version: str, signature: Signature, configuration: str) -> None:
        self._signature = signature
        self._head = msgspec.json.encode(
            {"model_name": name, "model_version": version, "parameters": {"configuration": configuration}}
        )[:-1]
        self._all = tuple(spec.name for spec in signature.outputs)
        self._specs = {spec.name: spec for spec in signature.outputs}
        # `"name":"y","datatype":"FP32","shape":` of each output, written once
        self._tensor_heads = {
            spec.name: b'{"name":%b,"datatype":"%b","shape":'
            % (msgspec.json.encode(spec.name), spec.datatype.encode())
            for spec in signature.outputs
        }
        self._encode = msgspec.json.Encoder().encode
        self._one_row = {spec.name: self._static_shape(spec) for spec in signature.outputs}

    def _static_shape(self, spec: TensorSpec) -> bytes | None:
        """The encoded shape of a one-row answer, where the model fixes it."""
        if not self._signature.batch_axis or VARIABLE in spec.shape[1:]:
            return None
        return self._encode([1, *spec.shape[1:]])

    def json_row(self, rows: Mapping[str, list[list[Any]]], index: int, request_id: str) -> bytes | None:
        """The JSON answer to a request of one row, from flat rows of every output; None where a shape is not static.

        This is the whole encoding on the fast path: one small `encode` for each output.
        """
        parts = [self._head]
        if request_id:
            parts.append(b',"id":' + self._encode(request_id))
        separator = b',"outputs":['
        for name in self._all:
            shape = self._one_row[name]
            if shape is None:
                return None
            parts += (
                separator,
                self._tensor_heads[name],
                shape,
                b',"data":',
                self._encode(rows[name][index]),
                b"}",
            )
            separator = b","
        parts.append(b"]}")
        return b"".join(parts)

    def encode(
        self,
        outputs: Mapping[str, NDArray[Any]],
        message: InferMessage,
        extra: Mapping[str, Any] | None = None,
    ) -> tuple[list[Buffer], int | None]:
        """The answer as body parts, and the size of its JSON where binary tensors follow.

        Raises: BadRequestError: an output cannot travel as JSON (FP16, BF16, bytes that are not UTF-8).
        """
        head = bytearray(self._head)
        if extra:
            head[-1:] = b"," + self._encode(extra)[1:]
        if message.id:
            head += b',"id":' + self._encode(message.id)
        head += b',"outputs":['
        binary: list[Buffer] = []
        for i, name in enumerate(message.outputs or self._all):
            array = outputs[name]
            spec = self._specs[name]
            head += b"," if i else b""
            head += self._tensor_heads[name] + self._encode(array.shape)
            chosen = message.binary_outputs
            if chosen is True or (chosen is not False and name in chosen):
                raw = to_bytes(spec.datatype, array)
                head += b',"parameters":{"binary_data_size":%d}}' % len(raw)
                binary.append(raw)
            else:
                head += b',"data":' + self._encode(json_values(spec, array)) + b"}"
        head += b"]}"
        if message.binary_outputs is False:
            return [bytes(head)], None
        return [bytes(head), *binary], len(head)


def json_values(spec: TensorSpec, array: NDArray[Any]) -> list[Any]:
    """Flat JSON values of an output.

    Raises: BadRequestError: the datatype, or bytes that are not UTF-8, cannot travel as JSON.
    """
    if spec.datatype in BINARY_ONLY:
        raise BadRequestError(
            f"output {spec.name!r} is {spec.datatype}, which cannot travel as JSON: ask for it with binary_data"
        )
    flat: list[Any] = array.reshape(-1).tolist()
    if spec.datatype != "BYTES":
        return flat
    try:
        return [item.decode() if isinstance(item, bytes) else str(item) for item in flat]
    except UnicodeDecodeError:
        raise BadRequestError(
            f"output {spec.name!r} holds bytes that are not UTF-8, which JSON cannot carry: ask for it with binary_data"
        ) from None
