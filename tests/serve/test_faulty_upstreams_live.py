"""A real server before upstreams that fail in every way: one answer to each request, in time, and what it says of it."""

import json
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from benchmarks import models as build
from tests.serve.faults_support import DEADLINE_S, GRACE_S, Said, ask, far, metric, metrics_text, rows
from tests.support.exits import model
from tests.support.server import ServerProcess
from tests.support.upstream_thread import UpstreamThread
from tests.support.upstreams import (
    Behaviour,
    Exchange,
    closes_early,
    doubles,
    drips,
    hangs,
    resets,
    says,
)

KEY, ANNES = "sk-of-ours-31415926", "annes-own-27182818"
# What it does, what a client is told, what the metrics call it, what its row says.
FAULTS: dict[str, tuple[Behaviour, int, str, str]] = {
    "hangs": (hangs, 504, "timeout", "failed"),
    "drips": (drips, 504, "timeout", "failed"),
    "resets": (resets, 502, "connection", "failed"),
    "early": (closes_early, 502, "connection", "failed"),
    "page": (says(200, b"<html>busy</html>"), 502, "rubbish", "failed"),
    "empty": (says(200, b'{"outputs": []}'), 502, "rubbish", "failed"),
    "broken": (says(500, b"broken"), 502, "status", "failed"),
    "busy": (says(429, b"", "Retry-After: 7"), 503, "refused", "refused"),
}
SHORT_MS = 300  # for who waits for an upstream that never answers
RETRY = "retry: {budget: 100%, backoff: 1ms}"
NEVER = "breaker: {failures: 100000, rate: 100%, window: 10000}"
SELDOM = NEVER.replace("10000}", "8}")


async def tells_the_key(exchange: Exchange) -> None:
    await exchange.answer(401, f"who is {exchange.header('authorization')}?".encode())


class Halves:
    """Every second request is reset."""

    def __init__(self) -> None:
        self._ways = cycle([doubles, resets])

    async def __call__(self, exchange: Exchange) -> None:
        await next(self._ways)(exchange)


