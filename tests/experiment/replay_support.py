"""Runs, rows and stores made by hand: what the pure parts of replay and gate are tested on."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from trivet.catalog.environment import Environment
from trivet.catalog.machine import Processor
from trivet.catalog.noise import Noise
from trivet.catalog.records import Figure, Run
from trivet.spec.row import RowColumns, RowsHeader

HASH = "ab" * 32


@dataclass
class MemoryStore:
    """Artifacts in a dictionary, as a catalog gives them."""

    objects: dict[str, bytes] = field(default_factory=dict)

    def put(self, data: bytes) -> str:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self.objects[digest] = data
        return digest

    def has(self, digest: str) -> bool:
        return digest in self.objects

    def get(self, digest: str) -> bytes:
        return self.objects[digest]


def probe(piece_us: float) -> Noise:
    return Noise(core=0, piece_us=piece_us, jitter=0.01, longest_us=200, steal_share=0)


def environment(**changed: Any) -> Environment:
    """A quiet machine."""
    fields: dict[str, Any] = {
        "trivet": "0.1.0",
        "packages": {"numpy": "2.0.0", "onnxruntime": "1.20.0"},
        "python": "CPython 3.12.4",
        "kernel": "6.1",
        "processor": Processor(model="X", flags=("a", "b")),
        "cores": (0, 1),
        "pinning": {"generator": (0,), "server": (1,)},
        "noise_before": probe(100),
        "noise_after": probe(100),
    }
    return Environment(**{**fields, **changed})


def run(run_id: str = "r1", **changed: Any) -> Run:
    """A complete run of service `m`."""
    fields: dict[str, Any] = {
        "id": run_id,
        "kind": "bench",
        "service": "m",
        "configuration_hash": HASH,
        "configuration": configuration(),
        "workload": {"arrivals": "poisson", "rate_rps": 400.0},
        "seeds": {"workload": 7},
        "dataset": {"requests": 10, "requests_digest": "d" * 64, "source": "random"},
        "environment": environment(),
        "command": ["trivet", "bench", "service.yaml"],
        "state": "complete",
        "begun": "2026-01-01T00:00:00.000+00:00",
        "ended": "2026-01-01T00:00:10.000+00:00",
        "figures": {"accuracy": Figure(estimate=0.9, low=0.88, high=0.92, unit="accuracy")},
    }
    return Run(**{**fields, **changed})


def configuration(digest: str = "1" * 64, **levers: Any) -> dict[str, Any]:
    """As a run records it."""
    return {
        "service": {
            "name": "m",
            "models": {"m": {"file": "m.onnx", "levers": {"max_batch_size": "auto", **levers}}},
        },
        "files": [{"name": "m.onnx", "path": "m.onnx", "digest": digest}],
        "source": "service.yaml",
    }


def rows(
    num: int = 4000,
    *,
    seed: int = 0,
    engine_ms: float = 1.0,
    mood: float = 1.0,
    noise: float = 0.05,
    phases: bool = True,
    schedule: int = 1,
) -> RowColumns:
    """An idle server: latency is 0.3 ms and the engine's time, both with noise, times the machine's mood.

    Args: seed: of the noise.  schedule: seed of the arrivals: 400 a second, Poisson.
    """
    rng = np.random.default_rng(seed)
    intended = np.cumsum(np.random.default_rng(schedule).exponential(2.5e6, num)).astype(np.int64)
    compute = (engine_ms * 1e6 * mood * np.exp(noise * rng.standard_normal(num))).astype(np.int64)
    rest = (0.3e6 * mood * np.exp(noise * rng.standard_normal(num))).astype(np.int64)
    known: Mapping[str, Any] = (
        {"compute_ns": compute, "batch_size": np.ones(num, np.int64), "queue_ns": rest // 2} if phases else {}
    )
    return RowColumns.of(
        RowsHeader(writer="load"),
        num,
        intended_ns=intended,
        sent_ns=intended,
        done_ns=intended + compute + rest,
        outcome="ok",
        status=200,
        **known,
    )


def replaced(value: Any, **changed: Any) -> Any:
    return msgspec.structs.replace(value, **changed)
