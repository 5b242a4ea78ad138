"""A collector of OpenTelemetry traces: a real HTTP server on a free port that reads what is posted to it."""

import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Collector:
    """Answers the posts with `statuses` in order, the last one for all further ones."""

    def __init__(self, statuses: Sequence[int] = (200,)) -> None:
        self.posts: list[tuple[str, ExportTraceServiceRequest]] = []
        self._statuses = list(statuses)
        self._changed = threading.Condition()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = collector._received(self.path, body)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.send_header("Retry-After", "0")  # who is told to come again need not wait
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Tests print nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def _received(self, path: str, body: bytes) -> int:
        with self._changed:
            self.posts.append((path, ExportTraceServiceRequest.FromString(body)))
            self._changed.notify_all()
            return self._statuses.pop(0) if len(self._statuses) > 1 else self._statuses[0]

    def wait_for_spans(self, num: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.spans()) >= num, 60)

    def spans(self) -> list[Any]:
        """Of all posts, in the order of their arrival."""
        return [
            span
            for _, post in self.posts
            for resource in post.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
