"""What tests of faults ask of a real server: an answer and how long it took, its metrics, and the rows that it wrote."""

import http.client
import json
import re
import time
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds

from tests.support.server import ServerProcess

DEADLINE_S = 20.0
# A machine that does other things beside: an answer that is later than this beyond its deadline did hang.
GRACE_S = 10.0
COLUMNS = ["service", "outcome", "status", "cache", "instead", "upstream", "attempts", "cost_nano", "tenant"]
FAR = """
name: {name}
models:
  far:
    remote:
      protocol: v2
      model: m
      inputs: [{{name: x, datatype: FP32, shape: [-1, 2]}}]
      outputs: [{{name: y, datatype: FP32, shape: [-1, 2]}}]
      upstreams: [{urls}]
{more}
slo: {{deadline: 20s}}
"""


@dataclass(frozen=True, slots=True)
class Said:
    """seconds: until the whole answer was there."""

    status: int
    body: dict[str, Any]
    headers: Mapping[str, str]
    seconds: float

    @property
    def values(self) -> list[Any]:
        found: list[Any] = self.body["outputs"][0]["data"]
        return found

    @property
    def parameters(self) -> dict[str, Any]:
        found: dict[str, Any] = self.body["parameters"]
        return found


def far(name: str, *urls: str, more: str = "") -> str:
    """The text of a service whose only model (x -> y, FP32[n,2]) is behind these upstreams."""
    return FAR.format(name=name, urls=", ".join(f'"{url}"' for url in urls), more=more)


def ask(
    server: ServerProcess,
    service: str,
    x: list[float],
    timeout_ms: int = 0,
    headers: Mapping[str, str] | None = None,
) -> Said:
    """One row of numbers. Raises where no answer comes in time: that is what these tests are about."""
    body: dict[str, Any] = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, len(x)], "data": x}]}
    if timeout_ms:
        body["parameters"] = {"timeout": 1000 * timeout_ms}
    return post(server, f"/v2/models/{service}/infer", body, headers)


def post(server: ServerProcess, path: str, body: Any, headers: Mapping[str, str] | None = None) -> Said:
    connection = http.client.HTTPConnection(server.host, server.port, timeout=DEADLINE_S + GRACE_S)
    began = time.monotonic()
    connection.request("POST", path, json.dumps(body), dict(headers or {}))
    answer = connection.getresponse()
    said = Said(answer.status, json.loads(answer.read()), dict(answer.headers), time.monotonic() - began)
    connection.close()
    return said


def metrics_text(server: ServerProcess) -> str:
    with urllib.request.urlopen(f"http://{server.control}/metrics", timeout=30) as answer:
        text: str = answer.read().decode()
    return text


def metric(server: ServerProcess, family: str, *labels: str) -> float:
    """Sum of the lines of a family that have all these labels."""
    lines = [line for line in metrics_text(server).splitlines() if re.match(rf"{family}\{{", line)]
    return sum(float(line.rpartition(" ")[2]) for line in lines if all(label in line for label in labels))


def rows(folder: Path, service: str = "") -> list[dict[str, Any]]:
    """All rows of a service, or of all; complete once the server has ended."""
    found: Iterable[dict[str, Any]] = (
        ds.dataset(folder, format="parquet").to_table(columns=COLUMNS).to_pylist()
    )
    return [row for row in found if service in ("", row["service"])]