class Storm:
    """Any of the faults, or a good answer, drawn anew for each request."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._ways = [doubles, doubles, *(fault[0] for fault in FAULTS.values())]

    async def __call__(self, exchange: Exchange) -> None:
        await self._rng.choice(self._ways)(exchange)


def failures(text: str, more: str = "") -> str:
    return f"pipeline: [{{model: far, failures: {{{text}}}}}]\n{more}"


def services(thread: UpstreamThread) -> dict[str, str]:
    url = {name: one.url for name, one in thread.upstreams.items()}
    found = {name: far(name, url[name]) for name in FAULTS}
    for name in FAULTS:
        held = f"timeout: {SHORT_MS}ms, fallback: [{{answer: {{y: [7, 7]}}}}]"
        found[f"{name}-held"] = far(f"{name}-held", url[name], more=failures(held))
    good, gone = url["good"], url["resets"]
    small = "  small: {file: small.onnx}\n"
    return found | {
        "retried": far("retried", gone, good, more=failures(f"{RETRY}, {NEVER}")),
        "hedged": far("hedged", url["hangs"], good, more=failures("hedge: {after: 5ms, budget: 100%}")),
        "ejected": far("ejected", good, url["good2"], url["halves"], more=failures(f"{RETRY}, {SELDOM}")),
        "opened": far("opened", gone, more=failures("breaker: {failures: 2, open: 30s}")),
        "elsewhere": far("elsewhere", gone, more=failures(f"fallback: [{{upstream: '{good}'}}]")),
        "smaller": far("smaller", gone, more=small + failures("fallback: [{model: small}]")),
        "older": far(
            "older",
            url["once"],
            more=failures("fallback: [{stale: true}]", "cache: {exact: {ttl: 1ns}}\n"),
        ),
        "keyed": far("keyed", url["keyed"]).replace("model: m\n", "model: m\n      key_env: FAR_KEY\n"),
        "stormy": far(
            "stormy",
            url["storm"],
            url["storm2"],
            more=failures(f"timeout: {SHORT_MS}ms, {RETRY}, hedge: {{after: 50ms, budget: 20%}}"),
        ),
    }


@pytest.fixture(scope="module")
def thread() -> Iterator[UpstreamThread]:
    ways = {name: fault[0] for name, fault in FAULTS.items()}
    ways |= {"good": doubles, "good2": doubles, "once": resets, "keyed": tells_the_key, "halves": Halves()}
    ways |= {"storm": Storm(1), "storm2": Storm(2)}
    with UpstreamThread(ways) as running:
        running["once"].script.append(doubles)
        yield running


@pytest.fixture(scope="module")
def folder(thread: UpstreamThread, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faults")
    from onnx import helper

    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    build.write(model("x", ["y"], nodes, {}), folder / "small.onnx")
    found = services(thread)
    for name, text in found.items():
        (folder / f"{name}.yaml").write_text(text)
    names = ", ".join(f"{name}.yaml" for name in found)
    (folder / "deployment.yaml").write_text(
        f"services: [{names}]\nrows: rows\nrows_share: 1.0\ntenants: {{anne: {{key_env: ANNES_KEY}}}}\n"
    )
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[ServerProcess]:
    with ServerProcess(["--config", "deployment.yaml"], folder, FAR_KEY=KEY, ANNES_KEY=ANNES) as running:
        yield running


def anne(server: ServerProcess, service: str, x: list[float], timeout_ms: int = 0) -> Said:
    return ask(server, service, x, timeout_ms, {"Authorization": f"Bearer {ANNES}"})


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_costs_one_error_in_time_and_is_counted(server: ServerProcess, fault: str) -> None:
    _, status, why, _ = FAULTS[fault]
    timeout_ms = SHORT_MS if why == "timeout" else 0
    said = anne(server, fault, [1.0, 2.0], timeout_ms)
    assert said.status == status, said.body
    assert said.seconds < (timeout_ms / 1000 or DEADLINE_S) + GRACE_S
    if why == "refused":
        assert said.headers["Retry-After"] == "7"
    labels = (f'model="{fault}"', f'outcome="{why}"')
    assert metric(server, "trivet_upstream_outcomes_total", *labels) + (why == "timeout") >= 1
    assert metric(server, "trivet_upstream_tries_total", f'model="{fault}"', 'kind="first"') == 1


@pytest.mark.parametrize("fault", FAULTS)
def test_behind_each_fault_the_fallback_answers_and_says_so(server: ServerProcess, fault: str) -> None:
    said = anne(server, f"{fault}-held", [1.0, 2.0])
    assert (said.status, said.values) == (200, [7.0, 7.0])
    assert said.parameters["instead"] == said.headers["X-Trivet-Instead"] == "fallback:answer"
    labels = (f'model="{fault}-held"', 'by="answer"')
    assert metric(server, "trivet_fallbacks_total", *labels) == 1


def test_a_retry_and_a_hedge_are_told(server: ServerProcess, thread: UpstreamThread) -> None:
    for service, kind in (("retried", "retry"), ("hedged", "hedge")):
        said = anne(server, service, [1.0, 2.0])
        assert said.values == [2.0, 4.0]
        assert said.parameters["upstream"] == said.headers["X-Trivet-Upstream"] == thread["good"].name
        assert (said.parameters["attempts"], said.headers["X-Trivet-Attempts"]) == (2, "2")
        labels = (f'model="{service}"', f'kind="{kind}"')
        assert metric(server, "trivet_upstream_tries_total", *labels) == 1


def test_an_open_breaker_is_told(server: ServerProcess, thread: UpstreamThread) -> None:
    seen = len(thread["resets"].seen)
    found = [anne(server, "opened", [1.0, 2.0]) for _ in range(4)]
    assert [said.status for said in found] == [502, 502, 503, 503]
    assert int(found[-1].headers["Retry-After"]) <= 30
    assert len(thread["resets"].seen) == seen + 2
    assert metric(server, "trivet_upstream_breaker_open", 'model="opened"') == 1


def test_who_fails_more_than_the_others_is_ejected(server: ServerProcess, thread: UpstreamThread) -> None:
    for _ in range(36):  # so few that nobody's times are known: a busy machine makes any of them look slow
        assert anne(server, "ejected", [1.0, 2.0]).values == [2.0, 4.0]
    labels = ('model="ejected"', f'upstream="{thread["halves"].name}"')
    assert metric(server, "trivet_upstream_ejections_total", *labels) == 1


def test_each_link_of_the_chain_says_who_it_is(server: ServerProcess, thread: UpstreamThread) -> None:
    elsewhere = anne(server, "elsewhere", [1.0, 2.0])
    assert (elsewhere.values, elsewhere.parameters["upstream"]) == ([2.0, 4.0], thread["good"].name)
    assert elsewhere.parameters["instead"] == "fallback:upstream"
    smaller = anne(server, "smaller", [1.0, 2.0])
    assert (smaller.values, smaller.parameters["instead"]) == ([1.0, 2.0], "fallback:small")
    first, older = (anne(server, "older", [1.0, 2.0]) for _ in range(2))
    assert (first.values, first.parameters["cache"]) == ([2.0, 4.0], "miss")
    assert (older.values, older.parameters["instead"]) == ([2.0, 4.0], "fallback:stale")
    assert anne(server, "older", [3.0, 2.0]).status == 502  # nothing older is known of it


def test_in_a_storm_each_request_gets_one_answer_and_it_is_its_own(server: ServerProcess) -> None:
    def client(number: int) -> list[int]:
        found = []
        for i in range(15):
            said = anne(server, "stormy", [float(number), float(i)], 2000)
            assert said.seconds < 2 + GRACE_S
            assert said.status != 200 or said.values == [2.0 * number, 2.0 * i]
            found.append(said.status)
        return found

    with ThreadPoolExecutor(8) as pool:
        found = [status for one in pool.map(client, range(8)) for status in one]
    assert len(found) == 120
    assert set(found) <= {200, 502, 503, 504}
    answered = metric(server, "nv_inference_request_success", 'model="stormy"')
    failed = metric(server, "nv_inference_request_failure", 'model="stormy"')
    assert (answered, failed) == (found.count(200), 120 - found.count(200))


def test_rows_tell_and_no_key_is_anywhere(
    server: ServerProcess, folder: Path, thread: UpstreamThread
) -> None:
    """The last one: it ends the server, so that all rows are written."""
    keyed = anne(server, "keyed", [1.0, 2.0])
    assert (keyed.status, "who is Bearer ***?" in keyed.body["error"]) == (502, True)
    assert thread["keyed"].seen[0].header("authorization") == f"Bearer {KEY}"
    told = [json.dumps(keyed.body), metrics_text(server), status_text(server)]
    server.stop()
    told += [*server.log, json.dumps(rows(folder / "rows"))]
    held = [path for path in folder.rglob("*") if path.is_file()]
    assert any(path.suffix == ".parquet" for path in held)
    for secret in (KEY, ANNES):
        assert not any(secret in text for text in told)
        assert not any(secret.encode() in path.read_bytes() for path in held)
    for upstream in thread.upstreams.values():
        assert not any(ANNES in exchange.head for exchange in upstream.seen)
    check_rows(folder, thread)


def check_rows(folder: Path, thread: UpstreamThread) -> None:
    good = thread["good"].name
    for fault, (_, status, _, outcome) in FAULTS.items():
        (row,) = rows(folder / "rows", fault)
        assert (row["status"], row["outcome"], row["tenant"]) == (status, outcome, "anne"), fault
        (held,) = rows(folder / "rows", f"{fault}-held")
        assert (held["status"], held["outcome"], held["instead"]) == (200, "ok", "fallback:answer"), fault
    expected: dict[str, list[tuple[Any, ...]]] = {
        "retried": [("ok", "", good, 2)],
        "hedged": [("ok", "", good, 2)],
        "opened": [("failed", "", "", 1)] * 2 + [("refused", "", "", -1)] * 2,
        "elsewhere": [("ok", "fallback:upstream", good, 2)],
        "smaller": [("ok", "fallback:small", "", 1)],
        "older": [
            ("failed", "", "", 1),
            ("ok", "", thread["once"].name, 1),
            ("ok", "fallback:stale", "", 1),
        ],
    }
    for service, wanted in expected.items():
        names = ("outcome", "instead", "upstream", "attempts")
        found = [tuple(row[name] for name in names) for row in rows(folder / "rows", service)]
        assert sorted(found) == sorted(wanted), service
    assert len(rows(folder / "rows", "stormy")) == 120


def status_text(server: ServerProcess) -> str:
    import urllib.request

    with urllib.request.urlopen(f"http://{server.control}/status", timeout=30) as answer:
        text: str = answer.read().decode()
    return text
