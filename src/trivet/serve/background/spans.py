"""A sampled request as OpenTelemetry spans: one of the server, and under it one for each phase that it reached.

Names and attributes are those of the semantic conventions for HTTP servers; what they do not know is `trivet.*`.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, StatusCode

from trivet import __version__
from trivet.serve.samples import Sample
from trivet.serve.traceparent import Caller, caller_of
from trivet.spec.row import ABSENT, Row

_ROUTE = "/v2/models/{model}/infer"
# Those that follow on each other from the first byte; encode stands at the end.
_PHASES_IN_ORDER = ("parse", "queue", "batch_wait", "compute")


def wall_offset_ns() -> int:
    """What to add to an instant of the monotonic clock, which all processes of a machine share, for the wall clock's."""
    return time.time_ns() - time.monotonic_ns()


class Spans(SpanProcessor):
    """Makes spans of samples with the SDK's tracer. For one thread."""

    def __init__(self, offset_ns: Callable[[], int] = wall_offset_ns) -> None:
        name = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": "trivet"}
        resource = Resource.create({"service.version": __version__, **name})
        provider = TracerProvider(sampler=ALWAYS_ON, resource=resource, shutdown_on_exit=False)
        provider.add_span_processor(self)
        self._tracer = provider.get_tracer("trivet", __version__)
        self._offset_ns = offset_ns
        self._ended: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self._ended.append(span)

    def of(self, samples: Sequence[Sample]) -> list[ReadableSpan]:
        """The spans of some requests; a trace that a caller began goes on under the caller's ids."""
        for sample in samples:
            self._make(sample.row, caller_of(sample.traceparent))
        ended, self._ended = self._ended, []
        return ended

    def _make(self, row: Row, caller: Caller | None) -> None:
        offset_ns = self._offset_ns()
        context = Context()
        if caller is not None:
            parent = SpanContext(caller.trace_id, caller.span_id, is_remote=True)
            context = trace.set_span_in_context(NonRecordingSpan(parent), context)
        span = self._tracer.start_span(
            f"POST {_ROUTE}", context, SpanKind.SERVER, attributes(row), start_time=row.sent_ns + offset_ns
        )
        if row.status >= 500:
            span.set_status(StatusCode.ERROR)
        inside = trace.set_span_in_context(span, context)
        for phase, start_ns, end_ns in phases(row):
            child = self._tracer.start_span(phase, inside, start_time=start_ns + offset_ns)
            child.end(end_ns + offset_ns)
        span.end(row.done_ns + offset_ns)


def attributes(row: Row) -> Mapping[str, str | int]:
    found: dict[str, str | int] = {
        "http.request.method": "POST",
        "http.route": _ROUTE,
        "url.path": _ROUTE.replace("{model}", row.service),
        "url.scheme": "http",
        "trivet.service": row.service,
        "trivet.configuration": row.configuration,
        "trivet.outcome": row.outcome,
        "trivet.kept": row.kept,
    }
    if row.status:
        found["http.response.status_code"] = row.status
    if row.status >= 500:
        found["error.type"] = row.reason
    if row.batch_size > 0:
        found["trivet.batch_size"] = row.batch_size
    if row.key:
        found["trivet.request_id"] = row.key
    return found


def phases(row: Row) -> list[tuple[str, int, int]]:
    """(phase, start, end) of those that the request reached, by the row's clock."""
    found = []
    start_ns = row.sent_ns
    for phase in _PHASES_IN_ORDER:
        duration_ns: int = getattr(row, f"{phase}_ns")
        if duration_ns == ABSENT:
            continue
        found.append((phase, start_ns, start_ns + duration_ns))
        start_ns += duration_ns
    if row.encode_ns != ABSENT:
        found.append(("encode", row.done_ns - row.encode_ns, row.done_ns))
    return found


def is_wanted(sample: Sample) -> bool:
    """Slow and failed ones always; of the others those whose caller records them, or who have no caller to ask."""
    if sample.row.kept in ("slow", "failed"):
        return True
    caller = caller_of(sample.traceparent)
    return sample.row.kept == "share" if caller is None else caller.records
