"""From a request's method and path to its handler, and from results and errors to bytes."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from trivet.errors import BadRequestError, NotFoundError, RequestError, UnauthorizedError, UnavailableError
from trivet.runtime.live import LiveService
from trivet.runtime.runtime import Runtime
from trivet.runtime.table import LiveTable
from trivet.serve.http.answering import Answering
from trivet.serve.http.budgets import Budgets
from trivet.serve.http.hangups import Hangups, NoHangups
from trivet.serve.http.infer import InferEndpoint
from trivet.serve.http.options import SAME_EACH_TIME, Options, read_options
from trivet.serve.http.response import error_response, is_echoable, status_of, without_body
from trivet.serve.http.tenants import Tenants
from trivet.spec.deployment import Limits, Statuses
from trivet.wire.tensor import shown

if TYPE_CHECKING:
    from trivet.serve.http.connection import Connection
    from trivet.serve.http.head import Headers


class MethodNotAllowedError(RequestError):
    status = 405

    def __init__(self, method: bytes, allowed: Sequence[str]) -> None:
        self.allowed = ", ".join(allowed)
        super().__init__(f"{method.decode('latin-1')} is not allowed here; allowed: {self.allowed}")


# (segments that stand for the pattern's `{...}`, body) -> answer
Handler = Callable[[list[str], bytes], bytes]
# (connection, method, URL, headers, body): answers all by itself, errors too
Prefix = Callable[["Connection", bytes, bytes, "Headers", bytes | bytearray], None]
# (method, whole path, body) -> answer
Forwarder = Callable[[str, Sequence[str], bytes], Awaitable[bytes]]


# Heads that a worker remembers, and the longest of them.
_MAX_HEADS = 1024
_LARGEST_HEAD = 1024
_PREFIX_BYTES = 4  # as `/v1/` has: such paths answer in words of their own
# Open to everybody: whoever asks for it holds no key.
_HEALTH = ["v2", "health"]
NO_HEADERS: Mapping[bytes, bytes] = {}


@dataclass(frozen=True, slots=True)
class KnownHead:
    """What the bytes of a request's head mean."""

    endpoint: InferEndpoint
    json_size: int | None
    options: Options | None
    body_size: int


class Placeholder:
    """Keeps the place of an answer that is not an inference."""

    __slots__ = ("response",)

    def __init__(self) -> None:
        self.response: bytes | None = None


