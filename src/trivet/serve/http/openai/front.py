"""`/v1/...`: from an OpenAI client's request to the runtime, through the same tables and queues as every other."""

import time
import uuid
from typing import TYPE_CHECKING
from urllib.parse import unquote

from trivet.errors import NotFoundError, RequestError, TooLargeError, UnauthorizedError
from trivet.runtime.live import LiveService
from trivet.runtime.table import LiveTable
from trivet.serve.http.encoding import decompress
from trivet.serve.http.infer import chosen
from trivet.serve.http.openai.dialect import Dialect
from trivet.serve.http.openai.errors import ModelNotFoundError, error_answer
from trivet.serve.http.openai.joined import Joined
from trivet.serve.http.openai.offering import submit
from trivet.serve.http.openai.several import Several
from trivet.serve.http.options import Options, read_options
from trivet.serve.http.response import is_echoable, json_response, status_of, without_body
from trivet.serve.http.router import MethodNotAllowedError, Router
from trivet.spec.openai import Kind, OpenAIForm
from trivet.wire.openai_input import message_of
from trivet.wire.openai_request import Asked, Fields, read_asked
from trivet.wire.openai_server import (
    NO_HEADING,
    EmbeddingsWriter,
    Heading,
    model_entry,
    model_list,
    piece_writer,
)
from trivet.wire.tensor import Buffer, shown

if TYPE_CHECKING:
    from trivet.serve.http.connection import Connection
    from trivet.serve.http.head import Headers

_PREFIX = b"/v1/"
_ENDPOINTS: dict[str, Kind] = {
    "chat/completions": "chat",
    "completions": "completions",
    "embeddings": "embeddings",
}
_PATHS: dict[Kind, str] = {kind: f"/v1/{path}" for path, kind in _ENDPOINTS.items()}


