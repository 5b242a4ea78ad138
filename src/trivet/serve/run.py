"""`trivet serve`: sockets, workers, control API, signals, in the order that makes the start short."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trivet.serve.background.keeper import BackgroundKeeper
from trivet.serve.background.settings import background_settings
from trivet.serve.known_tenants import check_prices, known_tenants
from trivet.serve.messages import KnownTenant
from trivet.serve.repository import Repository
from trivet.serve.services import served_services
from trivet.serve.spending import open_page
from trivet.serve.supervisor import Supervisor, listen_tcp, listen_unix
from trivet.spec.deployment import Deployment, num_workers

if TYPE_CHECKING:
    from trivet.serve.control import ControlServer


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a server can be reached, as bound (a port 0 has become a real one)."""

    data: str
    control: str


def state_folder() -> Path:
    """Where the control token is kept: `TRIVET_STATE`, else the user's state folder."""
    chosen = os.environ.get("TRIVET_STATE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "trivet"


def serve(deployment: Deployment, on_ready: Callable[[Addresses], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT; returns when every accepted request is answered.

    Raises: UserError: the deployment cannot be served; nothing keeps running.
    """
    tenants = known_tenants(deployment.tenants, os.environ)
    settings = background_settings(deployment, _say)
    listeners = [listen_tcp(deployment.host, deployment.port)]
    if deployment.uds is not None:
        listeners.append(listen_unix(deployment.uds))
    control = listen_tcp(deployment.host, deployment.control_port)
    folders = [Path(path) for path in deployment.services if Path(path).is_dir()]
    supervisor = Supervisor(
        num_workers=num_workers(deployment.workers),
        listeners=listeners,
        limits=deployment.limits,
        statuses=deployment.statuses,
        default_deadline_ns=deployment.default_deadline_ns,
        drain_timeout_ns=deployment.drain_timeout_ns,
        say=_say,
        forward=Repository(folders, may_change=deployment.enable_load_unload).answer,
        background=None if settings is None else BackgroundKeeper(settings, _say),
        tenants=tenants,
        spending_fd=_spending_page(deployment, tenants),
        cache_url=deployment.cache_url or os.environ.get("TRIVET_CACHE_URL"),
    )
    # The workers read their modules while this process reads the services' files.
    supervisor.launch()
    _say(f"workers: {supervisor.num_workers}{' (auto)' if deployment.workers == 'auto' else ''}")
    try:
        supervisor.services = served_services(deployment.services)
        check_prices(tenants, supervisor.services)
        asyncio.run(_serve(supervisor, control, deployment, on_ready))
    finally:
        supervisor.end_processes()
        if deployment.uds is not None:
            Path(deployment.uds).unlink(missing_ok=True)


def _spending_page(deployment: Deployment, tenants: Sequence[KnownTenant]) -> int | None:
    if not any(tenant.has_budget for tenant in tenants):
        return None
    names = [tenant.name for tenant in tenants]
    return open_page(state_folder(), deployment.port, num_workers(deployment.workers), names)


async def _serve(
    supervisor: Supervisor,
    control: socket.socket,
    deployment: Deployment,
    on_ready: Callable[[Addresses], None] | None,
) -> None:
    stop = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    starting = asyncio.ensure_future(supervisor.start())
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
    if starting.done():
        starting.result()
        server = _control(supervisor)
        running = asyncio.ensure_future(server.serve([control]))
        if on_ready is not None:
            on_ready(_addresses(deployment, supervisor, control))
        await stopping
        server.should_exit = True
        await running
    await supervisor.stop()


def _control(supervisor: Supervisor) -> "ControlServer":
    from trivet.serve.control import control_server, control_token  # not before the workers serve

    token, is_new = control_token(state_folder() / "control-token")
    if is_new:
        _say(f"control token (shown once, kept in {state_folder() / 'control-token'}): {token}")
    return control_server(supervisor, token)


def _addresses(deployment: Deployment, supervisor: Supervisor, control: socket.socket) -> Addresses:
    name = f"[{deployment.host}]" if ":" in deployment.host else deployment.host
    return Addresses(f"http://{name}:{supervisor.port}", f"http://{name}:{control.getsockname()[1]}")


def _say(text: str) -> None:
    print(f"trivet: {text}", file=sys.stderr, flush=True)  # noqa: T201  # the server's log is its stderr