class Router:
    """Shared by all connections of a worker."""

    def __init__(self, runtime: Runtime, limits: Limits, statuses: Statuses) -> None:
        self.runtime = runtime
        self.limits = limits
        self.statuses = statuses
        self.now_ns = runtime.now_ns
        self.connections: set[Connection] = set()
        self.draining = False
        self.tenants: Tenants | None = None  # who may ask; None: everybody
        self.budgets: Budgets | None = None  # what they may cost; None: nobody has one
        self.answering = Answering(runtime, statuses)
        self.hangups: Hangups | NoHangups = NoHangups()
        self.num_connections: Callable[[], int] = lambda: len(self.connections)  # of all workers
        self.on_closed: Callable[[], None] = lambda: None  # a worker counts
        self.heads: dict[bytes, KnownHead] = {}
        self.tables: dict[tuple[str, str], LiveTable] = {}
        self._infer: dict[bytes, InferEndpoint] = {}
        self.prefixes: dict[bytes, Prefix] = {}
        self._handlers: list[tuple[bytes, tuple[str, ...], Any, bool]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    # --- what is served -----------------------------------------------------------------------------------------

    def add_service(self, name: str, version: str, table: LiveTable, *, default_version: bool) -> None:
        """Serve `table` under its version's path, and under the service's bare path where it is the default."""
        endpoint = InferEndpoint(self, table)
        self.tables[name, version] = table
        self.heads.clear()
        self._infer[f"/v2/models/{name}/versions/{version}/infer".encode()] = endpoint
        if default_version:
            self._infer[f"/v2/models/{name}/infer".encode()] = endpoint

    def remove_service(self, name: str, version: str) -> LiveTable:
        table = self.tables.pop((name, version))
        self.heads.clear()
        self._infer = {
            path: endpoint for path, endpoint in self._infer.items() if endpoint.table is not table
        }
        return table

    def add_handler(self, method: str, pattern: str, handler: Handler) -> None:
        """`pattern` is a path whose `{...}` segments are passed on, percent-decoded."""
        self._add(method, pattern, handler, is_forwarded=False)

    def add_forwarded(self, method: str, pattern: str, forward: Forwarder) -> None:
        """A path that the supervisor answers for all workers."""
        self._add(method, pattern, forward, is_forwarded=True)

    def _add(self, method: str, pattern: str, handler: Any, *, is_forwarded: bool) -> None:
        self._handlers.append((method.encode(), tuple(pattern.split("/")), handler, is_forwarded))
        # Fixed words before names: `models/stats` is not a model called «stats».
        self._handlers.sort(key=lambda entry: sum(segment.startswith("{") for segment in entry[1]))

    def find(self, name: str, version: str | None) -> LiveTable:
        """The live configurations of a service; without a version of its default one.

        Raises: NotFoundError.
        """
        path = f"/v2/models/{name}" + (f"/versions/{version}" if version else "")
        endpoint = self._infer.get(f"{path}/infer".encode())
        if endpoint is None:
            raise NotFoundError(self._not_found(path.strip("/").split("/")))
        return endpoint.table

    def versions(self, name: str) -> list[str]:
        return sorted((version for service, version in self.tables if service == name), key=_version_order)

    def live(self) -> list[LiveService]:
        return [live for table in self.tables.values() for live in table.entries]

    # --- connections --------------------------------------------------------------------------------------------

    def opened(self, connection: "Connection") -> None:
        self.connections.add(connection)
        if self.num_connections() > self.limits.max_connections:
            connection.end_with(
                UnavailableError(
                    f"{self.limits.max_connections} connections are open, the limit of this server"
                )
            )

    def closed(self, connection: "Connection") -> None:
        self.connections.discard(connection)
        self.hangups.forget(connection)
        self.on_closed()

    def handle(
        self, connection: "Connection", method: bytes, url: bytes, headers: "Headers", body: bytes | bytearray
    ) -> None:
        endpoint = self._infer.get(url)
        if endpoint is not None and method == b"POST":
            self.handle_infer(connection, endpoint, headers, body)
            return
        prefix = self.prefixes.get(url[:_PREFIX_BYTES])
        if prefix is not None:
            prefix(connection, method, url, headers, body)
            return
        try:
            self._route(connection, method, url, headers, body)
        except RequestError as error:
            data = self.error_bytes(error, headers)
            connection.send(without_body(data) if method == b"HEAD" else data)

    def handle_infer(
        self, connection: "Connection", endpoint: InferEndpoint, headers: "Headers", body: bytes | bytearray
    ) -> None:
        try:
            endpoint.handle(connection, headers, body)
        except RequestError as error:
            self.not_accepted(connection, endpoint, headers, error)

    def not_accepted(
        self,
        connection: "Connection",
        endpoint: InferEndpoint,
        headers: Mapping[bytes, bytes],
        error: RequestError,
    ) -> None:
        """Answer an infer request with an error before there was anything to schedule."""
        sampler = self.answering.sampler
        if sampler is not None:
            status, caller = status_of(error, self.statuses), headers.get(b"traceparent", b"")
            sampler.unaccepted(endpoint.table, connection.began_ns, error, status, caller)
        connection.send(self.error_bytes(error, headers))

    def remember(self, data: bytes, method: bytes, url: bytes, headers: "Headers", framing: bytes) -> None:
        """Keep what the head of an `infer` request means, for the next request with the same head, byte for byte.

        Clients send the same few heads again and again, and parsing them costs as much as a small model. `data` is
        what was read at once: kept only if it was that one request, whole, with a Content-Length and no header that
        would make the next head another (an id, a trace).
        """
        endpoint = self._infer.get(url)
        if endpoint is None or method != b"POST" or len(self.heads) >= _MAX_HEADS:
            return
        if not framing.isdigit() or not headers.keys() <= SAME_EACH_TIME:
            return
        end = len(data) - int(framing)
        if not 4 < end <= _LARGEST_HEAD or data.find(b"\r\n\r\n") != end - 4:
            return
        try:
            json_size, options = read_options(headers, self.tenants)
        except (BadRequestError, UnauthorizedError):  # as it was answered
            return
        self.heads[data[:end]] = KnownHead(endpoint, json_size, options, int(framing))

    def _route(
        self, connection: "Connection", method: bytes, url: bytes, headers: "Headers", body: bytes | bytearray
    ) -> None:
        path = _segments(url)
        endpoint = self._infer.get(("/" + "/".join(path)).encode())
        if endpoint is not None:
            if method != b"POST":
                raise MethodNotAllowedError(method, ["POST"])
            self.handle_infer(connection, endpoint, headers, body)
            return
        if self.tenants is not None and path[:2] != _HEALTH:
            self.tenants.of(headers)
        is_head = method == b"HEAD"
        if is_head:
            method = b"GET"
        allowed = []
        for wanted, pattern, handler, is_forwarded in self._handlers:
            found = _match(pattern, path)
            if found is None:
                continue
            if wanted != method:
                allowed.append(wanted.decode())
            elif is_forwarded:
                self._forward(connection, handler(method.decode(), path, bytes(body)), is_head)
                return
            else:
                data = handler(found, bytes(body))
                connection.send(without_body(data) if is_head else data)
                return
        if allowed:
            raise MethodNotAllowedError(method, allowed)
        raise NotFoundError(self._not_found(path))

    def _forward(self, connection: "Connection", answer: Awaitable[bytes], is_head: bool) -> None:
        place = Placeholder()
        connection.expect(place)

        async def wait() -> None:
            data = await answer
            connection.resolve(place, without_body(data) if is_head else data)

        task = asyncio.ensure_future(wait())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _not_found(self, path: list[str]) -> str:
        if path[:2] == ["v2", "models"] and len(path) > 2:
            names = sorted({name for name, _ in self.tables})
            if path[2] not in names:
                return f"unknown model {shown(path[2])}; this server has {', '.join(names) or 'none'}"
            if len(path) > 4 and path[3] == "versions" and (path[2], path[4]) not in self.tables:
                versions = sorted(version for name, version in self.tables if name == path[2])
                return f"unknown version {shown(path[4])} of model {path[2]!r}; it has {', '.join(versions)}"
        return f"no such endpoint: {shown('/' + '/'.join(path))}"

    # --- errors and ends ----------------------------------------------------------------------------------------

    def error_bytes(self, error: RequestError, headers: Mapping[bytes, bytes] = NO_HEADERS) -> bytes:
        """Args: headers: of the request, as far as they were read: its id comes back."""
        lines = [("Allow", error.allowed)] if isinstance(error, MethodNotAllowedError) else []
        if isinstance(error, UnauthorizedError):
            lines.append(("WWW-Authenticate", "Bearer"))
        request_id = headers.get(b"x-request-id")
        if request_id is not None and is_echoable(request_id):
            lines.append(("X-Request-Id", request_id.decode("ascii")))
        return error_response(error, self.statuses, lines)

    def sweep(self) -> None:
        """Close connections whose client takes longer than the limits allow."""
        now_ns = self.now_ns()
        for connection in list(self.connections):
            connection.check_time(now_ns)

    def complain(self, text: str) -> None:
        print(f"trivet: {text}", file=sys.stderr, flush=True)  # noqa: T201  # the worker's log is its stderr

    def check_ready(self) -> None:
        """Raises: UnavailableError: draining."""
        if self.draining:
            raise UnavailableError("the server is draining: it answers what it has accepted and then stops")


def _segments(url: bytes) -> list[str]:
    """Percent-decoded path segments, without the query; of `http://host/path`, as proxies get it, the path's."""
    try:
        path = url.partition(b"?")[0].decode("ascii")
        if not path.startswith("/") and "://" in path:
            path = path.partition("://")[2].partition("/")[2]
        segments = [unquote(segment, errors="strict") for segment in path.strip("/").split("/")]
    except UnicodeDecodeError:
        raise BadRequestError(f"the path {url[:80]!r} is not percent-encoded UTF-8") from None
    if any("/" in segment for segment in segments):  # %2F would stand for a path that a gateway has not seen
        raise NotFoundError(f"no such endpoint: {url[:80]!r} (no name holds a slash)")
    return segments


def _version_order(version: str) -> tuple[int, str]:
    return (int(version), "") if version.isdigit() else (0, version)


def _match(pattern: tuple[str, ...], path: list[str]) -> list[str] | None:
    if len(pattern) != len(path):
        return None
    found = []
    for wanted, segment in zip(pattern, path, strict=True):
        if wanted.startswith("{"):
            found.append(segment)
        elif wanted != segment:
            return None
    return found
