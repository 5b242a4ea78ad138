"""Rows and traces of a real server: what stands in the files, and what the death of their writer costs."""

import asyncio
import contextlib
import http.client
import importlib.util
import json
import os
import re
import signal
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.serve.collector import Collector
from tests.spec.row_contract import RowWriterContract
from tests.support.server import ServerProcess
from trivet.cli.deployment import deployment
from trivet.errors import ExtraMissingError, UserError
from trivet.serve.background.keeper import BackgroundCounts, BackgroundKeeper
from trivet.serve.background.settings import background_settings
from trivet.serve.metrics import render
from trivet.serve.samples import Outlet, Sample
from trivet.spec.deployment import Deployment
from trivet.spec.row import Row, RowColumns, concatenate

PAGE = Path(__file__).parents[2] / "docs" / "rows-and-traces.md"
CODE = """
def f(inputs):
    if inputs["x"][0, 0] == 100:
        raise ValueError("not this one")
    return {"y": inputs["x"]}

f.inputs = [{"name": "x", "datatype": "FP32", "shape": [-1, 1]}]
f.outputs = [{"name": "y", "datatype": "FP32", "shape": [-1, 1]}]
"""
CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-"


def body(shape: tuple[int, int], parameters: dict[str, Any] | None = None, value: float = 0.0) -> bytes:
    tensor = {"name": "x", "shape": shape, "datatype": "FP32", "data": [value] * (shape[0] * shape[1])}
    return json.dumps({"inputs": [tensor], "parameters": parameters or {}}).encode()


class Requests:
    """One connection that posts to a server's models."""

    def __init__(self, server: ServerProcess) -> None:
        self._connection = http.client.HTTPConnection(server.address, timeout=60)

    def post(self, model: str, data: bytes, headers: dict[str, str] | None = None) -> int:
        self._connection.request("POST", f"/v2/models/{model}/infer", data, headers or {})
        answer = self._connection.getresponse()
        answer.read()
        return answer.status

    def close(self) -> None:
        self._connection.close()


def tiny(num: int, server: ServerProcess) -> list[int]:
    requests = Requests(server)
    with contextlib.closing(requests):
        return [requests.post("tiny", body((1, 30))) for _ in range(num)]


def metric(server: ServerProcess, name: str) -> float:
    with urllib.request.urlopen(f"http://{server.control}/metrics", timeout=60) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def wait_for(server: ServerProcess, name: str, value: float) -> None:
    while metric(server, name) != value:
        pass  # each look is a round trip to every worker


def rows_in(folder: Path) -> RowColumns:
    return concatenate(
        [RowColumns.from_arrow(pq.read_table(path)) for path in sorted(folder.glob("*.parquet"))]
    )


