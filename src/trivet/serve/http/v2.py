"""Open Inference Protocol V2 beside `infer`: health, metadata, statistics, repository."""

from typing import Any

import msgspec

from trivet import __version__
from trivet.errors import UnsupportedError
from trivet.runtime.live import LiveService
from trivet.serve.http.response import response
from trivet.serve.http.router import Forwarder, Handler, Router
from trivet.spec.signature import TensorSpec

EXTENSIONS = ("binary_tensor_data", "model_repository", "model_repository(unload_dependents)", "statistics")
# What a client may try because Triton has it, and what we call it in the answer.
_NOT_SUPPORTED = (
    ("POST", "v2/models/{m}/generate", "generate"),
    ("POST", "v2/models/{m}/generate_stream", "generate"),
    ("POST", "v2/models/{m}/versions/{v}/generate", "generate"),
    ("POST", "v2/models/{m}/versions/{v}/generate_stream", "generate"),
    ("GET", "v2/trace/setting", "trace settings"),
    ("POST", "v2/trace/setting", "trace settings"),
    ("GET", "v2/models/{m}/trace/setting", "trace settings"),
    ("POST", "v2/models/{m}/trace/setting", "trace settings"),
    ("GET", "v2/logging", "logging settings"),
    ("POST", "v2/logging", "logging settings"),
    ("GET", "v2/systemsharedmemory/status", "system shared memory"),
    ("GET", "v2/cudasharedmemory/status", "CUDA shared memory"),
)
_FORWARDED = (
    ("POST", "v2/repository/index"),
    ("POST", "v2/repository/models/{m}/load"),
    ("POST", "v2/repository/models/{m}/unload"),
    ("GET", "v2/models/stats"),
    ("GET", "v2/models/{m}/stats"),
    ("GET", "v2/models/{m}/versions/{v}/stats"),
)


class V2:
    """The handlers of one worker. `forward` lets the supervisor answer what concerns all workers."""

    def __init__(self, router: Router, forward: Forwarder) -> None:
        self._router = router
        self._forward = forward

    def register(self) -> None:
        add = self._router.add_handler
        add("GET", "v2", self._server)
        add("GET", "v2/health/live", lambda _path, _body: _json({"live": True}))
        add("GET", "v2/health/ready", self._ready)
        add("GET", "v2/models/{m}", self._model)
        add("GET", "v2/models/{m}/versions/{v}", self._model)
        add("GET", "v2/models/{m}/ready", self._model_ready)
        add("GET", "v2/models/{m}/versions/{v}/ready", self._model_ready)
        add("GET", "v2/models/{m}/config", self._config)
        add("GET", "v2/models/{m}/versions/{v}/config", self._config)
        for method, pattern, feature in _NOT_SUPPORTED:
            add(method, pattern, _unsupported(feature))
        for method, pattern in _FORWARDED:
            self._router.add_forwarded(method, pattern, self._forward)

    def _server(self, _path: list[str], _body: bytes) -> bytes:
        return _json({"name": "trivet", "version": __version__, "extensions": EXTENSIONS})

    def _ready(self, _path: list[str], _body: bytes) -> bytes:
        self._router.check_ready()
        return _json({"ready": True})

    def _model_ready(self, path: list[str], _body: bytes) -> bytes:
        live = self._find(path)
        self._router.check_ready()
        return _json({"name": live.name, "ready": True})

    def _model(self, path: list[str], _body: bytes) -> bytes:
        live = self._find(path)
        return _json(
            {
                "name": live.name,
                "versions": self._router.versions(live.name),
                "platform": live.platform,
                "inputs": [_tensor(spec) for spec in live.signature.inputs],
                "outputs": [_tensor(spec) for spec in live.signature.outputs],
                "parameters": {
                    "configuration": live.hash[:12],
                    "deadline_ms": live.deadline_ns / 1e6,
                    "largest_batch_difference": max(
                        (model.largest_batch_difference for model in live.models), default=0.0
                    ),
                },
            }
        )

    def _config(self, path: list[str], _body: bytes) -> bytes:
        """Triton's model configuration, as far as it has a meaning here; clients read `max_batch_size` from it."""
        live = self._find(path)
        batched = live.signature.batch_axis
        # Triton's shapes leave the batch axis out where there is one.
        first_axis = 1 if batched else 0
        return _json(
            {
                "name": live.name,
                "platform": live.platform,
                "max_batch_size": live.models[0].resolution.max_batch_size if batched else 0,
                "input": [_config_tensor(spec, first_axis) for spec in live.signature.inputs],
                "output": [_config_tensor(spec, first_axis) for spec in live.signature.outputs],
            }
        )

    def _find(self, path: list[str]) -> LiveService:
        table = self._router.find(path[0], path[1] if len(path) > 1 else None)
        return table.entries[0]


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": spec.shape}


def _config_tensor(spec: TensorSpec, first_axis: int) -> dict[str, Any]:
    datatype = "TYPE_STRING" if spec.datatype == "BYTES" else f"TYPE_{spec.datatype}"
    return {"name": spec.name, "data_type": datatype, "dims": spec.shape[first_axis:]}


def _unsupported(feature: str) -> Handler:
    def refuse(_path: list[str], _body: bytes) -> bytes:
        raise UnsupportedError(f"{feature}: not supported by this server")

    return refuse


def _json(value: Any) -> bytes:
    return response(200, [msgspec.json.encode(value)])
