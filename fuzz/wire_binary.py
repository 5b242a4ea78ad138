"""Binary requests: one byte chooses the service, two give the size of the JSON (65535: none given), then the body."""

import json

import numpy as np

from fuzz._codec import SIGNATURES, outcome
from trivet.spec.dtypes import NUMPY_OF_DATATYPE
from trivet.spec.signature import Signature

_NOT_GIVEN = 0xFFFF
_STRINGS = b"\x02\0\0\0ab\0\0\0\0" * 3


def _seed(i: int, signature: Signature) -> bytes:
    inputs, tails = [], []
    for spec in signature.inputs:
        shape = [max(2, size) for size in spec.shape]
        count = int(np.prod(shape))
        if spec.datatype == "BYTES":
            tail = b"\x01\0\0\0\xff" * count
        else:
            tail = b"\1" * (np.dtype(NUMPY_OF_DATATYPE[spec.datatype]).itemsize * count)
        parameters = {"binary_data_size": len(tail)}
        inputs.append(
            {"name": spec.name, "shape": shape, "datatype": spec.datatype, "parameters": parameters}
        )
        tails.append(tail)
    head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    return bytes([i]) + len(head).to_bytes(2, "little") + head + b"".join(tails)


SEEDS = {f"{i}": _seed(i, signature) for i, signature in enumerate(SIGNATURES)} | {
    f"raw-{i}": bytes([i, 0, 0]) + _STRINGS[:24] for i in range(len(SIGNATURES))
}
TOKENS = [
    *(f'"{datatype}"'.encode() for datatype in NUMPY_OF_DATATYPE),
    b'"binary_data_size":', b'"parameters":{', b'"shape":[', b'"data":[', b'"inputs":[{', b'"x"', b'"z"',
    b"}]}", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\0\0\x80", b"-1", b"0", b"4294967295", b"1099511627776",
    b"1e3", b"true",
]  # fmt: skip


def check(data: bytes) -> None:
    """Read or refused, and no tensor larger than what was sent."""
    if len(data) < 3:
        return
    size = int.from_bytes(data[1:3], "little")
    body = data[3:]
    json_size = None if size == _NOT_GIVEN else size
    # A bytearray is what a body becomes that arrived in several pieces.
    as_bytes = outcome(data[0], lambda decoder: decoder.decode(body, json_size))
    as_array = outcome(data[0], lambda decoder: decoder.decode(bytearray(body), json_size))
    if as_bytes != as_array:
        raise AssertionError(f"{as_bytes!r} from bytes, {as_array!r} from a bytearray")
    if as_bytes is not None:
        afresh = outcome(data[0], lambda decoder: decoder.decode(body, json_size), afresh=True)
        if as_bytes != afresh:
            raise AssertionError(
                f"{as_bytes!r} by a decoder that knows the layout, {afresh!r} by a fresh one"
            )
