"""What one server runs and on what terms: services, addresses, workers and limits.

It belongs to a host, so that none of it is part of a configuration's hash.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from trivet.spec.fields import FieldError
from trivet.spec.levers import Auto, Count
from trivet.spec.tenants import Tenant
from trivet.spec.units import Duration, Size

KIB, MIB = 2**10, 2**20
SECOND_NS = 1_000_000_000
Port = Annotated[int, msgspec.Meta(ge=0, le=65_535)]  # 0: any free one


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one client may ask of the server. A request over a limit gets an answer that names the limit.

    max_header_bytes: request line and headers together; 431 beyond it. 16 KiB: the default of common servers.
    max_headers: number of headers; 431 beyond it.
    max_body_bytes: a request's body as sent; 413 beyond it.
    max_json_bytes: the JSON of a request, after decompression; 413 beyond it. Numbers and strings take up to 13 times
        the memory of their text while they are read; binary tensors take none.
    max_decompressed_bytes: a compressed body after decompression; 413 beyond it, before it is all in memory.
    header_timeout_ns: from a request's first byte to the end of its headers; 408, and the connection closes.
    body_timeout_ns: from the end of the headers to the end of the body; the same.
    idle_timeout_ns: a connection without a request is closed. 75 s: longer than the 60 s for which common
        load balancers keep theirs, so that these close first.
        The same for a client that reads nothing of an answer which is too long for the socket's buffers.
    max_connections: open connections of all workers; more are answered 503 and closed.
    """

    max_header_bytes: Size = msgspec.field(default=16 * KIB, name="max_header")
    max_headers: Count = 100
    max_body_bytes: Size = msgspec.field(default=64 * MIB, name="max_body")
    max_json_bytes: Size = msgspec.field(default=16 * MIB, name="max_json")
    max_decompressed_bytes: Size = msgspec.field(default=256 * MIB, name="max_decompressed")
    header_timeout_ns: Duration = msgspec.field(default=10 * SECOND_NS, name="header_timeout")
    body_timeout_ns: Duration = msgspec.field(default=60 * SECOND_NS, name="body_timeout")
    idle_timeout_ns: Duration = msgspec.field(default=75 * SECOND_NS, name="idle_timeout")
    max_connections: Count = 10_000


class Statuses(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """HTTP statuses where servers and gateways disagree.

    refused: our limit, or a deadline that cannot be met. unavailable: not ready, draining, or the worker is
    gone. deadline: the deadline passed first.
    """

    refused: Literal[429, 503, 504] = 429
    unavailable: Literal[503] = 503
    deadline: Literal[504, 503, 429, 408] = 504


class Deployment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One server.

    services: service files, model files and repository folders, relative to the folder it is started in.
    host, port: where requests are answered; loopback unless told otherwise.
    uds: a Unix socket that answers the same requests; None: no such socket.
    control_port: metrics, health, status and changes; same host.
    workers: processes that own requests; auto: see `num_workers`.
    limits, statuses: see there.
    default_deadline_ns: of requests and services that give none; auto: from the profile of each model.
    drain_timeout_ns: longest wait for accepted requests after SIGTERM.
    rows_dir: folder for the sampled rows of live requests as Parquet; None: none are kept.
    rows_share: the share of requests that is sampled, for rows and traces; slow and failed ones are always kept.
    otel_endpoint: an OpenTelemetry collector that gets the sampled requests as traces, by OTLP over HTTP: the
        address to which /v1/traces is added; None: OTEL_EXPORTER_OTLP_ENDPOINT of the environment, else nowhere.
    enable_load_unload: clients may load and unload models of the repository folders.
    cache_url: a Redis or Valkey that servers share, for the answers of services with an exact cache: `redis://HOST:PORT/0`;
        None: TRIVET_CACHE_URL of the environment, else each worker keeps its own only.
    tenants: the owners of API keys by name; where there are any, a request without a known key is answered 401.
    """

    services: tuple[str, ...]
    host: str = "127.0.0.1"
    port: Port = 8000
    uds: str | None = None
    control_port: Port = 8002
    workers: Auto | Count = "auto"
    limits: Limits = Limits()
    statuses: Statuses = Statuses()
    default_deadline_ns: Auto | Duration = msgspec.field(default="auto", name="default_deadline")
    drain_timeout_ns: Duration = msgspec.field(default=30 * SECOND_NS, name="drain_timeout")
    rows_dir: str | None = msgspec.field(default=None, name="rows")
    rows_share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.01
    otel_endpoint: str | None = msgspec.field(default=None, name="otel")
    enable_load_unload: bool = False
    cache_url: str | None = None
    tenants: Mapping[str, Tenant] = {}


def num_workers(workers: Auto | int) -> int:
    """How many processes own requests. auto: one, whatever the profile says.

    For models of a millisecond and more, several instances behind one queue beat several queues. Smaller ones run
    inline, where more workers pay only if the event loop itself is the limit: that depends on the traffic, which no
    profile at load knows. Who has measured it names the number.
    """
    return 1 if workers == "auto" else workers


def validate_deployment(deployment: Deployment) -> None:
    """Check what spans fields. Raises: FieldError: a contradiction, with the field to change."""
    limits = deployment.limits
    if not deployment.services:
        raise FieldError(
            ("services",), "a server needs at least one service, model file or repository folder"
        )
    if not deployment.host:
        raise FieldError(("host",), "an empty host; use 127.0.0.1, or 0.0.0.0 for every network")
    if deployment.port and deployment.port == deployment.control_port:
        raise FieldError(
            ("control_port",), f"port {deployment.port} is taken by the requests; choose another"
        )
    if deployment.default_deadline_ns == 0:
        raise FieldError(("default_deadline",), "no request is answered in 0 ms")
    if limits.max_header_bytes < KIB:
        raise FieldError(
            ("limits", "max_header"), f"{limits.max_header_bytes} bytes hold no request; at least 1KiB"
        )
    for name in (
        "max_body",
        "max_json",
        "max_decompressed",
        "header_timeout",
        "body_timeout",
        "idle_timeout",
    ):
        unit = "ns" if name.endswith("timeout") else "bytes"
        if not getattr(limits, f"{name}_{unit}"):
            raise FieldError(("limits", name), f"{name} of 0 refuses every request")


def load_deployment(path: Path) -> Deployment:
    """The deployment in a YAML file. Raises: SpecError: names file and line."""
    from trivet.spec.convert import convert  # the command line needs neither of them
    from trivet.spec.yaml_tree import parse_file

    document = parse_file(path)
    try:
        deployment = convert(document.tree, Deployment)
        validate_deployment(deployment)
    except FieldError as error:
        raise document.located(error) from None
    return deployment
