"""Equal requests over HTTP: answered once each, from one computation, and never with anybody else's answer."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.serve.cache_support import ECHO, CachedFront, watched, write_service
from tests.serve.http_support import Answer, infer, request, tensors, values
from trivet.errors import EngineError, RequestError
from trivet.runtime.fronts.front import answer_now
from trivet.runtime.notes import Notes
from trivet.runtime.request import Request
from trivet.runtime.results import Results
from trivet.serve.http.tenants import Tenants
from trivet.serve.messages import KnownTenant
from trivet.serve.statistics import model_stats

SERVICE = ECHO + "cache: {exact: {ttl: 10s}}\nslo: {deadline: 1s}\n"
MS = 1_000_000


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_service(tmp_path_factory.mktemp("echo"), SERVICE)


@pytest.fixture
def front(path: Path) -> CachedFront:
    return CachedFront(path)


def cache_of(answer: Answer) -> str:
    """As the parameter says it; asserts that the header says the same."""
    assert answer.status == 200, answer
    said: str = json.loads(answer.body)["parameters"]["cache"]
    assert answer.headers["x-trivet-cache"] == said
    return said


def within(timeout_ms: int, value: bytes = b"1") -> bytes:
    return infer(value, extra=b',"parameters":{"timeout":%d}' % (timeout_ms * 1000))


def test_the_second_time_nothing_is_computed(front: CachedFront) -> None:
    client = front.connect()
    answers = [client.ask(infer(b"1.5")) for _ in range(3)]
    assert [cache_of(answer) for answer in answers] == ["miss", "exact", "exact"]
    assert {values(answer) for answer in answers} == {b"1.5"}
    assert cache_of(client.ask(infer(b"2.5"))) == "miss"
    assert front.num_executed == 2
    assert front.count("trivet_cache_lookups_total", kind="exact") == 4
    assert front.count("trivet_cache_hits_total", kind="exact") == 2
    assert front.live.models[0].counters.success == 4


def test_a_service_without_a_cache_says_nothing_of_one(tmp_path: Path) -> None:
    front = CachedFront(write_service(tmp_path, ECHO))
    answer = front.connect().ask(infer(b"1"))
    assert front.live.fronts is None
    assert "cache" not in json.loads(answer.body)["parameters"]
    assert "x-trivet-cache" not in answer.headers


def test_each_gets_its_own_id_outputs_and_encoding(front: CachedFront) -> None:
    client = front.connect()
    client.ask(infer(b"1.5"))
    named = client.ask(infer(b"1.5", extra=b',"id":"seven"'))
    assert (cache_of(named), json.loads(named.body)["id"]) == ("exact", "seven")
    binary = client.ask(infer(b"1.5", extra=b',"outputs":[{"name":"y","parameters":{"binary_data":true}}]'))
    assert binary.body.endswith(b"\0\0\xc0\x3f")
    assert binary.headers["x-trivet-cache"] == "exact"
    timed = client.ask(infer(b"1.5", headers=[b"X-Trivet-Timing: 1", b"X-Request-Id: r1"]))
    assert 'cache;desc="exact"' in timed.headers["server-timing"]
    assert "compute;dur=0.000, batch;desc=0" in timed.headers["server-timing"]
    assert timed.headers["x-request-id"] == "r1"
    assert front.num_executed == 1


def test_rows_of_one_request_are_kept_together(front: CachedFront) -> None:
    client = front.connect()
    two = b'{"inputs":[{"name":"x","shape":[2,1],"datatype":"FP32","data":[1,2]}]}'
    answers = [client.ask(request(body=two)) for _ in range(2)]
    assert [cache_of(answer) for answer in answers] == ["miss", "exact"]
    assert [json.loads(answer.body)["outputs"] for answer in answers] == [
        [{"name": "y", "datatype": "FP32", "shape": [2, 1], "data": [1.0, 2.0]}]
    ] * 2
    assert cache_of(client.ask(infer(b"1"))) == "miss"


def test_an_answer_is_given_until_its_time_is_over(front: CachedFront) -> None:
    client = front.connect()
    client.ask(infer(b"1"))
    front.clock.advance_ns(9_900 * MS)
    assert cache_of(client.ask(infer(b"1"))) == "exact"
    front.clock.advance_ns(101 * MS)
    assert cache_of(client.ask(infer(b"1"))) == "miss"
    assert cache_of(client.ask(infer(b"1"))) == "exact"


def test_no_tenant_gets_anothers_answer(front: CachedFront) -> None:
    from hashlib import sha256

    known = [
        KnownTenant(name=name, key_sha256=sha256(name.encode()).hexdigest()) for name in ("anne", "bert")
    ]
    front.router.tenants = Tenants(known)
    client = front.connect()
    asked = [b"anne", b"anne", b"bert", b"anne", b"bert"]
    answers = [client.ask(infer(b"1", headers=[b"X-API-Key: " + who])) for who in asked]
    assert [cache_of(answer) for answer in answers] == ["miss", "exact", "miss", "exact", "exact"]
    both = front.connect(), front.connect()
    for client, who in zip(both, (b"anne", b"bert"), strict=True):
        client.send(infer(b"2", headers=[b"X-API-Key: " + who]))
    assert [cache_of(client.answers()[0]) for client in both] == ["miss", "miss"]
    assert front.count("trivet_cache_joined_total") == 0


def test_no_configuration_gives_anothers_answer(front: CachedFront, tmp_path: Path) -> None:
    client = front.connect()
    client.ask(infer(b"1"))
    other = front.add(
        write_service(tmp_path, SERVICE.replace("max_batch_size: 8", "max_batch_size: 4")), is_new=False
    )
    assert other.hash != front.live.hash
    front.router.tables["echo", "1"].replace([(other, 1.0)])
    answer = client.ask(infer(b"1"))
    assert (cache_of(answer), json.loads(answer.body)["parameters"]["configuration"]) == (
        "miss",
        other.hash[:12],
    )


def test_a_request_that_is_wrong_is_told_so_and_nothing_is_kept(front: CachedFront) -> None:
    none = b'{"inputs":[{"name":"x","shape":[0,1],"datatype":"FP32","data":[]}]}'
    for _ in range(2):
        answer = front.connect().ask(request(body=none))
        assert (answer.status, b"no rows" in answer.body) == (400, True)
    assert front.router.answering.num_accepted == front.router.answering.num_answered == 2
    front.check_alive()


def test_statistics_tell_hits_and_misses(front: CachedFront) -> None:
    from trivet.serve.snapshot import GcPauses, snapshot

    client = front.connect()
    for value in (b"1", b"1", b"1", b"2"):
        client.ask(infer(value))
    found = model_stats([snapshot(front.router, front.runtime, GcPauses(), None)])
    stats = found["model_stats"][0]["inference_stats"]
    assert (stats["cache_hit"]["count"], stats["cache_miss"]["count"], stats["success"]["count"]) == (2, 2, 4)
    assert stats["cache_hit"]["ns"] > 0


# --- equal requests at the same time ---------------------------------------------------------------------------


def test_equal_requests_at_the_same_time_are_computed_once(front: CachedFront) -> None:
    engine = watched(front.live)
    clients = [front.connect() for _ in range(5)]
    for client in clients:
        client.send(infer(b"1"))
    answers = [client.answers() for client in clients]
    assert [len(one) for one in answers] == [1] * 5
    assert [cache_of(one[0]) for one in answers] == ["miss", *["exact"] * 4]
    assert engine.num_rows == [1]
    assert front.count("trivet_cache_joined_total") == 4
    front.check_alive()


def test_answers_on_one_connection_keep_the_order_of_their_requests(front: CachedFront) -> None:
    client = front.connect()
    client.send(infer(b"1") + infer(b"2") + infer(b"1") + infer(b"2"))
    answers = client.answers()
    assert [(values(answer), cache_of(answer)) for answer in answers] == [
        (b"1.0", "miss"),
        (b"2.0", "miss"),
        (b"1.0", "exact"),
        (b"2.0", "exact"),
    ]


def test_when_the_first_fails_the_others_are_computed_each_for_itself(front: CachedFront) -> None:
    engine = watched(front.live)
    engine.errors = [EngineError("bad luck")]
    clients = [front.connect() for _ in range(3)]
    for client in clients:
        client.send(infer(b"1"))
    answers = [client.answers() for client in clients]
    assert [[answer.status for answer in one] for one in answers] == [[500], [200], [200]]
    assert sum(engine.num_rows) == 3
    assert cache_of(front.connect().ask(infer(b"1"))) == "exact"
    front.check_alive()


def test_an_error_is_never_kept(front: CachedFront) -> None:
    engine = watched(front.live)
    engine.errors = [EngineError("bad luck")]
    client = front.connect()
    assert client.ask(infer(b"1")).status == 500
    assert cache_of(client.ask(infer(b"1"))) == "miss"


def test_when_all_fail_each_is_told_once(front: CachedFront) -> None:
    engine = watched(front.live)
    engine.errors = [EngineError("broken") for _ in range(20)]
    clients = [front.connect() for _ in range(4)]
    for client in clients:
        client.send(infer(b"1"))
    assert [[answer.status for answer in client.answers()] for client in clients] == [[500]] * 4
    assert front.live.fronts is not None
    assert front.live.fronts.num_held == 0


def test_when_the_firsts_client_leaves_another_takes_its_place(front: CachedFront) -> None:
    engine = watched(front.live)
    clients = [front.connect() for _ in range(4)]
    for client in clients:
        client.send(infer(b"1"))
    clients[0].transport.drop()
    clients[0].connection.connection_lost(None)
    answers = [client.answers() for client in clients[1:]]
    assert [[cache_of(answer) for answer in one] for one in answers] == [["miss"], ["exact"], ["exact"]]
    assert engine.num_rows == [1]
    assert front.live.models[0].counters.failed == {"CANCELED": 1}
    assert front.router.answering.num_accepted == front.router.answering.num_answered == 4


def test_clients_that_wait_may_leave(front: CachedFront) -> None:
    clients = [front.connect() for _ in range(3)]
    for client in clients:
        client.send(infer(b"1"))
    clients[1].transport.drop()
    clients[1].connection.connection_lost(None)
    assert [cache_of(clients[place].answers()[0]) for place in (0, 2)] == ["miss", "exact"]
    assert front.router.answering.num_accepted == front.router.answering.num_answered == 3
    assert front.live.fronts is not None
    assert front.live.fronts.num_held == 0


def test_all_may_leave(front: CachedFront) -> None:
    engine = watched(front.live)
    clients = [front.connect() for _ in range(3)]
    for client in clients:
        client.send(infer(b"1"))
    for client in clients:
        client.transport.drop()
        client.connection.connection_lost(None)
    front.loop.run()
    assert engine.num_rows == []
    assert front.router.answering.num_accepted == front.router.answering.num_answered == 3
    assert cache_of(front.connect().ask(infer(b"1"))) == "miss"


def test_nobody_waits_past_its_own_deadline(front: CachedFront) -> None:
    clients = [front.connect() for _ in range(3)]
    for client, timeout_ms in zip(clients, (100, 200, 900), strict=True):
        client.send(within(timeout_ms))
    held, front.loop.ready = front.loop.ready, type(front.loop.ready)()  # the first is not computed yet
    front.clock.advance_ns(300 * MS)
    front.loop.fire()
    answers = clients[1].answers()
    assert [answer.status for answer in answers] == [504]
    assert b"equal request" in answers[0].body
    assert clients[2].answers() == []
    front.loop.ready.extend(held)
    assert [client.answers()[0].status for client in (clients[0], clients[2])] == [504, 200]
    assert clients[1].answers() == []
    front.check_alive()


def test_a_request_with_less_time_does_not_wait_for_one_with_more(front: CachedFront) -> None:
    engine = watched(front.live)
    clients = [front.connect() for _ in range(2)]
    for client, timeout_ms in zip(clients, (900, 100), strict=True):
        client.send(within(timeout_ms))
    assert [cache_of(client.answers()[0]) for client in clients] == ["miss", "miss"]
    assert sum(engine.num_rows) == 2


def test_without_single_flight_each_is_computed(tmp_path: Path) -> None:
    front = CachedFront(write_service(tmp_path, ECHO + "cache: {exact: {single_flight: false}}\n"))
    engine = watched(front.live)
    clients = [front.connect() for _ in range(3)]
    for client in clients:
        client.send(infer(b"1"))
    assert [cache_of(client.answers()[0]) for client in clients] == ["miss"] * 3
    assert sum(engine.num_rows) == 3
    assert cache_of(clients[0].ask(infer(b"1"))) == "exact"


def test_a_configuration_is_not_freed_under_those_that_wait(front: CachedFront, tmp_path: Path) -> None:
    engine = watched(front.live)
    closed: list[bool] = []
    executor: Any = front.live.models[0].idle[0]
    executor.close = lambda: closed.append(True)
    clients = [front.connect() for _ in range(3)]
    engine.errors = [EngineError("bad luck")]
    for client in clients:
        client.send(infer(b"1"))
    front.runtime.retire(front.live)
    assert closed == []
    assert [client.answers()[0].status for client in clients] == [500, 200, 200]
    assert closed == [True]


# --- other fronts, and what stands in for the pipeline ------------------------------------------------------------


class Other:
    """A front that is asked behind the exact cache: knows one value, and holds others as long as it is told to."""

    name = "semantic"

    def __init__(self, knows: bytes) -> None:
        self._knows = knows
        self.holds = False
        self.held: list[Callable[[], None]] = []
        self.heard: list[str] = []

    def ask(self, request: Request, go_on: Callable[[], None]) -> bool:
        if bytes(request.message.inputs[0].data) == self._knows:
            import numpy as np

            answer_now(request, {"y": np.array([[42.0]], np.float32)}, 1, self.name)
            return True
        if self.holds:
            self.held.append(go_on)
        return self.holds

    def answered(self, request: Request, results: Results, start: int) -> None:
        self.heard.append("answered")

    def failed(self, request: Request, error: RequestError) -> None:
        self.heard.append(type(error).__name__)

    def stale(self, request: Request) -> Results | None:
        return None

    def close(self) -> None: ...


ONE = b"\0\0\x80\x3f"


def test_what_another_cache_answers_is_not_kept_as_the_pipelines(path: Path) -> None:
    front = CachedFront(path, [Other(ONE)])
    clients = [front.connect() for _ in range(3)]
    for client in clients:
        client.send(infer(b"1"))
    answers = [client.answers()[0] for client in clients]
    assert [(cache_of(answer), values(answer)) for answer in answers] == [("semantic", b"42.0")] * 3
    assert front.num_executed == 0
    assert cache_of(clients[0].ask(infer(b"2"))) == "miss"


def test_one_that_a_front_holds_goes_on_later_or_not_at_all(path: Path) -> None:
    other = Other(ONE)
    front = CachedFront(path, [other])
    other.holds = True
    clients = [front.connect() for _ in range(3)]
    for client, value in zip(clients, (b"2", b"3", b"2"), strict=True):
        client.send(infer(value))
    assert [client.answers() for client in clients] == [[], [], []]
    assert front.live.num_unanswered() == 3
    clients[1].transport.drop()
    clients[1].connection.connection_lost(None)
    assert other.heard == ["ClientLeftError"]
    for go_on in other.held:
        go_on()
        go_on_twice = go_on
    assert [cache_of(clients[place].answers()[0]) for place in (0, 2)] == ["miss", "exact"]
    assert other.heard == ["ClientLeftError", "answered"]
    assert front.live.num_unanswered() == 0
    assert go_on_twice is other.held[-1]


def test_what_stands_in_for_the_pipeline_is_not_kept_and_is_nobody_elses(front: CachedFront) -> None:
    clients = [front.connect() for _ in range(2)]
    for client in clients:
        client.send(infer(b"1"))
    first = next(iter(front.live.fronts._on_way))  # type: ignore[union-attr]
    first.notes = first.notes or Notes()
    first.notes.instead = "degraded:small"
    first.notes.upstream = "http://far:1"
    answers = [client.answers()[0] for client in clients]
    said = json.loads(answers[0].body)["parameters"]
    assert (said["instead"], said["upstream"]) == ("degraded:small", "http://far:1")
    assert answers[0].headers["x-trivet-instead"] == "degraded:small"
    assert answers[0].headers["x-trivet-upstream"] == "http://far:1"
    assert "instead" not in json.loads(answers[1].body)["parameters"]
    assert front.num_executed == 2
    assert front.count("trivet_instead_total", instead="degraded:small") == 1
    assert front.count("trivet_upstream_answers_total", upstream="http://far:1") == 1


def test_an_old_answer_is_there_for_who_has_no_other(front: CachedFront) -> None:
    client = front.connect()
    client.ask(infer(b"1"))
    front.clock.advance_ns(60_000 * MS)
    client.send(infer(b"1"))
    asked = next(iter(front.live.fronts._on_way))  # type: ignore[union-attr]
    assert front.live.fronts is not None
    old = front.live.fronts.stale(asked)
    assert old is not None
    assert old.part(0, 1)["y"].tolist() == [[1.0]]
    assert cache_of(client.answers()[0]) == "miss"
    client.send(infer(b"7"))
    assert front.live.fronts.stale(next(iter(front.live.fronts._on_way))) is None
    client.answers()


def test_what_does_not_fit_is_answered_and_not_kept(tmp_path: Path) -> None:
    front = CachedFront(write_service(tmp_path, ECHO + "cache: {exact: {size: 2000B}}\n"))
    client = front.connect()
    wide = tensors(b",".join([b"1"] * 400)).replace(b"[1,1]", b"[1,400]")
    for _ in range(2):
        assert cache_of(client.ask(request(body=wide))) == "miss"
    assert front.count("trivet_cache_entries") == 0
    for value in (b"1", b"2", b"1"):
        assert cache_of(client.ask(infer(value))) == "miss", "there is room for one"
    assert (front.count("trivet_cache_entries"), cache_of(client.ask(infer(b"1")))) == (1, "exact")
