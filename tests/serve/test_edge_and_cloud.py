"""A cascade whose last stage is in another network: it answers here while the link is cut, and comes back by itself."""

import http.client
import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.exits import write_parts
from tests.support.link import Link
from tests.support.server import ServerProcess

EDGE = """
name: edge
models:
  front: {file: front.onnx}
  far:
    remote:
      protocol: v2
      model: rest
      inputs: [{name: h, datatype: FP32, shape: [-1, 2]}]
      outputs: [{name: y, datatype: FP32, shape: [-1, 2]}]
      upstreams: ["http://10.77.0.2:8000"]
slo: {deadline: 2s}
pipeline:
  - model: front
    exit: {output: y, at_least: 0.9}
  - model: far
    failures:
      timeout: 400ms
      breaker: {failures: 3, open: 100ms, max_open: 200ms}
      fallback: [{model: front}]
"""
DEADLINE_S = 2.0
DELAY_S = 0.02


class _OverUnixSocket(http.client.HTTPConnection):
    """A Unix socket belongs to no network: the client stays outside of both."""

    def __init__(self, path: str) -> None:
        super().__init__("edge", timeout=20)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(self._path)


def ask(connection: http.client.HTTPConnection, x: list[float]) -> tuple[list[float], float]:
    """The answer, and the seconds until it was there."""
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": x}
    began = time.monotonic()
    connection.request("POST", "/v2/models/edge/infer", json.dumps({"inputs": [tensor]}))
    answer = connection.getresponse()
    said: Any = json.loads(answer.read())
    assert answer.status == 200, said
    return said["outputs"][0]["data"], time.monotonic() - began


@pytest.mark.slow
def test_the_edge_answers_alone_while_the_link_is_cut(tmp_path: Path) -> None:
    write_parts(tmp_path)
    (tmp_path / "edge.yaml").write_text(EDGE)
    unsure, sure = [1.0, 0.0], [3.0, 0.0]
    with Link(delay_s=DELAY_S, loss=0.02, seed=5) as link:
        far = ["--host", "0.0.0.0", "--port", "8000", "rest.onnx"]
        near = ["--uds", str(tmp_path / "edge.sock"), "edge.yaml"]
        with (
            ServerProcess(far, tmp_path, link.inside(link.far), TRIVET_STATE=str(tmp_path / "far")),
            ServerProcess(near, tmp_path, link.inside(link.near)),
        ):
            connection = _OverUnixSocket(str(tmp_path / "edge.sock"))
            whole = [ask(connection, unsure) for _ in range(40)]
            assert sum(y == [10.0, 0.0] for y, _ in whole) >= 30  # a lost packet may cost a timeout
            assert min(seconds for y, seconds in whole if y == [10.0, 0.0]) >= 2 * DELAY_S
            link.is_cut = True
            alone = [ask(connection, unsure) for _ in range(60)]
            assert {tuple(y) for y, _ in alone} == {(1.0, 0.0)}
            assert sorted(seconds for _, seconds in alone)[30] < DELAY_S  # the breaker is open: nobody waits
            link.is_cut = False
            back = [ask(connection, unsure)]
            while back[-1][0] != [10.0, 0.0] and len(back) < 5000:
                back.append(ask(connection, unsure))
            assert back[-1][0] == [10.0, 0.0]
            assert ask(connection, sure)[0] == sure
            assert max(seconds for _, seconds in [*whole, *alone, *back]) < DEADLINE_S
            connection.close()
