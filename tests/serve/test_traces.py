"""Sampled requests as spans at a collector: their ids, times and attributes; and collectors that fail."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from tests.serve.collector import Collector
from trivet.serve.background import page as pages
from trivet.serve.background.page import Page
from trivet.serve.background.spans import Spans, is_wanted
from trivet.serve.background.traces import OtlpExporter, Traces
from trivet.serve.samples import Sample
from trivet.spec.row import Row

WALL_NS = 1_700_000_000_000_000_000
CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-"
ANSWERED = Row(
    intended_ns=1000,
    sent_ns=1000,
    first_byte_ns=2000,
    done_ns=2000,
    status=200,
    parse_ns=100,
    queue_ns=200,
    batch_wait_ns=0,
    compute_ns=300,
    encode_ns=50,
    batch_size=4,
    service="tiny",
    configuration="ab" * 32,
    kept="share",
)
FAILED = Row(
    intended_ns=1000,
    sent_ns=1000,
    first_byte_ns=3000,
    done_ns=3000,
    status=500,
    outcome="failed",
    reason="engine",
    parse_ns=100,
    kept="failed",
)


@pytest.fixture
def page() -> Iterator[Page]:
    fd = pages.create()
    page = Page(fd)
    yield page
    page.close()
    os.close(fd)


def spans_of(*samples: Sample) -> list[Any]:
    return list(Spans(lambda: WALL_NS).of(samples))


def attributes_of(span: Any) -> dict[str, Any]:
    return {item.key: item.value.string_value or item.value.int_value for item in span.attributes}


def test_phases_lie_in_the_request_as_its_row_says() -> None:
    *children, server = spans_of(Sample(ANSWERED))
    times = {span.name: (span.start_time - WALL_NS, span.end_time - WALL_NS) for span in children}
    assert times == {
        "parse": (1000, 1100),
        "queue": (1100, 1300),
        "batch_wait": (1300, 1300),
        "compute": (1300, 1600),
        "encode": (1950, 2000),
    }
    assert (server.start_time - WALL_NS, server.end_time - WALL_NS) == (1000, 2000)
    assert {span.parent.span_id for span in children} == {server.context.span_id}
    assert {span.context.trace_id for span in children} == {server.context.trace_id}
    assert server.parent is None


def test_a_request_has_only_the_phases_that_it_reached() -> None:
    assert [span.name for span in spans_of(Sample(FAILED))] == ["parse", "POST /v2/models/{model}/infer"]


def test_a_callers_trace_goes_on() -> None:
    server = spans_of(Sample(ANSWERED, CALLER + "01"))[-1]
    assert server.context.trace_id == 0x4BF92F3577B34DA6A3CE929D0E0E4736
    assert server.parent.span_id == 0x00F067AA0BA902B7
    assert server.parent.is_remote
    first, second = (spans_of(Sample(ANSWERED))[-1].context.trace_id for _ in range(2))
    assert len({first, second, server.context.trace_id}) == 3


@pytest.mark.parametrize(
    ("kept", "flags", "wanted"),
    [
        ("share", None, True),
        ("share", "01", True),
        ("share", "00", False),
        ("share", "zz", True),
        ("trace", "01", True),
        ("slow", "00", True),
        ("failed", "00", True),
        ("failed", None, True),
    ],
)
def test_a_callers_decision_is_kept_except_for_slow_and_failed_requests(
    kept: str, flags: str | None, wanted: bool
) -> None:
    sample = Sample(Row(kept=kept), "" if flags is None else CALLER + flags)
    assert is_wanted(sample) is wanted


def test_a_traceparent_that_is_not_valid_is_no_parent() -> None:
    assert spans_of(Sample(ANSWERED, "nonsense"))[-1].parent is None


def test_spans_at_a_collector_follow_the_conventions_for_http_servers(page: Page) -> None:
    said: list[str] = []
    with Collector() as collector:
        traces = Traces(page, Spans(lambda: WALL_NS), OtlpExporter(f"{collector.url}/v1/traces"), said.append)
        traces.take([Sample(ANSWERED), Sample(FAILED, CALLER + "00")], 0)
        traces.close(0)
    assert {path for path, _ in collector.posts} == {"/v1/traces"}
    answered, failed = [span for span in collector.spans() if span.kind == span.SPAN_KIND_SERVER]
    assert attributes_of(answered) == {
        "http.request.method": "POST",
        "http.route": "/v2/models/{model}/infer",
        "url.path": "/v2/models/tiny/infer",
        "url.scheme": "http",
        "http.response.status_code": 200,
        "trivet.service": "tiny",
        "trivet.configuration": "ab" * 32,
        "trivet.outcome": "ok",
        "trivet.kept": "share",
        "trivet.batch_size": 4,
    }
    assert (attributes_of(failed)["error.type"], failed.status.code) == (
        "engine",
        failed.status.STATUS_CODE_ERROR,
    )
    assert failed.trace_id.hex() == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert answered.end_time_unix_nano == WALL_NS + 2000
    resource = collector.posts[0][1].resource_spans[0].resource
    assert attributes_of(resource)["service.name"] == "trivet"
    assert (page["traces_read"], page["traces_exported"], page["traces_dropped"], said) == (2, 2, 0, [])


def test_a_busy_collector_is_asked_again(page: Page) -> None:
    with Collector((503, 200)) as collector:
        traces = Traces(page, Spans(), OtlpExporter(f"{collector.url}/v1/traces"), print, gather_s=0)
        traces.take([Sample(ANSWERED)], 0)
        collector.wait_for_spans(12)  # the same six twice
        traces.close(0)
    assert (page["traces_exported"], page["traces_dropped"]) == (1, 0)


def test_a_collector_that_wants_nothing_costs_traces_which_are_counted_and_told_once(page: Page) -> None:
    said: list[str] = []
    with Collector((400,)) as collector:
        traces = Traces(page, Spans(), OtlpExporter(f"{collector.url}/v1/traces"), said.append, gather_s=0)
        for num in (1, 2, 3):
            traces.take([Sample(ANSWERED)], 0)
            collector.wait_for_spans(6 * num)
        traces.close(0)
    assert (page["traces_exported"], page["traces_dropped"]) == (0, 3)
    assert len(said) == 1
    assert said[0].startswith("traces are dropped: Failed to export spans batch code: 400")


class ScriptedExporter:
    """Exports when it is let, with the result that it is told."""

    def __init__(self) -> None:
        self.failure = "no route"
        self.batches: list[int] = []
        self.result: Callable[[], bool] = lambda: True
        self.begun = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)
        self.was_shut_down = False

    def export(self, spans: Sequence[Any]) -> bool:
        self.batches.append(len(spans))
        self.begun.release()
        self.go_on.acquire()
        return self.result() and not self.was_shut_down

    def shutdown(self) -> None:
        self.was_shut_down = True
        self.go_on.release(100)


def test_while_a_collector_is_slow_traces_wait_up_to_a_bound_and_the_rest_is_dropped(page: Page) -> None:
    exporter = ScriptedExporter()
    traces = Traces(page, Spans(), exporter, print, max_waiting=5, gather_s=0)
    traces.take([Sample(FAILED)], 0)
    exporter.begun.acquire()
    traces.take([Sample(FAILED)] * 8, 0)
    assert (page["traces_read"], page["traces_dropped"]) == (9, 3)
    exporter.go_on.release(100)
    traces.close(0)
    assert exporter.batches == [2, 10]
    assert (page["traces_exported"], page["traces_dropped"]) == (6, 3)


def test_it_is_told_when_traces_begin_to_fail_and_when_they_are_sent_again(page: Page) -> None:
    said: list[str] = []
    exporter = ScriptedExporter()
    results = iter([False, False, True])
    exporter.result = lambda: next(results)
    exporter.go_on.release(100)
    traces = Traces(page, Spans(), exporter, said.append, gather_s=0)
    for _ in range(3):
        traces.take([Sample(FAILED)], 0)
        exporter.begun.acquire()
    traces.close(0)
    assert said == ["traces are dropped: no route", "traces are sent again"]


def test_at_the_end_a_collector_that_hangs_is_given_up(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trivet.serve.background.traces._CLOSE_S", 0.01)
    exporter = ScriptedExporter()
    said: list[str] = []
    traces = Traces(page, Spans(), exporter, said.append, gather_s=0)
    traces.take([Sample(FAILED)], 0)
    exporter.begun.acquire()
    traces.close(0)
    traces._thread.join()
    assert exporter.was_shut_down
    assert (page["traces_exported"], page["traces_dropped"]) == (0, 1)
