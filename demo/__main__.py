"""Serve a real model, ask it about real files of this machine over HTTP, show what came back, stop cleanly."""

import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from demo.file_types import LABEL_OF_EXTENSION, FileTypes, files_of_this_machine
from trivet.load.arrivals import Constant
from trivet.load.job import HttpRequest, Job, OpenLoop
from trivet.load.offer import offer
from trivet.spec.row import RowColumns
from trivet.stats.percentile import percentile_ns

NUM_FILES = 120
RATE_RPS = 20.0


def main() -> None:
    model = FileTypes()
    files = files_of_this_machine(NUM_FILES)
    print(f"model: {model.path.name} of the magika package; {len(files)} files of this machine")
    with tempfile.TemporaryDirectory(prefix="trivet-demo-") as folder:
        served = Path(folder, "file-type.onnx")
        served.symlink_to(model.path)
        server, address, control = start(served)
        try:
            rows = ask(address, model, files)
            show(rows, model, files)
            print(f"\nmetrics while it runs:  {control}/metrics   status:  {control}/status")
        finally:
            server.send_signal(signal.SIGTERM)
            code = server.wait(timeout=60)
    print(f"stopped cleanly (exit code {code})" if code == 0 else f"the server ended with {code}")
    print("\nyour own model:   .venv/bin/trivet serve model.onnx")
    print("what it promises: README.md, docs/")
    sys.exit(code)


def start(model: Path) -> tuple["subprocess.Popen[str]", str, str]:
    """The server's process, and the addresses it says it serves on."""
    command = [
        sys.executable,
        "-m",
        "trivet.cli.main",
        "serve",
        str(model),
        "--port",
        "0",
        "--control-port",
        "0",
    ]
    print("$ trivet serve file-type.onnx", flush=True)
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=model.parent)
    assert server.stderr is not None
    for line in server.stderr:
        print("  " + line.rstrip(), flush=True)
        if "serving on" in line:
            words = line.replace(",", "").split()
            return server, words[words.index("on") + 1], words[-1]
    sys.exit(f"the server ended with {server.wait()}")


def ask(address: str, model: FileTypes, files: Sequence[Path]) -> RowColumns:
    """Each file once, at a constant rate, open loop: latency counts from the moment a request was due."""
    print(f"\nasking about {len(files)} files at {RATE_RPS:g} requests/s ...", flush=True)
    requests = [HttpRequest(path="/v2/models/file-type/infer", body=_body(model, path)) for path in files]
    job = Job(
        target=address.removeprefix("http://"),
        requests=requests,
        load=OpenLoop(arrivals=Constant(rate_rps=RATE_RPS, duration_ns=int(len(files) / RATE_RPS * 1e9))),
        seed=1,
        order="sequence",
        keep_answers=True,
        max_send_lag_ns=20_000_000,  # the server may share this core
    )
    return RowColumns.decode(offer(job).rows)


def _body(model: FileTypes, path: Path) -> bytes:
    features = model.features(path)
    tensor = {"name": "bytes", "datatype": "INT32", "shape": [1, len(features)], "data": features.tolist()}
    return msgspec.json.encode({"inputs": [tensor]})


def show(rows: RowColumns, model: FileTypes, files: Sequence[Path]) -> None:
    """Labels against extensions, then latency percentiles."""
    agreed: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    for row in rows.rows():
        path = files[row.item]
        asked[path.suffix] += 1
        if row.status == 200:
            scores = msgspec.json.decode(row.answer)["outputs"][0]["data"]
            label = model.label(scores)
            agreed[path.suffix] += label == LABEL_OF_EXTENSION[path.suffix]
            if row.item % (len(files) // 8) == 0:
                latency_ms = (row.done_ns - row.intended_ns) / 1e6
                print(f"  {path.name[:44]:44s} -> {label:16s} {max(scores):.3f}   {latency_ms:6.1f} ms")
    kinds = "  ".join(f"{kind} {agreed[kind]}/{asked[kind]}" for kind, _ in asked.most_common())
    print(f"\nlabel agrees with the extension: {agreed.total()} of {asked.total()}  ({kinds})")
    answered = rows.select(rows["status"] == 200).latency_ns()
    line = "  ".join(f"p{p * 100:g} {percentile_ns(answered, p) / 1e6:.1f} ms" for p in (0.5, 0.9, 0.99))
    print(
        f"latency over HTTP, {len(answered)} of {rows.num_rows} answered: {line}  max {np.max(answered) / 1e6:.1f} ms"
    )


if __name__ == "__main__":
    main()
