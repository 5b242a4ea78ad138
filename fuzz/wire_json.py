"""JSON requests. The first byte chooses the service; the rest is the body."""

import json

from fuzz._codec import SERVICES, SIGNATURES, outcome
from trivet.spec.dtypes import NUMPY_OF_DATATYPE

_VALUE = {"BOOL": True, "BYTES": "ä", "FP32": 1.5, "FP64": -2e300}

SEEDS = {
    f"{i}": bytes([i])
    + json.dumps(
        {
            "id": "1",
            "inputs": [
                {
                    "name": spec.name,
                    "shape": [max(1, size) for size in spec.shape],
                    "datatype": spec.datatype,
                    "data": [_VALUE.get(spec.datatype, 7)] * 6,
                }
                for spec in signature.inputs
            ],
            "outputs": [{"name": "x", "parameters": {"binary_data": True}}],
            "parameters": {"binary_data_output": True, "timeout": 5},
        }
    ).encode()
    for i, signature in enumerate(SIGNATURES)
} | {
    f"plain-{i}": bytes([i])
    + b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"%b","data":[%b]}]}' % (datatype.encode(), data)
    for i, (datatype, data) in enumerate(
        zip(NUMPY_OF_DATATYPE, [b"true,false", *[b"1,2"] * 12, b'"a",""'], strict=True)
    )
}
TOKENS = [
    *(f'"{word}"'.encode() for word in ("inputs", "outputs", "parameters", "id", "name", "shape", "datatype", "data")),
    *(f'"{word}"'.encode() for word in ("binary_data", "binary_data_size", "binary_data_output", "sequence_id", "x", "z")),
    *(f'"{datatype}"'.encode() for datatype in NUMPY_OF_DATATYPE),
    b"null", b"true", b"false", b"NaN", b"-0", b"1e39", b"1e400", b"9223372036854775808", b"[[", b"]]",
    b"[]", b"{}", b'"\\ud800"', b'"\\u0000"', b"[0,1099511627776]", b"[4096,0]", b"-1",
]  # fmt: skip


def check(data: bytes) -> None:
    """Read or refused; and the careful reader, which an empty `parameters` asks for, agrees with the quick one."""
    if not data:
        return
    body = data[1:]
    found = outcome(data[0], lambda decoder: decoder.decode(body))
    # A second `parameters` counts, so only a body without one, escaped or not, stays the same request.
    if body.endswith(b"}") and b"param" not in body and b"\\u" not in body and data[0] < len(SERVICES):
        again = outcome(data[0], lambda decoder: decoder.decode(body[:-1] + b',"parameters":{}}'))
        if found != again and body[:-1].strip() != b"{":
            raise AssertionError(f"{found!r} by the quick reader, {again!r} by the careful one")