class OpenAIFront:
    """Answers all requests under `/v1/` of one worker."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._created = int(time.time())

    def register(self) -> None:
        self._router.prefixes[_PREFIX] = self.handle

    def handle(
        self,
        connection: "Connection",
        method: bytes,
        url: bytes,
        headers: "Headers",
        body: bytes | bytearray,
    ) -> None:
        """Answer, or see to it that it is answered: a request gets an error in OpenAI's form whatever is wrong."""
        table: LiveTable | None = None
        try:
            path = unquote(url.partition(b"?")[0][len(_PREFIX) :].decode("latin-1")).strip("/")
            kind = _ENDPOINTS.get(path)
            if kind is None:
                self._tell_models(connection, method, path, headers)
                return
            if method != b"POST":
                raise MethodNotAllowedError(method, ["POST"])
            options = self._options(headers)
            fields = Fields(self._plain(body, options))
            table = self._find(fields.model, kind)
            self._accept(connection, kind, options, fields, chosen(table, options))
        except RequestError as error:
            self._refuse(connection, method, headers, error, table)

    # --- what is served -----------------------------------------------------------------------------------------

    def _tell_models(self, connection: "Connection", method: bytes, path: str, headers: "Headers") -> None:
        first, _, name = path.partition("/")
        if first != "models":
            known = ", ".join(sorted([*_PATHS.values(), "/v1/models"]))
            raise NotFoundError(f"no such endpoint: {shown('/v1/' + path)}; there are {known}")
        if method not in (b"GET", b"HEAD"):
            raise MethodNotAllowedError(method, ["GET"])
        self._options(headers)  # whether whoever asks may
        names = self._names()
        if name and name not in names:
            raise ModelNotFoundError(_unknown(name, names))
        body = model_entry(name, self._created) if name else model_list(names, self._created)
        data = json_response(body)
        connection.send(without_body(data) if method == b"HEAD" else data)

    def _names(self) -> list[str]:
        """The names that clients may use, each once."""
        names: dict[str, None] = {}
        for table in self._router.tables.values():
            for live in table.entries:
                if live.openai is not None:
                    names |= dict.fromkeys((live.name, *live.openai.names))
        return list(names)

    def _find(self, name: str, kind: Kind) -> LiveTable:
        """The live configurations behind a name. Raises: ModelNotFoundError: none, or not at this endpoint."""
        found: dict[Kind, str] = {}
        for (service, _), table in self._router.tables.items():
            for live in table.entries:
                if live.openai is not None and name in (service, *live.openai.names):
                    found.setdefault(live.openai.kind, service)
        if kind in found:
            return self._router.find(found[kind], None)
        if found:
            paths = ", ".join(_PATHS[other] for other in found)
            raise ModelNotFoundError(f"model {shown(name)} is not asked here, but at {paths}")
        raise ModelNotFoundError(_unknown(name, self._names()))

    # --- one request --------------------------------------------------------------------------------------------

    def _options(self, headers: "Headers") -> Options:
        """Raises: BadRequestError: a header's value is not what it should be. UnauthorizedError: no tenant's key."""
        options = read_options(headers, self._router.tenants)[1] or Options(headers)
        options.events = False
        if options.request_id is None:
            options.give_id(_new_id())
        return options

    def _plain(self, body: Buffer, options: Options) -> Buffer:
        limits = self._router.limits
        if options.content_encoding is not None:
            body = decompress(body, options.content_encoding, limits.max_decompressed_bytes)
        if len(body) > limits.max_json_bytes:
            raise TooLargeError(
                f"the JSON has {len(body)} bytes; at most {limits.max_json_bytes} are read (limits.max_json)"
            )
        return body

    def _accept(
        self, connection: "Connection", kind: Kind, options: Options, fields: Fields, live: LiveService
    ) -> None:
        router, form = self._router, live.openai
        if router.budgets is not None:
            router.budgets.check(options.tenant, live.counts)
        if form is None or form.kind != kind:  # another configuration of this service does
            raise ModelNotFoundError(f"the configuration {live.hash[:12]} of {live.name!r} is not asked here")
        asked = read_asked(form, fields)
        options.dialect = self._dialect(form, live, fields.model, asked)
        options.events = asked.stream
        now_ns = router.now_ns()
        if len(asked.texts) > 1 and not form.takes_many:
            several = Several(
                router.runtime, live, form, asked, options, connection, connection.began_ns, now_ns
            )
            router.answering.num_accepted += 1
            connection.expect(several.whole)
            several.submit_next()
            return
        message = message_of(form, asked.texts, asked.options)
        request = live.request(message, connection.began_ns, now_ns, options.timeout_ns, 0, connection)
        request.options = options
        if live.streams and not asked.stream:
            request.reply = Joined(connection, piece_writer(form, NO_HEADING, include_usage=False))
        router.answering.num_accepted += 1
        connection.expect(request)
        submit(request, router.runtime)

    def _dialect(self, form: OpenAIForm, live: LiveService, model: str, asked: Asked) -> Dialect:
        heading = Heading(uuid.uuid4().hex, int(time.time()), model, f"fp_{live.hash[:12]}")
        statuses = self._router.statuses
        if form.kind == "embeddings" and not form.is_raw:
            return Dialect(EmbeddingsWriter(form, heading, as_base64=asked.as_base64), None, statuses)
        pieces = piece_writer(form, heading, include_usage=asked.include_usage)
        return Dialect(pieces, pieces, statuses)

    def _refuse(
        self,
        connection: "Connection",
        method: bytes,
        headers: "Headers",
        error: RequestError,
        table: LiveTable | None,
    ) -> None:
        """Answer with an error before there was anything to schedule."""
        router = self._router
        sampler = router.answering.sampler
        if sampler is not None and table is not None:
            status, caller = status_of(error, router.statuses), headers.get(b"traceparent", b"")
            sampler.unaccepted(table, connection.began_ns, error, status, caller)
        lines = [("Allow", error.allowed)] if isinstance(error, MethodNotAllowedError) else []
        if isinstance(error, UnauthorizedError):
            lines.append(("WWW-Authenticate", "Bearer"))
        given = headers.get(b"x-request-id", b"")
        lines.append(("X-Request-Id", given.decode("ascii") if given and is_echoable(given) else _new_id()))
        data = error_answer(error, router.statuses, lines)
        connection.send(without_body(data) if method == b"HEAD" else data)


def _new_id() -> str:
    return f"req_{uuid.uuid4().hex}"


def _unknown(name: str, names: list[str]) -> str:
    return f"unknown model {shown(name)}; this server has {', '.join(names) or 'none that is asked this way'}"
