"""`infer`: from a request's head and body to the runtime."""

from typing import TYPE_CHECKING, Any, NoReturn

from trivet.errors import BadRequestError, TooLargeError
from trivet.runtime.live import LiveService
from trivet.runtime.table import LiveTable
from trivet.serve.http.encoding import decompress
from trivet.serve.http.options import MAX_TIMEOUT_US, Options, read_options
from trivet.wire.tensor import Buffer, shown

if TYPE_CHECKING:
    from trivet.serve.http.connection import Connection
    from trivet.serve.http.head import Headers
    from trivet.serve.http.router import Router


class InferEndpoint:
    """The infer requests of one service version."""

    __slots__ = ("_max_json", "_router", "table")

    def __init__(self, router: "Router", table: LiveTable) -> None:
        self._router = router
        self._max_json = router.limits.max_json_bytes
        self.table = table

    def handle(self, connection: "Connection", headers: "Headers", body: bytes | bytearray) -> None:
        """Raises: RequestError: the request was not accepted; nothing has been answered yet."""
        self.accept(connection, *read_options(headers, self._router.tenants), body)

    def accept(
        self, connection: "Connection", json_size: int | None, options: Options | None, body: Buffer
    ) -> None:
        """Raises: RequestError: as `handle`."""
        if options is None:
            live = self.table.only or self.table.pick(b"")
        else:
            live = chosen(self.table, options)
            if options.content_encoding is not None:
                body = decompress(body, options.content_encoding, self._router.limits.max_decompressed_bytes)
        if options is not None and self._router.budgets is not None:
            self._router.budgets.check(options.tenant, live.counts)
        if (len(body) if json_size is None else json_size) > self._max_json:
            self._refuse_json(body, json_size)
        message = live.decoder.decode(body, json_size)
        timeout_ns, priority = (0, 0) if message.parameters is None else _parameters(message.parameters)
        if options is not None:
            timeout_ns = timeout_ns or options.timeout_ns
        router = self._router
        request = live.request(
            message, connection.began_ns, router.now_ns(), timeout_ns, priority, connection
        )
        request.options = options
        router.answering.num_accepted += 1
        connection.expect(request)
        if live.fronts is None:
            router.runtime.submit(request)
        else:
            live.fronts.take(request)

    def _refuse_json(self, body: Buffer, json_size: int | None) -> NoReturn:
        size = len(body) if json_size is None else json_size
        raise TooLargeError(
            f"the JSON has {size} bytes; at most {self._max_json} are read (limits.max_json): send large tensors as "
            "binary, with Inference-Header-Content-Length"
        )


def chosen(table: LiveTable, options: Options) -> LiveService:
    """The configuration that a request names, or the one for its key.

    Raises: BadRequestError: no live one has that hash. UnavailableError: nothing is live.
    """
    if not options.configuration:
        return table.pick(options.key)
    live = table.by_hash(options.configuration)
    if live is None:
        raise BadRequestError(f"no live configuration has the hash {shown(options.configuration)}")
    return live


def _parameters(parameters: dict[str, Any]) -> tuple[int, int]:
    """(timeout in ns, priority) from a request's parameters; 0 where they are not given."""
    timeout_us = parameters.get("timeout", 0)
    if (
        isinstance(timeout_us, bool)
        or not isinstance(timeout_us, int)
        or not 0 <= timeout_us <= MAX_TIMEOUT_US
    ):
        raise BadRequestError(
            f"parameter timeout is {shown(timeout_us)}; expected microseconds from 0 (the default) to {MAX_TIMEOUT_US}"
        )
    priority = parameters.get("priority", 0)
    if isinstance(priority, bool) or not isinstance(priority, int) or not 0 <= priority <= 100:
        raise BadRequestError(
            f"parameter priority is {shown(priority)}; expected 1 (highest) to 100, or 0 for the default"
        )
    return timeout_us * 1_000, priority
