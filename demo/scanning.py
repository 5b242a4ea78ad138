"""What files cost as a scan of the machine meets them, some of them twice: with shortcuts and without."""

import http.client
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from demo.asking import PATIENT
from demo.commands import Serving, serving, trivet
from trivet.experiment.processes import ProcessTree
from trivet.spec.certified import CertifiedPoint, read_certificate
from trivet.spec.service_file import load_service
from trivet.spec.signature import TensorSpec
from trivet.wire.v2_client import decode_infer, encode_infer

SERVED = "served.yaml"
CACHE = "cache:\n  exact: {size: 64MiB}\n"
_PATH = "/v2/models/file-type/infer"
_JSON_SIZE = "Inference-Header-Content-Length"
_INPUT = TensorSpec(name="bytes", datatype="INT32", shape=(1, 2048))
NS_PER_MS = 1e6


@dataclass(frozen=True, slots=True)
class Scan:
    """ways: who answered each file.  ms: how long each took, one at a time.  answers: the class of each, -1: none came.
    cpu_ms: processor time of the server for a file, the mean."""

    ways: NDArray[np.str_]
    ms: NDArray[np.float64]
    answers: NDArray[np.int64]
    cpu_ms: float


def scan(server: Serving, rows: NDArray[np.int32]) -> Scan:
    """Ask for each file alone. Args: rows: features, shape (files, 2048)."""
    host = server.address.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=30)
    tree = ProcessTree(server.pid)
    print(f"asking for {len(rows):,} files, one after the other ...", flush=True)
    before_ns = tree.cpu_ns()
    found = [_ask(connection, row) for row in rows]
    cpu_ms = (tree.cpu_ns() - before_ns) / NS_PER_MS / len(rows)
    connection.close()
    ways, times, answers = zip(*found, strict=True)
    return Scan(np.array(ways), np.array(times), np.array(answers), cpu_ms)


def _ask(connection: http.client.HTTPConnection, row: NDArray[np.int32]) -> tuple[str, float, int]:
    body, json_size = encode_infer([(_INPUT, row[None])], binary=True, parameters=PATIENT)
    began = time.perf_counter_ns()
    connection.request("POST", _PATH, body, {_JSON_SIZE: str(json_size)})
    response = connection.getresponse()
    data = response.read()
    spent_ms = (time.perf_counter_ns() - began) / NS_PER_MS
    if response.status != http.HTTPStatus.OK:
        return "nobody", spent_ms, -1
    size = response.getheader(_JSON_SIZE)
    answer = decode_infer(data, None if size is None else int(size))
    is_kept = answer.parameters.get("cache", "miss") != "miss"
    way = "the cache" if is_kept else str(answer.parameters.get("exit", "the model"))
    (scores,) = answer.outputs.values()
    return way, spent_ms, int(scores.argmax())


def with_shortcuts(folder: Path, service: str, rows: NDArray[np.int32], plain: Scan) -> None:
    """Put the student before the model where a certificate is had and saves time, a cache before both, and scan again.

    Args: service: the file of the recommended configuration.  plain: what it needed for the same files.
    """
    point = _certified(folder, service)
    chosen = service if point is None else "cascade.yaml"
    (folder / SERVED).write_text((folder / chosen).read_text() + CACHE)
    print(f"$ (cat {chosen}; echo 'cache: {{exact: {{size: 64MiB}}}}') > {SERVED}")
    with serving(folder, SERVED) as server:
        first, second = scan(server, rows), scan(server, rows)
    print("\n".join(in_words(plain, first, second, point)))


def _certified(folder: Path, service: str) -> CertifiedPoint | None:
    """The certified point that would be served; None: there is no certificate, or nothing is saved by it."""
    models = (load_service(folder / name).models["file-type"].file for name in (service, "service.yaml"))
    # Two points are what answers may lose: where the model is a variant itself, it has lost some of them already.
    max_loss = "2%" if len(set(models)) == 1 else "1%"
    words = ("certify", service, "--before", "distilled", "--max-loss", max_loss)
    if trivet(folder, *words, codes=(0, 1)):
        print("  no certificate, so no cascade: every file that is new goes to the model")
        return None
    point = read_certificate(folder / "certified.yaml").points[-1]
    if point.saving <= 0:
        print("  the cascade does not pay: it is left out")
        return None
    return point


def in_words(plain: Scan, first: Scan, second: Scan, point: CertifiedPoint | None) -> Sequence[str]:
    """Who answered, what that took, and what it saved. Args: second: the same files once more."""
    num = len(first.ways)
    lines = [f"{num:,} files, one after the other, as a scan meets them:"]
    lines += [
        _line(f"answered by {way}", first.ms[first.ways == way], num)
        for way in sorted(
            set(first.ways.tolist()), key=lambda way: float(np.median(first.ms[first.ways == way]))
        )
    ]
    lines += [_line("without shortcuts", plain.ms, num)]
    lines += [_line("the same files again", second.ms, num)]
    saved = 1 - first.cpu_ms / plain.cpu_ms
    lines.append(
        f"processor time of the server: {first.cpu_ms:.2f} ms a file, {plain.cpu_ms:.2f} without shortcuts: "
        + (f"{100 * saved:.0f} % saved" if saved > 0 else "nothing saved here, leave them out")
        + f"; {second.cpu_ms:.2f} for a file that is asked for again"
    )
    if not (first.ways == "the cache").any():
        lines.append("no file lay there twice: on a first scan the cache saves nothing")
    changed = f"{100 * np.mean(first.answers != plain.answers):.1f} % of the answers are others than without shortcuts"
    if point is not None:
        changed += (
            f"; certified (95 % sure) for files like the labelled ones: at most {100 * point.changed:.1f} %, and at most "
            f"{100 * max(0.0, point.risk_bound):.2f} points of accuracy lost"
        )
    return [*lines, changed]


def _line(who: str, ms: NDArray[np.float64], num: int) -> str:
    return f"  {who:24s} {len(ms):6,} {100 * len(ms) / num:5.1f} %   median {np.median(ms):7.3f} ms"
