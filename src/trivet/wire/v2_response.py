"""Open Inference Protocol V2: infer answers in JSON and binary, from tensors to bytes. No sockets, no models.

Source: kserve/open-inference-protocol (REST), Triton's binary tensor extension.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from trivet.errors import BadRequestError
from trivet.spec.dtypes import NUMPY_OF_DATATYPE
from trivet.spec.signature import VARIABLE, Signature, TensorSpec
from trivet.wire.tensor import BINARY_ONLY, Buffer, to_bytes
from trivet.wire.v2_request import InferMessage

# Clients choose outputs in any order: of ever new wishes only so many are remembered.
_MAX_WISHES = 256
_Wish = tuple[tuple[str, ...] | None, frozenset[str] | bool]  # outputs, and which of them as binary
_BinaryHead = tuple[bytes, list[tuple[str, int]]]  # the JSON part; the outputs and the bytes of a row of each


class ResponseEncoder:
    """Writes the infer answers of one service.

    Args: exit_: who gave these answers, where a service has early exits. parameters: what else they say.
    """

    def __init__(
        self,
        name: str,
        version: str,
        signature: Signature,
        configuration: str,
        exit_: str = "",
        parameters: Mapping[str, str | int] | None = None,
    ) -> None:
        self._signature = signature
        parameters = (
            {"configuration": configuration} | ({"exit": exit_} if exit_ else {}) | dict(parameters or {})
        )
        self._head = msgspec.json.encode(
            {"model_name": name, "model_version": version, "parameters": parameters}
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
        self._segments = self._one_row()
        self._lone_output = self._segments[0][1] if self._segments and len(self._segments) == 1 else None
        self._before_lone = self._head + self._segments[0][0] if self._segments else b""
        self._binary_heads: dict[_Wish, _BinaryHead] = {}

    def _one_row(self) -> list[tuple[bytes, str]] | None:
        """What stands before each output's values in an answer of one row; None where the model leaves a size free."""
        segments = []
        separator = b',"outputs":['
        for spec in self._signature.outputs:
            if not self._signature.batch_axis or VARIABLE in spec.shape[1:]:
                return None
            shape = self._encode([1, *spec.shape[1:]])
            segments.append((separator + self._tensor_heads[spec.name] + shape + b',"data":', spec.name))
            separator = b"},"
        return segments

    def json_row(self, rows: Mapping[str, list[list[Any]]], index: int, request_id: str) -> bytes | None:
        """The JSON answer to a request of one row, from flat rows of every output; None where a shape is not static.

        This is the whole encoding on the fast path: one small `encode` for each output.
        """
        encode = self._encode
        if self._lone_output is not None and not request_id:
            return self._before_lone + encode(rows[self._lone_output][index]) + b"}]}"
        if self._segments is None:
            return None
        parts = [self._head, b',"id":' + encode(request_id)] if request_id else [self._head]
        for before, name in self._segments:
            parts += (before, encode(rows[name][index]))
        parts.append(b"}]}")
        return b"".join(parts)

    def binary_row(
        self, raw: Callable[[str], bytes], index: int, message: InferMessage
    ) -> tuple[int, bytes] | None:
        """The size of the JSON part, and the body, of an answer of one row whose outputs all travel as binary.

        Args: raw: the bytes of all rows of an output. Returns: None for any other answer.
        """
        if message.id:
            return None
        wish = (message.outputs, message.binary_outputs)
        head = self._binary_heads.get(wish)
        if head is None:
            head = self._binary_head(message)
            if head is None:
                return None
            if len(self._binary_heads) < _MAX_WISHES:
                self._binary_heads[wish] = head
        body, tensors = head
        json_size = len(body)
        for name, size in tensors:
            body += raw(name)[index * size : (index + 1) * size]
        return json_size, body

    def _binary_head(self, message: InferMessage) -> _BinaryHead | None:
        names = message.outputs or self._all
        chosen = message.binary_outputs
        if self._segments is None or chosen is False or (chosen is not True and not chosen.issuperset(names)):
            return None
        if any(self._specs[name].datatype == "BYTES" for name in names):
            return None
        empty = {
            name: np.zeros((1, *self._specs[name].shape[1:]), NUMPY_OF_DATATYPE[self._specs[name].datatype])
            for name in names
        }
        parts, _ = self.encode(empty, message)
        return bytes(parts[0]), [(name, len(part)) for name, part in zip(names, parts[1:], strict=True)]

    def encode(
        self, outputs: Mapping[str, NDArray[Any]], message: InferMessage
    ) -> tuple[list[Buffer], int | None]:
        """The answer as body parts, and the size of its JSON where binary tensors follow.

        Raises: BadRequestError: an output cannot travel as JSON (FP16, BF16, bytes that are not UTF-8).
        """
        head = bytearray(self._head)
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
