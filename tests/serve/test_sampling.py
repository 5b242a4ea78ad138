"""Which requests get rows, and what stands in them: a worker's front without sockets, and a socket to read rows from."""

import json
import socket
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.serve.http_support import SECOND_NS, Front, infer, request, write_echo
from tests.spec.row_contract import RowWriterContract
from trivet.errors import BadRequestError, DeadlineError, EngineError, UnavailableError
from trivet.runtime.request import Request
from trivet.schedule.job import DONE
from trivet.serve.sampled_row import answered_row, digest, failed_row
from trivet.serve.samples import MAX_MESSAGE, Outlet, Sample, decode
from trivet.serve.sampling import Sampler, gaps
from trivet.serve.traceparent import caller_of
from trivet.spec.row import ABSENT, Row, RowColumns, RowsHeader

CALLER = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-"


class SampledFront(Front):
    """A front whose sampled rows can be read."""

    def __init__(
        self, path: Path, *, share: float = 1.0, traces: bool = False, max_waiting: int = 1000
    ) -> None:
        super().__init__([path])
        self.ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.outlet = Outlet(self.ours, max_waiting)
        self.router.sampler = Sampler(
            self.outlet, share=share, seed=0, traces=traces, now_ns=self.clock.now_ns
        )

    def samples(self) -> list[Sample]:
        """Those since the last call; what waited in the outlet is sent."""
        self.outlet.flush()
        self._theirs.setblocking(False)
        found: list[Sample] = []
        while True:
            try:
                found += decode(self._theirs.recv(MAX_MESSAGE))
            except BlockingIOError:
                return found

    def rows(self) -> list[Row]:
        return [sample.row for sample in self.samples()]

    def close(self) -> None:
        self.outlet.close()
        self._theirs.close()


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_echo(tmp_path_factory.mktemp("echo"))


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same service with a budget that every request exceeds."""
    path = write_echo(tmp_path_factory.mktemp("impatient"))
    path.write_text(path.read_text() + "slo: {latency: 1us}\n")
    return path


@pytest.fixture
def front(echo: Path) -> Iterator[SampledFront]:
    front = SampledFront(echo)
    yield front
    front.close()


def of_each_outcome(front: SampledFront) -> dict[str, Row]:
    """One request for each way that a request goes without a slow or failing engine."""
    client = front.connect()
    assert client.ask(infer(b"2.5", extra=b',"id":"mine"')).status == 200
    assert client.ask(infer(b"2.5", extra=b',"parameters":{"timeout":1}')).status == 429
    assert client.ask(request(body=b"{}")).status == 400
    client.send(infer(b"2.5"))
    front.clock.advance_ns(SECOND_NS)
    assert [answer.status for answer in client.answers()] == [504]
    leaving = front.connect()
    leaving.send(infer(b"2.5"))
    leaving.leave()
    rows = front.rows()
    assert len(rows) == 5
    return {row.outcome: row for row in rows}


class TestRowsOfAFront(RowWriterContract):
    @pytest.fixture
    def rows(self, front: SampledFront) -> RowColumns:
        return RowColumns.of_rows(RowsHeader(writer="trivet serve"), list(of_each_outcome(front).values()))


def test_each_outcome_has_what_is_known_of_it(front: SampledFront) -> None:
    rows = of_each_outcome(front)
    ok, refused, invalid = rows["ok"], rows["refused"], rows["invalid"]
    assert (ok.status, ok.service, ok.batch_size, ok.key) == (200, "echo", 1, "mine")
    assert ok.configuration == front.lives[0].hash
    # The clock moves by a microsecond with each look.
    assert min(ok.parse_ns, ok.queue_ns, ok.batch_wait_ns, ok.compute_ns, ok.encode_ns) > 0
    assert ok.deadline_ns == ok.intended_ns + front.lives[0].deadline_ns
    assert (refused.status, refused.reason, refused.batch_size) == (429, "deadline", 0)
    assert (invalid.status, invalid.reason, invalid.parse_ns) == (400, "badrequest", ABSENT)
    assert (rows["dropped"].status, rows["dropped"].kept) == (504, "failed")
    assert rows["dropped"].queue_ns >= SECOND_NS
    assert (rows["cancelled"].status, rows["cancelled"].first_byte_ns) == (0, ABSENT)


def test_equal_answers_have_equal_digests_and_nothing_of_the_answer_is_kept(front: SampledFront) -> None:
    client = front.connect()
    for value in (b"2.5", b"2.5", b"3.5"):
        client.ask(infer(value))
    first, second, third = [row.answer for row in front.rows()]
    assert first == second != third
    assert len(first) == 16


def test_a_digest_is_of_the_body_alone() -> None:
    assert digest(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody") == digest(b"HTTP/1.1 200 OK\r\n\r\nbody")


# --- which ones ---


def test_a_share_of_nothing_keeps_only_what_failed(echo: Path) -> None:
    front = SampledFront(echo, share=0.0)
    client = front.connect()
    for _ in range(50):
        client.ask(infer(b"2.5"))
    client.ask(infer(b"2.5", extra=b',"parameters":{"timeout":1}'))
    client.ask(request(body=b"{}"))
    assert front.rows() == []
    client.send(infer(b"2.5"))
    front.clock.advance_ns(SECOND_NS)
    client.answers()
    assert [(row.outcome, row.kept) for row in front.rows()] == [("dropped", "failed")]
    front.close()


def test_answers_over_the_latency_budget_are_always_kept(impatient: Path) -> None:
    front = SampledFront(impatient, share=0.0)
    client = front.connect()
    for _ in range(10):
        client.ask(infer(b"2.5"))
    assert [(row.outcome, row.kept) for row in front.rows()] == [("ok", "slow")] * 10
    front.close()


def test_drawn_requests_are_those_that_the_gaps_say(echo: Path) -> None:
    front = SampledFront(echo, share=0.2)
    client = front.connect()
    for number in range(1, 101):
        client.ask(infer(b"2.5", extra=b',"id":"%d"' % number))
    places, place = [], 0
    for gap in gaps(0.2, 0):
        place += gap
        if place > 100:
            break
        places.append(place)
    assert [int(row.key) for row in front.rows()] == places
    assert places
    front.close()


@given(share=st.floats(0, 1), seed=st.integers(0, 100))
def test_gaps_are_at_least_one(share: float, seed: int) -> None:
    found = list(islice(gaps(share, seed), 20))
    assert min(found) >= 1
    assert found == list(islice(gaps(share, seed), 20))
    assert share < 1 or found == [1] * 20


def test_gaps_are_geometric() -> None:
    """Inversion, from the same uniform numbers: the gap is the first k with 1 - (1 - share)^k > u."""
    import random

    rng = random.Random(5)
    for gap in islice(gaps(0.25, 5), 200):
        u = rng.random()
        assert 1 - 0.75 ** (gap - 1) <= u + 1e-12
        assert 1 - 0.75**gap > u - 1e-12


@pytest.mark.parametrize(
    ("flags", "kept"), [(b"01", ["trace"]), (b"03", ["trace"]), (b"00", []), (b"xx", [])]
)
def test_callers_that_record_a_trace_are_kept_where_traces_are_made(
    echo: Path, flags: bytes, kept: list[str]
) -> None:
    for traces in (True, False):
        front = SampledFront(echo, share=0.0, traces=traces)
        client = front.connect()
        client.ask(infer(b"2.5", headers=[b"traceparent: " + CALLER + flags]))
        client.ask(infer(b"2.5"))
        samples = front.samples()
        assert [sample.row.kept for sample in samples] == (kept if traces else [])
        assert all(sample.traceparent.encode() == CALLER + flags for sample in samples)
        front.close()


def test_a_refused_request_of_a_caller_that_records_is_kept_too(echo: Path) -> None:
    front = SampledFront(echo, share=0.0, traces=True)
    headers = [b"traceparent: " + CALLER + b"01"]
    front.connect().ask(infer(b"2.5", headers=headers, extra=b',"parameters":{"timeout":1}'))
    front.connect().ask(request(body=b"{}", headers=headers))
    leaving = front.connect()
    leaving.send(infer(b"2.5", headers=headers))
    leaving.leave()
    assert [(row.outcome, row.kept) for row in front.rows()] == [
        ("refused", "trace"),
        ("invalid", "trace"),
        ("cancelled", "trace"),
    ]
    front.close()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-011",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\n",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
    ],
)
def test_what_is_no_traceparent_has_no_caller(text: str) -> None:
    assert caller_of(text) is None


@pytest.mark.parametrize(("flags", "records"), [("01", True), ("00", False), ("fe", False), ("03", True)])
def test_a_traceparent_names_the_callers_span_and_decision(flags: str, records: bool) -> None:
    for text in (f"00-{'0' * 30}ab-{'0' * 15}c-{flags}", f"01-{'0' * 30}ab-{'0' * 15}c-{flags}-more"):
        caller = caller_of(text)
        assert caller is not None
        assert (caller.trace_id, caller.span_id, caller.records) == (0xAB, 0xC, records)


# --- what a front cannot make happen by hand: slow engines, failures between the stages of a pipeline ---


@pytest.fixture
def ended(front: SampledFront) -> Request:
    """A request whose engine is done with it: instants 1, 2, 3, 5, 8 us after its first byte."""
    live = front.lives[0]
    message = live.decoder.decode(infer(b"2.5").partition(b"\r\n\r\n")[2], None)
    made = live.request(message, 1000, 2000, 0, 0, front.connect().connection)
    made.formed_ns, made.started_ns, made.ended_ns, made.batch_rows = 3000, 5000, 8000, 4
    made.state = DONE
    return made


def test_an_answer_that_was_ready_after_its_deadline_has_its_phases(ended: Request) -> None:
    row = failed_row(ended, DeadlineError("late"), 504, 9000, "failed")
    assert (row.outcome, row.reason, row.status, row.batch_size) == ("failed", "deadline", 504, 4)
    assert (row.parse_ns, row.queue_ns, row.batch_wait_ns, row.compute_ns) == (1000, 1000, 2000, 3000)


def test_a_failure_behind_the_first_model_of_a_pipeline_keeps_only_what_is_true(ended: Request) -> None:
    ended.arrival_ns = 9000  # offered to the second model; the engine's instants are the first one's
    row = failed_row(ended, EngineError("boom"), 500, 12_000, "failed")
    assert (row.outcome, row.reason, row.parse_ns) == ("failed", "engine", 8000)
    assert {row.queue_ns, row.batch_wait_ns, row.compute_ns, row.batch_size} == {ABSENT}


def test_an_output_that_cannot_travel_is_the_clients_mistake_without_a_compute_time(ended: Request) -> None:
    row = failed_row(ended, BadRequestError("no"), 400, 9000, "share")
    assert (row.outcome, row.compute_ns, row.batch_size) == ("invalid", ABSENT, ABSENT)


def test_draining_refuses(ended: Request) -> None:
    row = failed_row(ended, UnavailableError("draining"), 503, 9000, "share")
    assert (row.outcome, row.reason, row.batch_size) == ("refused", "unavailable", 0)


def test_an_answer_encoded_after_its_deadline_is_late(ended: Request) -> None:
    ended.end_by_ns = 8500
    row = answered_row(ended, b"HTTP/1.1 200 OK\r\n\r\n{}", 8000, 9000, "slow", is_gone=False)
    assert (row.outcome, row.status, row.encode_ns) == ("late", 200, 1000)


def test_an_answer_for_a_client_that_has_left_is_none(ended: Request) -> None:
    row = answered_row(ended, b"HTTP/1.1 200 OK\r\n\r\n{}", 8000, 9000, "share", is_gone=True)
    assert (row.outcome, row.status, row.first_byte_ns, row.answer) == ("cancelled", 0, ABSENT, b"")
    assert row.compute_ns == 3000


def test_a_long_id_is_cut(ended: Request) -> None:
    ended.message.id = "x" * 5000
    assert len(failed_row(ended, EngineError("boom"), 500, 9000, "failed").key) == 256


# --- a background process that does not read ---


def test_a_full_buffer_drops_rows_and_counts_them_and_no_request_feels_it(echo: Path) -> None:
    front = SampledFront(echo, max_waiting=10)
    front.ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)  # some twenty rows
    client = front.connect()
    for _ in range(200):
        assert client.ask(infer(b"2.5")).status == 200
        front.outlet.flush()
    outlet = front.outlet
    assert (outlet.num_kept, outlet.num_waiting) == (200, 10)
    assert 0 < outlet.num_dropped < 190
    assert len(front.rows()) < 200 - outlet.num_dropped  # the socket had no room for those that wait
    assert len(front.rows()) > 0  # now it has
    front.close()


def test_without_a_reader_rows_are_dropped_and_counted(front: SampledFront) -> None:
    front._theirs.close()
    for _ in range(3):
        assert front.connect().ask(infer(b"2.5")).status == 200
    front.outlet.flush()
    assert (front.outlet.num_kept, front.outlet.num_dropped, front.outlet.num_waiting) == (3, 3, 0)


def test_a_full_message_is_sent_at_once(front: SampledFront) -> None:
    client = front.connect()
    for number in range(64):
        assert front.outlet.num_waiting == number
        client.ask(infer(b"2.5", headers=[b"X-Request-Id: %d" % number]))
    assert front.outlet.num_waiting == 0
    assert [row.key for row in front.rows()] == [str(number) for number in range(64)]


def test_a_front_without_a_sampler_does_as_before(echo: Path) -> None:
    front = Front([echo])
    answer = front.connect().ask(infer(b"2.5"))
    assert json.loads(answer.body)["outputs"][0]["data"] == [2.5]
    assert front.router.sampler is None