@pytest.fixture(scope="module")
def written(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of rows of a server with two workers that has answered well, refused, failed, and stopped."""
    folder = tmp_path_factory.mktemp("rows")
    (folder / "model.py").write_text(CODE)
    (folder / "bad.yaml").write_text("name: bad\nmodels: {f: {python: 'model.py:f'}}\n")
    arguments = [str(models / "tiny.onnx"), str(folder / "bad.yaml"), "--workers", "2"]
    with ServerProcess([*arguments, "--rows", str(folder / "rows"), "--rows-share", "1"], folder) as server:
        clients = [Requests(server) for _ in range(4)]  # held at once: on both workers
        for client in clients * 50:
            assert client.post("tiny", body((1, 30))) == 200
        requests = clients[0]
        assert requests.post("tiny", body((1, 30), {"timeout": 1})) == 429
        assert requests.post("tiny", b"{}") == 400
        assert requests.post("tiny", body((200, 30))) == 200  # more than a batch takes: in parts
        assert requests.post("bad", body((1, 1), value=100)) == 500
        for client in clients:
            client.close()
    assert server.process.returncode == 0
    return folder / "rows"


class TestRowsOfAServer(RowWriterContract):
    @pytest.fixture
    def rows(self, written: Path) -> RowColumns:
        return rows_in(written)


def test_no_sampled_row_is_lost_at_the_end(written: Path) -> None:
    rows = rows_in(written)
    assert Counter(rows.words["outcome"].decode()) == {"ok": 201, "refused": 1, "invalid": 1, "failed": 1}
    failed = next(iter(rows.select(rows.words["outcome"].equal("failed")).rows()))
    assert (failed.service, failed.status, failed.reason, failed.kept) == ("bad", 500, "engine", "failed")
    assert [path for path in written.iterdir() if path.name.startswith(".")] == []


def test_the_page_on_rows_reads_them_and_names_every_metric(
    written: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = PAGE.read_text()
    monkeypatch.chdir(written.parent)
    exec(page.partition("```python\n")[2].partition("```")[0])
    assert "compute_ns_mean" in capsys.readouterr().out
    counts = BackgroundCounts(*[0] * 8)
    names = re.findall(r"\n(trivet_\w+)[ {]", render([], {}, counts).decode())
    assert len(set(names)) >= 7
    assert [name for name in names if name not in page] == []


def test_a_killed_background_process_changes_no_request_and_is_replaced(models: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows"
    arguments = [str(models / "tiny.onnx"), "--rows", str(rows), "--rows-share", "1"]
    with ServerProcess(arguments, tmp_path) as server:
        assert tiny(20, server) == [200] * 20
        wait_for(server, "trivet_rows_in_hand", 20)
        os.kill(background_of(server), signal.SIGKILL)
        assert tiny(30, server) == [200] * 30
        line = server.read_until("background process")
        assert line.endswith("was ended by SIGKILL; 20 rows and 0 traces were lost with it")
        wait_for(server, "trivet_rows_in_hand", 30)
        assert metric(server, 'trivet_rows_dropped_total{reason="lost"}') == 20
        assert metric(server, "trivet_background_restarts_total") == 1
        assert tiny(10, server) == [200] * 10
    assert server.process.returncode == 0
    assert rows_in(rows).num_rows == 40


def background_of(server: ServerProcess) -> int:
    with urllib.request.urlopen(f"http://{server.control}/status", timeout=60) as answer:
        pid: int = json.load(answer)["background"]["pid"]
    assert pid in server.children()
    return pid


def test_at_the_end_rows_that_nobody_has_read_are_written_even_if_their_reader_has_just_died(
    tmp_path: Path,
) -> None:
    said: list[str] = []
    settings = background_settings(
        Deployment(services=("m",), rows_dir=str(tmp_path), rows_share=1), print, {}
    )
    assert settings is not None
    keeper = BackgroundKeeper(settings, said.append)

    async def run() -> None:
        keeper.start()
        await asyncio.sleep(0)  # the process is there
        assert keeper.pid is not None
        os.kill(keeper.pid, signal.SIGKILL)
        outlet = Outlet(keeper.workers_end.dup())
        for number in range(100):
            outlet.put(Sample(Row(key=str(number), kept="share")))
        outlet.flush()
        outlet.close()
        await keeper.drain()

    asyncio.run(run())
    counts = keeper.counts()
    assert (counts.rows_written, counts.rows_lost, counts.restarts, keeper.pid) == (100, 0, 1, None)
    assert len(said) == 1
    keeper.close()
    assert [row.key for row in rows_in(tmp_path).rows()] == [str(number) for number in range(100)]


def test_the_background_process_runs_at_idle_priority_and_ends_with_its_supervisor(
    models: Path, tmp_path: Path
) -> None:
    rows = tmp_path / "rows"
    server = ServerProcess([str(models / "tiny.onnx"), "--rows", str(rows), "--rows-share", "1"], tmp_path)
    tiny(5, server)
    wait_for(server, "trivet_rows_in_hand", 5)
    background = background_of(server)
    assert os.sched_getscheduler(background) == os.SCHED_IDLE
    os.kill(background, signal.SIGTERM)  # as an init system sends it to every process of a service
    os.kill(background, signal.SIGINT)
    tiny(5, server)
    wait_for(server, "trivet_rows_in_hand", 10)
    descriptor = os.pidfd_open(background)
    server.process.kill()
    server.stop()
    wait_for_end(descriptor)
    assert rows_in(rows).num_rows == 10


def wait_for_end(pidfd: int) -> None:
    import select

    assert select.select([pidfd], [], [], 60)[0]
    os.close(pidfd)


def test_a_server_without_rows_and_traces_has_no_background_process(server: ServerProcess) -> None:
    assert tiny(1, server) == [200]
    assert len(server.children()) == 1
    with urllib.request.urlopen(f"http://{server.control}/metrics", timeout=60) as answer:
        assert b"trivet_rows" not in answer.read()


def test_traces_of_a_server_are_those_that_callers_record_or_that_failed(
    models: Path, tmp_path: Path
) -> None:
    with Collector() as collector:
        arguments = [str(models / "tiny.onnx"), "--otel", collector.url, "--rows-share", "0"]
        with ServerProcess(arguments, tmp_path) as server:
            requests = Requests(server)
            for flags in ("01", "00"):
                assert requests.post("tiny", body((1, 30)), {"traceparent": CALLER + flags}) == 200
            assert requests.post("tiny", body((1, 30))) == 200
            requests.close()
    spans = {span.name: span for span in collector.spans()}
    assert len(collector.spans()) == 6
    server_span = spans["POST /v2/models/{model}/infer"]
    assert server_span.trace_id.hex() == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert server_span.parent_span_id.hex() == "00f067aa0ba902b7"
    for phase in ("parse", "queue", "batch_wait", "compute", "encode"):
        span = spans[phase]
        assert span.parent_span_id == server_span.span_id
        assert server_span.start_time_unix_nano <= span.start_time_unix_nano
        assert span.end_time_unix_nano <= server_span.end_time_unix_nano


# --- what is asked for and cannot be had ---


@pytest.fixture
def without_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318/"}


@pytest.mark.usefixtures("without_extras")
def test_a_missing_extra_is_named_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ExtraMissingError, match=r"trivet\[rows\]"):
        background_settings(Deployment(services=("m",), rows_dir=str(tmp_path)), print, {})
    with pytest.raises(ExtraMissingError, match=r"trivet\[otel\]"):
        background_settings(Deployment(services=("m",), otel_endpoint="http://collector"), print, {})


@pytest.mark.usefixtures("without_extras")
def test_an_environment_for_all_programs_does_not_keep_a_server_without_the_extra_from_starting() -> None:
    said: list[str] = []
    assert background_settings(Deployment(services=("m",)), said.append, ENDPOINT) is None
    assert len(said) == 1
    assert "trivet[otel]" in said[0]


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        ({}, None),
        (ENDPOINT, "http://collector:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://t:1/x"}, "http://t:1/x"),
        (ENDPOINT | {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://t:1/x"}, "http://t:1/x"),
        (ENDPOINT | {"OTEL_SDK_DISABLED": "true"}, None),
        (ENDPOINT | {"OTEL_TRACES_EXPORTER": "none"}, None),
    ],
)
def test_the_standard_variables_switch_traces_on_and_off(
    environment: dict[str, str], url: str | None
) -> None:
    settings = background_settings(Deployment(services=("m",)), print, environment)
    assert (None if settings is None else settings.traces_url) == url


def test_the_deployments_endpoint_wins_over_the_environments() -> None:
    settings = background_settings(
        Deployment(services=("m",), otel_endpoint="http://own:4318"), print, ENDPOINT
    )
    assert settings is not None
    assert settings.traces_url == "http://own:4318/v1/traces"
    assert settings.sampling.traces


def test_a_folder_that_cannot_be_written_and_a_share_of_nothing_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for rows in ("file", "file/below"):
        with pytest.raises(UserError, match="name a folder"):
            background_settings(Deployment(services=("m",), rows_dir=str(tmp_path / rows)), print, {})
    with pytest.raises(UserError, match="no effect without --rows or --otel"):
        background_settings(Deployment(services=("m",), rows_share=0.5), print, {})
    with pytest.raises(UserError, match="http://localhost:4318"):
        background_settings(Deployment(services=("m",), otel_endpoint="collector:4318"), print, {})


def test_the_command_lines_options_are_the_deployments_fields() -> None:
    options = {"rows_dir": "rows", "rows_share": 0.0, "otel_endpoint": "http://c:4318"}
    found = deployment(("m.onnx",), None, options)
    assert (found.rows_dir, found.rows_share, found.otel_endpoint) == ("rows", 0.0, "http://c:4318")
