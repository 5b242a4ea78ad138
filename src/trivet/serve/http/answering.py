"""What becomes of requests that were accepted: answered, failed, answered in chunks, or left by their client."""

from typing import TYPE_CHECKING

from trivet.errors import RequestError
from trivet.runtime.request import Request
from trivet.runtime.results import Results
from trivet.runtime.runtime import Runtime
from trivet.serve.http.answer import encode_answer, encode_chunk, stream_headers
from trivet.serve.http.noted import count_notes
from trivet.serve.http.options import Options
from trivet.serve.http.response import error_response, status_of
from trivet.serve.http.streamed import StreamedAnswer
from trivet.spec.deployment import Statuses

if TYPE_CHECKING:
    from trivet.serve.http.connection import Connection
    from trivet.serve.sampling import Sampler


class Answering:
    """Shared by all connections of a worker. Every accepted request is counted as answered once, whatever happens."""

    def __init__(self, runtime: Runtime, statuses: Statuses) -> None:
        self.sampler: Sampler | None = None  # where requests get rows
        self.num_accepted = 0  # inference requests handed to the runtime
        self.num_answered = 0
        self._runtime = runtime
        self._statuses = statuses
        self._now_ns = runtime.now_ns
        self._encoded_ns = 0

    def answered(self, connection: "Connection", request: Request, results: Results, start: int) -> None:
        self.num_answered += 1
        if request.live.costing is not None:
            request.live.costing.over(request, answered=True)
        counters = request.live.models[-1].counters
        # Answers of one batch are written one after the other: each begins where the last one ended.
        from_ns = max(self._encoded_ns, request.ended_ns)
        try:
            data = encode_answer(request, results, start, from_ns)
        except RequestError as error:
            counters.fail("OTHER", from_ns - request.received_ns)
            data = self.failure_bytes(request, error)
            if self.sampler is not None:
                self.sampler.failed(request, error, status_of(error, self._statuses))
        else:
            self._encoded_ns = done_ns = self._now_ns()
            counters.answered(request, from_ns, done_ns)
            if request.notes is not None:
                count_notes(request)
            if self.sampler is not None:
                self.sampler.answered(request, data, from_ns, done_ns, is_gone=connection.is_closing)
        connection.resolve(request, data)

    def failed(self, connection: "Connection", request: Request, error: RequestError) -> None:
        self.num_answered += 1
        if request.live.costing is not None:
            request.live.costing.over(request, answered=False)
        if self.sampler is not None:
            self.sampler.failed(request, error, status_of(error, self._statuses))
        connection.resolve(request, self.failure_bytes(request, error))

    def chunk(self, connection: "Connection", request: Request, results: Results) -> None:
        """A part of a streaming answer."""
        try:
            body = encode_chunk(request, results)
        except RequestError as error:
            if request.stream is not None:
                request.stream.stop("OTHER")
                if request.live.fronts is not None:
                    request.live.fronts.left(request)
            self.stream_ended(connection, request, error)
            return
        if body is not None:
            self._stream(connection, request).add(body)
        elif request.stream is not None:
            request.stream.grant(1)

    def stream_ended(self, connection: "Connection", request: Request, error: RequestError | None) -> None:
        """The engine, or we, will give no more of a streaming answer."""
        if error is None and request.options is not None and request.options.dialect is not None:
            error = self._last_events(connection, request)
        if error is not None and not connection.has_begun(request):
            self.failed(connection, request, error)
            return
        self.num_answered += 1
        if request.live.costing is not None:
            request.live.costing.over(request, answered=error is None)
        if error is None:
            if request.notes is not None:
                count_notes(request)
            done_ns = self._now_ns()
            request.live.models[-1].counters.answered(request, request.ended_ns, done_ns)
            if self.sampler is not None:
                self.sampler.answered(request, b"", request.ended_ns, done_ns, is_gone=False)
        elif self.sampler is not None:
            self.sampler.failed(request, error, status_of(error, self._statuses))
        self._stream(connection, request).end(error)

    def _last_events(self, connection: "Connection", request: Request) -> RequestError | None:
        """What another dialect than V2's says at the end. Returns: why it cannot."""
        try:
            events = request.options.dialect.end()
        except RequestError as error:
            request.live.models[-1].counters.fail("OTHER", self._now_ns() - request.received_ns)
            return error
        stream = self._stream(connection, request)
        for event in events:
            stream.add(event)
        return None

    def _stream(self, connection: "Connection", request: Request) -> StreamedAnswer:
        is_first = not connection.has_begun(request)
        stream = connection.stream(request)
        if is_first:
            stream.begin(stream_headers(request, self._now_ns()))
        return stream

    def abandon(self, request: Request) -> None:
        """Nobody waits for this answer any more: what still waits is taken out; a running one ends in `answered`."""
        if self._runtime.cancel(request):
            self.num_answered += 1
            if request.live.costing is not None:
                request.live.costing.over(request, answered=False)
            if self.sampler is not None:
                self.sampler.cancelled(request)

    def failure_bytes(self, request: Request, error: RequestError) -> bytes:
        """The answer to an accepted request that failed."""
        options: Options | None = request.options
        headers = [] if options is None else options.headers()
        if options is not None and options.dialect is not None:
            return options.dialect.failure(error, headers)
        return error_response(error, self._statuses, headers)
