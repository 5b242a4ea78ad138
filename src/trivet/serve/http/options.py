"""What the headers of an `infer` request ask for."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from trivet.errors import BadRequestError
from trivet.serve.http.encoding import chosen_encoding
from trivet.serve.http.response import MAX_ECHOED, is_echoable

if TYPE_CHECKING:
    from trivet.serve.http.tenants import Tenants

MAX_TIMEOUT_US = 3_600_000_000
_JSON_SIZE = "Inference-Header-Content-Length"
# Headers whose value is the same with each request of a client: heads with no others are remembered.
SAME_EACH_TIME = frozenset(
    {
        b"accept",
        b"accept-encoding",
        b"authorization",
        b"inference-header-content-length",
        b"x-api-key",
        b"x-trivet-timing",
    }
)


class Options:
    """Requests without such headers have none; requests with the same remembered head share theirs."""

    __slots__ = (
        "compression",
        "configuration",
        "content_encoding",
        "echoed",
        "events",
        "key",
        "request_id",
        "tenant",
        "timeout_ns",
        "timing",
        "traceparent",
    )

    def __init__(self, headers: Mapping[bytes, bytes]) -> None:
        """Raises: BadRequestError: a header's value is not what it should be."""
        get = headers.get
        self.compression = chosen_encoding(get(b"accept-encoding", b""))
        self.content_encoding = get(b"content-encoding")
        self.request_id = _echoed(get(b"x-request-id"), "X-Request-Id")
        self.traceparent = _echoed(get(b"traceparent"), "traceparent")
        self.echoed = "".join([f"{name}: {value}\r\n" for name, value in self.headers()]).encode("ascii")
        self.timing = b"x-trivet-timing" in headers
        self.events = b"accept" in headers  # kept only where it asks for server-sent events
        # Whose requests stay with one of several configurations.
        self.key = get(b"x-trivet-key") or get(b"x-request-id", b"")
        self.configuration = get(b"x-trivet-configuration", b"").decode("latin-1")
        budget_ms = _count(get(b"x-envoy-expected-rq-timeout-ms"), "x-envoy-expected-rq-timeout-ms")
        self.timeout_ns = min((budget_ms or 0) * 1_000, MAX_TIMEOUT_US) * 1_000

        self.tenant = ""  # set where the deployment declares tenants (tenants.py)

    def headers(self) -> list[tuple[str, str]]:
        """What comes back with every answer."""
        lines = []
        if self.request_id is not None:
            lines.append(("X-Request-Id", self.request_id))
        if self.traceparent is not None:
            lines.append(("traceparent", self.traceparent))
        return lines


def read_options(
    headers: Mapping[bytes, bytes], tenants: "Tenants | None" = None
) -> tuple[int | None, Options | None]:
    """The size of the JSON part where binary data follows it, and what else the headers ask for.

    Args: tenants: where the deployment declares some: then there are always options, with the tenant's name.
    Raises: BadRequestError: a header's value is not what it should be. UnauthorizedError: no tenant's key.
    """
    if tenants is not None:
        options = Options(headers)
        options.tenant = tenants.of(headers)
        return _count(headers.get(b"inference-header-content-length"), _JSON_SIZE), options
    if not headers:
        return None, None
    json_size = _count(headers.get(b"inference-header-content-length"), _JSON_SIZE)
    if json_size is not None and len(headers) == 1:
        return json_size, None
    return json_size, Options(headers)


def _count(value: bytes | None, name: str) -> int | None:
    if value is None:
        return None
    if not value.isdigit() or len(value) > 18:
        raise BadRequestError(f"header {name} is {value[:40]!r}; expected a count")
    return int(value)


def _echoed(value: bytes | None, name: str) -> str | None:
    if value is None:
        return None
    if not is_echoable(value):
        raise BadRequestError(
            f"header {name} is {value[:40]!r}; expected at most {MAX_ECHOED} printable ASCII characters"
        )
    return value.decode("ascii")
