"""Servers that a comparison can start: trivet, and other people's where they are installed.

`--peers DIR` names a folder with one virtual environment a peer (`DIR/<peer>/bin/python`) and `DIR/models`; the
scripts that serve with them are looked for in the folder `shared/peers` beside the project.
"""

import json
import os
import random
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks import models
from benchmarks._harness import OUT
from benchmarks._processes import Server, ask, free_port
from trivet.load.http import request_bytes
from trivet.load.job import HttpRequest

SCRIPTS = Path(__file__).parent.parent.parent / "shared" / "peers"
NUM_PAYLOADS = 64


@dataclass(frozen=True, slots=True)
class Side:
    """How to start one server and what to send it. `speaks`: v2, v2-binary, or x (a peer's own JSON)."""

    name: str
    speaks: str
    peer: str = ""  # the virtual environment under DIR; empty for trivet
    script: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


_GRANIAN = "serve_granian.py"
SIDES = {
    side.name: side
    for side in (
        Side("trivet", "v2"),
        Side("trivet-binary", "v2-binary"),
        Side("sketch-v2", "v2", "granian", "serve_sketch.py", {"PEER_SKETCH_V2": "1"}),
        Side("granian-null", "x", "granian", _GRANIAN, {"PEER_VARIANT": "null"}),
        Side("granian", "x", "granian", _GRANIAN, {"PEER_VARIANT": "nobatch"}),
        Side("granian-batch", "x", "granian", _GRANIAN, {"PEER_VARIANT": "batch"}),
        Side("mosec-1ms", "x", "mosec", "serve_mosec.py", {"PEER_DELAY_MS": "1"}),
        Side("mosec-2ms", "x", "mosec", "serve_mosec.py", {"PEER_DELAY_MS": "2"}),
        Side("mosec-5ms", "x", "mosec", "serve_mosec.py", {"PEER_DELAY_MS": "5"}),
        Side("triton", "v2", "pytriton", "serve_triton.py"),
    )
}


def available(names: Sequence[str], peers: Path | None) -> list[Side]:
    """The sides that can run here; the missing ones are named on stderr."""
    found = []
    for name in names:
        side = SIDES[name]
        if not side.peer or (
            peers is not None
            and (peers / side.peer / "bin" / "python").exists()
            and (SCRIPTS / side.script).exists()
        ):
            found.append(side)
        else:
            sys.stderr.write(
                f"missing: {name} (no {side.peer} under --peers, or no scripts in {SCRIPTS.name})\n"
            )
    return found


def model_file(kind: str, peers: Path | None) -> Path:
    """The peers' file where there are peers, so that all serve the same; else one of the same shape."""
    if peers is not None:
        return peers / "models" / f"{kind}.onnx"
    path = OUT / "models" / f"{kind}.onnx"
    if not path.exists():
        models.write({"tiny": models.tiny, "text": models.text}[kind](), path)
    return path


def payloads(kind: str, speaks: str, width: int = 0) -> list[HttpRequest]:
    """Requests of one row each. `width`: of the row, where the model leaves it free."""
    generator = random.Random(7)
    num_values = width or {"tiny": 30, "text": 32}[kind]
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


def start(side: Side, kind: str, model: Path, core: int, peers: Path | None) -> Server:
    """Start a side on `core`, ready when it has answered a first inference."""
    port = free_port()
    folder = OUT / "sides" / side.name
    folder.mkdir(parents=True, exist_ok=True)
    if side.peer:
        assert peers is not None  # `available` saw to it
        python = peers / side.peer / "bin" / "python"
        command = [str(python), str(SCRIPTS / side.script)]
        environment = {
            "PEER_MODEL": str(model),
            "PEER_KIND": kind,
            "PEER_PORT": str(port),
            "PEER_BATCH": {"tiny": "32", "text": "16"}.get(kind, "32"),
            "PEER_DELAY_MS": "2",
            "PEER_WORKDIR": str(folder),
            "OMP_NUM_THREADS": "1",
            "PYTHONWARNINGS": "ignore",
            "PATH": f"{python.parent}:{os.environ['PATH']}",
            **side.environment,
        }
    else:
        served = folder / "m.onnx"
        shutil.copyfile(model, served)
        command = [sys.executable, "-m", "trivet.cli.main", "serve", str(served), "--port", str(port)]
        command += ["--control-port", "0", "--workers", "1"]
        environment = {"TRIVET_STATE": str(folder)}
    server = Server.start(command, f"127.0.0.1:{port}", log=folder / "log", cores=[core], env=environment)
    request = payloads(kind, side.speaks)[0]
    whole = request_bytes(request.method, request.path, server.target, request.headers, request.body)
    while ask(server.target, whole)[0] != 200:  # ready is not always ready: some answer 503 first
        pass
    return server
