"""The requests of one row each that a model is asked, in V2 JSON, in V2 binary, or in a peer's own JSON."""

import json
import random
from collections.abc import Sequence

import msgspec
import numpy as np

from trivet.load.job import HttpRequest

NUM_PAYLOADS = 64
WIDE_FEATURES = 1_000
FEATURES = {"tiny": 30, "text": 32, "wide": WIDE_FEATURES, "busy": 1}


def payloads(kind: str, speaks: str) -> list[HttpRequest]:
    """The same rows in every language."""
    generator = random.Random(7)
    num_values = FEATURES[kind]
    datatype = "INT64" if kind == "text" else "FP32"
    rows: list[list[float]] = [
        [
            generator.randrange(1000, 30000) if kind == "text" else round(generator.gauss(0, 1), 6)
            for _ in range(num_values)
        ]
        for _ in range(NUM_PAYLOADS)
    ]
    return [_payload(row, datatype, speaks) for row in rows]


def _payload(row: Sequence[float], datatype: str, speaks: str) -> HttpRequest:
    if speaks == "x":
        return HttpRequest(
            path="/predict",
            headers={"Content-Type": "application/json"},
            body=json.dumps({"x": row}).encode(),
        )
    tensor = {"name": "x", "shape": [1, len(row)], "datatype": datatype}
    path = "/v2/models/m/infer"
    if speaks == "v2":
        body = json.dumps({"inputs": [tensor | {"data": row}]}).encode()
        return HttpRequest(path=path, headers={"Content-Type": "application/json"}, body=body)
    raw = np.array(row, np.int64 if datatype == "INT64" else np.float32).tobytes()
    parameters = {"binary_data_size": len(raw)}
    head = json.dumps(
        {
            "inputs": [tensor | {"parameters": parameters}],
            "outputs": [{"name": "y", "parameters": {"binary_data": True}}],
        }
    ).encode()
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))}
    return HttpRequest(path=path, headers=headers, body=head + raw)


def with_timeout(request: HttpRequest, timeout_ns: int) -> HttpRequest:
    """A V2 request in JSON that says how long an answer is worth something."""
    values = msgspec.json.decode(request.body) | {"parameters": {"timeout": timeout_ns // 1000}}
    return msgspec.structs.replace(request, body=msgspec.json.encode(values))
