"""Traces to a collector: bounded in number while they wait and in time while they are sent; what is dropped is counted."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult

from trivet.serve.background.page import Page
from trivet.serve.background.spans import Spans, is_wanted
from trivet.serve.samples import Sample

MAX_WAITING = 4096  # requests; some 10 MB while a collector is slow
MAX_BATCH = 256  # requests; with their phases six times as many spans
_GATHER_S = 1.0
# At the end: to send what waits, and then for what is being sent.
_CLOSE_S = 5.0


class Exporter(Protocol):
    """Sends spans, with a bound on its time; afterwards `failure` says why they could not be sent."""

    failure: str

    def export(self, spans: Sequence[ReadableSpan]) -> bool: ...

    def shutdown(self) -> None:
        """Whatever is being tried again is given up, from any thread."""


class OtlpExporter(logging.Handler):
    """OTLP over HTTP. The SDK tries again for OTEL_EXPORTER_OTLP_TIMEOUT (10 s), and reads headers, compression and
    certificates from the environment; it tells its failures to `logging` only, so that is where they are heard.
    """

    def __init__(self, url: str) -> None:
        super().__init__()
        self.failure = ""
        self._exporter = OTLPSpanExporter(endpoint=url)
        logger = logging.getLogger("opentelemetry")
        logger.addHandler(self)
        logger.propagate = False  # a line for each try would fill the server's log

    def emit(self, record: logging.LogRecord) -> None:
        """The first word of a failure has its cause; the later ones tell of giving up."""
        self.failure = self.failure or record.getMessage()

    def export(self, spans: Sequence[ReadableSpan]) -> bool:
        self.failure = ""
        return self._exporter.export(spans) is SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        self._exporter.shutdown()  # type: ignore[no-untyped-call]  # the SDK left it untyped


class Traces:
    """Takes samples in one thread, and makes and sends their spans in another."""

    def __init__(
        self,
        page: Page,
        spans: Spans,
        exporter: Exporter,
        say: Callable[[str], None],
        *,
        max_waiting: int = MAX_WAITING,
        gather_s: float = _GATHER_S,
    ) -> None:
        self._page = page
        self._spans = spans
        self._exporter = exporter
        self._say = say
        self._max_waiting = max_waiting
        self._gather_s = gather_s
        self._changed = threading.Condition()
        self._waiting: deque[Sample] = deque()
        self._closing = False
        self._is_failing = False
        self._thread = threading.Thread(target=self._work, name="traces", daemon=True)
        self._thread.start()

    def take(self, samples: Sequence[Sample], now_ns: int) -> None:
        if not self._thread.is_alive():
            raise RuntimeError("the thread that sends traces has ended")  # the next process starts another
        wanted = [sample for sample in samples if is_wanted(sample)]
        with self._changed:
            self._page.add("traces_read", len(wanted))
            room = self._max_waiting - len(self._waiting)
            self._waiting += wanted[:room]
            self._page.add("traces_dropped", len(wanted[room:]))
            self._changed.notify()

    def wake_at_ns(self) -> int | None:
        return None

    def turn(self, now_ns: int) -> None:
        """Nothing to do: the other thread has its own time."""

    def close(self, now_ns: int) -> None:
        """What still waits is sent, or dropped where the collector takes too long."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(_CLOSE_S)
        if self._thread.is_alive():
            self._exporter.shutdown()
            self._thread.join(_CLOSE_S / 2)

    def _work(self) -> None:
        while batch := self._next_batch():
            is_sent = self._exporter.export(self._spans.of(batch))
            with self._changed:
                self._page.add("traces_exported" if is_sent else "traces_dropped", len(batch))
            if is_sent == self._is_failing:
                self._is_failing = not is_sent
                self._say(
                    "traces are sent again" if is_sent else f"traces are dropped: {self._exporter.failure}"
                )

    def _next_batch(self) -> list[Sample]:
        """Waits for samples, then a little for more of them; empty at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
            self._changed.wait_for(lambda: self._closing or len(self._waiting) >= MAX_BATCH, self._gather_s)
            return [self._waiting.popleft() for _ in range(min(MAX_BATCH, len(self._waiting)))]
