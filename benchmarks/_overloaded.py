"""What overload and spikes are offered to: a text model in onnxruntime, or a Python loop that holds its core."""

import statistics
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks._in_process import best_rate
from benchmarks._payloads import payloads, with_timeout
from benchmarks._processes import run_on_core
from benchmarks._records import OUT
from benchmarks._sides import as_m, model_file
from benchmarks._trivet import Trivet
from trivet.load.arrivals import Arrivals
from trivet.load.job import HttpRequest, Job, OpenLoop

BUSY_MS = 2
CAPACITY = "capacity, requests/s"
_LIMIT_SECONDS = 2.0
_COUNT = 100_000
# The fastest of many: a slow one was disturbed.
_TIME_A_LOOP = f"""
import time
def loop(count):
    total = 0
    for i in range(count):
        total += i & 3
    return total
best = 1e9
for _ in range(50):
    begun = time.perf_counter()
    loop({_COUNT})
    best = min(best, time.perf_counter() - begun)
print(best)
"""
_CODE = '''"""A model in pure Python: each row keeps the interpreter busy for about {milliseconds} ms."""


def busy(inputs):
    for _ in range(len(inputs["x"])):
        total = 0
        for i in range({count}):
            total += i & 3
    return {{"y": inputs["x"]}}


busy.inputs = [{{"name": "x", "datatype": "FP32", "shape": [-1, 1]}}]
busy.outputs = [{{"name": "y", "datatype": "FP32", "shape": [-1, 1]}}]
'''
_SERVICE = "name: m\nmodels:\n  busy: {python: 'busy.py:busy'}\n"


@dataclass(frozen=True, slots=True)
class Subject:
    """`kind`: text or busy. `core` is the server's, and that of the same model called in process."""

    kind: str
    core: int
    deadline_ns: int
    peers: Path | None = None

    def calibrated(self) -> dict[str, Any]:
        """The capacity in process over batches that take at most half the deadline, requests a second: the median
        of 3; and how often the busy loop turns."""
        found: dict[str, Any] = {}
        if self.kind == "busy":
            seconds = float(run_on_core([sys.executable, "-c", _TIME_A_LOOP], self.core))
            found["loops"] = round(BUSY_MS / 1000 / seconds * _COUNT)
        model = self.model(found)
        rates = [
            best_rate(
                self.kind, model, self.core, seconds=_LIMIT_SECONDS, max_batch_ns=self.deadline_ns // 2
            ).rps
            for _ in range(3)
        ]
        return {**found, CAPACITY: round(statistics.median(rates), 1)}

    def model(self, calibrated: Mapping[str, Any]) -> Path:
        """The model file, or the Python file of the busy loop, written."""
        if self.kind != "busy":
            return model_file(self.kind, self.peers)
        folder = OUT / "sides" / self._name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "busy.py").write_text(_CODE.format(milliseconds=BUSY_MS, count=calibrated["loops"]))
        (folder / "service.yaml").write_text(_SERVICE)
        return folder / "busy.py"

    def start(self, calibrated: Mapping[str, Any]) -> Trivet:
        model = self.model(calibrated)
        served = model.with_name("service.yaml") if self.kind == "busy" else as_m(model, self._name)
        return Trivet.serve(
            self._name, [served], cores=[self.core], first=self.requests(10 * self.deadline_ns)[0]
        )

    def requests(self, timeout_ns: int) -> list[HttpRequest]:
        return [with_timeout(request, timeout_ns) for request in payloads(self.kind, "v2")]

    def job(self, server: Trivet, arrivals: Arrivals, seed: int, warmup_ns: int) -> Job:
        """What to offer: every request says its deadline, and an answer past it is late."""
        return Job(
            target=server.target,
            requests=self.requests(self.deadline_ns),
            load=OpenLoop(arrivals=arrivals),
            seed=seed,
            warmup_ns=warmup_ns,
            deadline_ns=self.deadline_ns,
            max_connections=1024,
            max_send_lag_ns=self.deadline_ns // 20,  # a send late by a twentieth decides little
        )

    @property
    def _name(self) -> str:
        return f"overload-{self.kind}"
