"""The control API of the supervisor: metrics, health, status; changes need the token.

GET  /metrics                                   Prometheus
GET  /live, /ready                              for probes
GET  /status                                    JSON: services, configurations, workers
PUT  /services/{name}/versions/{version}/live   {"entries": [{"path": ..., "share": ...}]}
"""

import secrets
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from trivet import __version__
from trivet.errors import RequestError, SpecError, UserError
from trivet.serve.messages import Served, ServedService
from trivet.serve.metrics import render
from trivet.serve.supervisor import Supervisor
from trivet.spec.service_file import load_configuration

T = TypeVar("T")
Handler = Callable[[Request], Awaitable[Response]]


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One live configuration: a service or model file on this machine, and its share of the traffic."""

    path: str
    share: float = 1.0


class LiveChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    entries: tuple[Entry, ...]


class Control:
    """The handlers of one supervisor."""

    def __init__(self, supervisor: Supervisor, token: str) -> None:
        self._supervisor = supervisor
        self._token = token

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/metrics", self._metrics),
                Route("/live", self._live),
                Route("/ready", self._ready),
                Route("/status", self._status),
                Route(
                    "/services/{name}/versions/{version}/live", self._guarded(self._set_live), methods=["PUT"]
                ),
            ]
        )

    async def _metrics(self, _request: Request) -> Response:
        supervisor = self._supervisor
        own = {
            "worker_lost_requests": supervisor.worker_lost,
            "worker_restarts": supervisor.restarts,
            "workers_ready": sum(worker is not None and worker.ready for worker in supervisor.workers),
        }
        keeper = supervisor.background
        counts = None if keeper is None else keeper.counts()
        text = render(await supervisor.snapshots(), own, counts)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def _live(self, _request: Request) -> Response:
        return _json({"live": True})

    async def _ready(self, _request: Request) -> Response:
        ready = self._supervisor.is_ready
        return _json({"ready": ready}, 200 if ready else 503)

    async def _status(self, _request: Request) -> Response:
        supervisor = self._supervisor
        keeper = supervisor.background
        return _json(
            {
                "version": __version__,
                "ready": supervisor.is_ready,
                "draining": supervisor.draining,
                "worker_lost": supervisor.worker_lost,
                "services": [_service(service) for service in supervisor.services],
                "background": None if keeper is None else {"pid": keeper.pid, **asdict(keeper.counts())},
                "workers": await supervisor.snapshots(),
            }
        )

    async def _set_live(self, request: Request) -> Response:
        change = _decode(await request.body(), LiveChange)
        if not change.entries or not all(entry.share > 0 for entry in change.entries):
            return _json({"error": "entries: at least one configuration, each with a share above 0"}, 400)
        name, version = request.path_params["name"], request.path_params["version"]
        entries = tuple(Served(load_configuration(Path(entry.path)), entry.share) for entry in change.entries)
        known = [one for one in self._supervisor.services if (one.name, one.version) == (name, version)]
        if not known:
            return _json({"error": f"no service {name!r} of version {version!r} is served"}, 404)
        await self._supervisor.set_live(
            ServedService(
                name=name, version=version, entries=entries, default_version=known[0].default_version
            )
        )
        return _json(
            {"live": [{"configuration": one.configuration.hash, "share": one.share} for one in entries]}
        )

    def _guarded(self, handler: Handler) -> Handler:
        """A call that changes something: only with the token; errors as `{"error": ...}`."""

        async def guarded(request: Request) -> Response:
            given = request.headers.get("authorization", "").removeprefix("Bearer ")
            if not secrets.compare_digest(given.encode(), self._token.encode()):
                return _json({"error": "this call needs the control token: Authorization: Bearer TOKEN"}, 401)
            try:
                return await handler(request)
            except RequestError as error:
                return _json({"error": str(error)}, error.status)
            except UserError as error:
                return _json({"error": str(error)}, 400)

        return guarded


def _service(service: ServedService) -> dict[str, Any]:
    return {
        "name": service.name,
        "version": service.version,
        "live": [{"configuration": one.configuration.hash, "share": one.share} for one in service.entries],
    }


def _decode(body: bytes, cls: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=cls)
    except msgspec.DecodeError as error:
        raise SpecError(f"the body is not what this call takes: {error}") from None


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")


class ControlServer(uvicorn.Server):
    """uvicorn without its own signal handling: the supervisor decides what a signal means."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def control_server(supervisor: Supervisor, token: str) -> ControlServer:
    app = Control(supervisor, token).app()
    return ControlServer(
        uvicorn.Config(app, log_level="warning", lifespan="off", loop="none", access_log=False)
    )


def control_token(path: Path) -> tuple[str, bool]:
    """The token in `path`; made, for its owner's eyes only, where there is none. True: it is new."""
    if path.is_file():
        return path.read_text().strip(), False
    token = secrets.token_urlsafe(24)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(token + "\n")
    return token, True
