"""Servers that a comparison can start: trivet, and other people's where they are installed.

`--peers DIR` names a folder with one virtual environment a peer (`DIR/<peer>/bin/python`) and `DIR/models`; the
scripts that serve with them are looked for in `peers` of the folder `shared` beside the project, or of the folder
that BENCH_SHARED names.
"""

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import models
from benchmarks._payloads import WIDE_FEATURES, payloads
from benchmarks._processes import Server, free_ports, wait_for_answer
from benchmarks._records import OUT
from benchmarks._trivet import Trivet, whole
from trivet.load.job import HttpRequest

SHARED = Path(os.environ.get("BENCH_SHARED", Path(__file__).parent.parent.parent / "shared"))
SCRIPTS = SHARED / "peers"
NUM_PORTS = 3  # Triton takes the two after its own


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


_MODELS = {
    "tiny": models.tiny,
    "text": models.text,
    "wide": lambda: models.tiny(num_features=WIDE_FEATURES),
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
    if peers is not None and kind != "wide":
        return peers / "models" / f"{kind}.onnx"
    path = OUT / "models" / f"{kind}.onnx"
    if not path.exists():
        models.write(_MODELS[kind](), path)
    return path


def start(side: Side, kind: str, model: Path, core: int, peers: Path | None) -> Server:
    """Start a side on `core`, ready when it has answered a first inference."""
    first = payloads(kind, side.speaks)[0]
    if side.peer:
        batch = {"tiny": "32", "text": "16"}.get(kind, "32")
        environment = {"PEER_KIND": kind, "PEER_BATCH": batch, "PEER_DELAY_MS": "2", **side.environment}
        return start_peer(
            side.name, SCRIPTS / side.script, python_of(side, peers), model, core, first, environment
        )
    return Trivet.serve(side.name, [as_m(model, side.name)], cores=[core], first=first)


def as_m(model: Path, name: str) -> Path:
    """A copy that is served as `m`, the name that all requests ask for."""
    served = OUT / "sides" / name / "m.onnx"
    served.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(model, served)
    return served


def python_of(side: Side, peers: Path | None) -> Path:
    """Raises: ValueError: without --peers there is none; `available` leaves such sides out."""
    if peers is None:
        raise ValueError(f"{side.name} is a peer: it needs --peers")
    return peers / side.peer / "bin" / "python"


def start_peer(
    name: str,
    script: Path,
    python: Path,
    model: Path,
    core: int,
    first: HttpRequest,
    environment: Mapping[str, str],
) -> Server:
    """A peer's script in its own environment, ready when it has answered `first`."""
    port = free_ports(NUM_PORTS)
    folder = OUT / "sides" / name
    folder.mkdir(parents=True, exist_ok=True)
    env = {
        "PEER_MODEL": str(model),
        "PEER_PORT": str(port),
        "PEER_WORKDIR": str(folder),
        "OMP_NUM_THREADS": "1",
        "PYTHONWARNINGS": "ignore",
        "PATH": f"{python.parent}:{os.environ['PATH']}",
        "PYTHONPATH": "",  # ours is not for them
        **environment,
    }
    command = [str(python), str(script)]
    server = Server.start(command, f"127.0.0.1:{port}", log=folder / "log", cores=[core], env=env)
    try:
        wait_for_answer(server, whole(first, server.target))
    except BaseException:
        server.stop()
        raise
    return server
