"""Requests that the answer table knows, through a worker's front: whatever their encoding, and never another's answer."""

import json
from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.serve.http_support import Front, infer, request, tensors, values, write_echo
from trivet.errors import SpecError, UserError
from trivet.experiment.precomputing.precompute import precompute
from trivet.runtime.fronts.answer_table import AnswersHeader, answers_table, publish
from trivet.runtime.fronts.watched_table import WatchedTable
from trivet.spec.service_file import load_configuration
from trivet.spec.signature import Signature, TensorSpec
from trivet.wire.row_key import RowKeys
from trivet.wire.tensor import pack
from trivet.wire.v2_input import InferInput

ECHO = Signature((TensorSpec("x", "FP32", (-1, -1)),), (TensorSpec("y", "FP32", (-1, -1)),), batch_axis=True)
KNOWN = (1.0, 2.0, 3.0)
NOW, LONG_AGO = datetime.now(UTC), datetime.now(UTC) - timedelta(days=2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_echo(tmp_path)
    return tmp_path


def service(folder: Path, policy: str = "") -> Path:
    path = folder / f"service-{len(policy)}.yaml"  # what is prepared is kept by its path
    text = (folder / "echo.yaml").read_text()
    path.write_text(f"name: echo\n{text}precomputed: {{table: answers.parquet{policy}}}\n")
    return path


def publish_answers(path: Path, created: datetime = NOW, add: float = 100) -> None:
    """A table that answers as the model never would, so that a hit can be told."""
    keys = [RowKeys(ECHO).of([InferInput((1, 1), pack("FP32", [value]))])[0] for value in KNOWN]
    rows = [{"y": np.array([value + add], np.float32)} for value in KNOWN]
    header = AnswersHeader(
        configuration=load_configuration(path).hash, created=created.isoformat(), num_rows=len(rows)
    )
    publish(answers_table(keys, rows, ECHO), header, path.with_name("answers.parquet"))


def lookups(front: Front) -> dict[str, Any]:
    """How many requests had which outcome."""
    return {
        labels["outcome"]: value
        for family, labels, value in front.lives[0].counts.snapshot()
        if family == "trivet_precomputed_lookups_total"
    }


def refused(front: Front) -> dict[str, Any]:
    return {
        labels["reason"]: value
        for family, labels, value in front.lives[0].counts.snapshot()
        if family == "trivet_precomputed_tables_refused_total"
    }


def test_what_is_in_the_table_is_answered_from_it_and_the_rest_by_the_pipeline(folder: Path) -> None:
    path = service(folder)
    publish_answers(path)
    front = Front([path])
    client = front.connect()
    assert [values(client.ask(infer(value))) for value in (b"1", b"2.0", b"7")] == [
        b"101.0",
        b"102.0",
        b"7.0",
    ]
    assert lookups(front) == {"hit": 2, "miss": 1}
    assert front.complaints == []


def test_rows_together_are_answered_where_all_are_known(folder: Path) -> None:
    path = service(folder)
    publish_answers(path)
    front = Front([path])
    body = b'{"inputs":[{"name":"x","shape":[2,1],"datatype":"FP32","data":[%b]}]}'
    asked = [values(front.connect().ask(request(body=body % data))) for data in (b"3,1", b"3,7")]
    assert asked == [b"103.0,101.0", b"3.0,7.0"]


def test_binary_requests_and_answers_take_the_same_way(folder: Path) -> None:
    path = service(folder)
    publish_answers(path)
    head = json.dumps(
        {
            "inputs": [
                {
                    "name": "x",
                    "shape": [1, 1],
                    "datatype": "FP32",
                    "parameters": {"binary_data_size": 4},
                }
            ],
            "parameters": {"binary_data_output": True},
        }
    ).encode()
    size = b"Inference-Header-Content-Length: %d" % len(head)
    answer = (
        Front([path]).connect().ask(request(body=head + np.array([2], np.float32).tobytes(), headers=[size]))
    )
    assert (answer.status, np.frombuffer(answer.body[-4:], np.float32).tolist()) == (200, [102.0])


def test_the_jobs_answers_are_the_pipelines(folder: Path) -> None:
    path = service(folder)
    (folder / "inputs.csv").write_text("x\n1\n2\n0.1\n")
    precompute(load_configuration(path), folder / "inputs.csv", folder / "answers.parquet")
    with_table, without = Front([path]), Front([folder / "echo.yaml"])
    for value in (b"1", b"2", b"0.1"):
        given, expected = (front.connect().ask(infer(value)) for front in (with_table, without))
        assert (given.status, json.loads(given.body)["outputs"]) == (
            200,
            json.loads(expected.body)["outputs"],
        )
    assert lookups(with_table) == {"hit": 3}


def test_a_request_that_is_wrong_is_told_by_the_pipeline(folder: Path) -> None:
    path = service(folder)
    publish_answers(path)
    front = Front([path])
    body = b'{"inputs":[{"name":"x","shape":[0,1],"datatype":"FP32","data":[]}]}'
    answer = front.connect().ask(request(body=body))
    assert (answer.status, b"no rows" in answer.body) == (400, True)
    front.connect().ask(request(body=tensors(b"1")))
    assert lookups(front) == {"miss": 1, "hit": 1}


@pytest.mark.parametrize(
    ("policy", "status", "value", "outcome"),
    [
        (", max_age: 24h, on_stale: serve", 200, b"101.0", "hit"),
        (", max_age: 24h", 200, b"1.0", "stale"),
        (", max_age: 24h, on_stale: refuse", 503, b"", "stale"),
        (", max_age: 72h, on_stale: refuse", 200, b"101.0", "hit"),
        ("", 200, b"101.0", "hit"),
    ],
)
def test_a_stale_table_is_served_bypassed_or_refused_and_counted(
    folder: Path, policy: str, status: int, value: bytes, outcome: str
) -> None:
    path = service(folder, policy)
    publish_answers(path, LONG_AGO)
    front = Front([path])
    answer = front.connect().ask(infer(b"1"))
    assert (answer.status, values(answer)) == (status, value)
    assert lookups(front) == {outcome: 1}
    if status == 503:
        assert b"at most 86400 s old ones are given" in answer.body
        assert values(front.connect().ask(infer(b"7"))) == b"7.0"  # which the table does not know


@pytest.mark.parametrize(
    ("fault", "reason"), [("missing", "missing"), ("cut", "unreadable"), ("other", "mismatch")]
)
def test_a_table_that_cannot_be_used_is_bypassed_or_the_start_is_refused(
    folder: Path, fault: str, reason: str
) -> None:
    path, table = service(folder), folder / "answers.parquet"
    if fault == "other":
        publish_answers(folder / "echo.yaml")
    elif fault == "cut":
        publish_answers(path)
        table.write_bytes(table.read_bytes()[:-9])
    front = Front([path])
    assert values(front.connect().ask(infer(b"1"))) == b"1.0"
    assert lookups(front) == {"bypassed": 1}
    assert refused(front) == {reason: 1}
    with pytest.raises(SpecError, match=r"precomputed: .*answers\.parquet: .*on_mismatch: bypass"):
        Front([service(folder, ", on_mismatch: refuse")])


class _Loop:
    """What a watched table asks of an event loop; each look is made by hand, and what it reads is read at once."""

    def __init__(self) -> None:
        self._next: Callable[[], None] | None = None

    def call_later(self, _delay: float, callback: Callable[..., None], *arguments: Any) -> "_Loop":
        self._next = lambda: callback(*arguments)
        return self

    def cancel(self) -> None:
        self._next = None

    def run_in_executor(self, _pool: Any, work: Callable[..., Any], *arguments: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        try:
            future.set_result(work(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future

    def look(self) -> bool:
        """Whether anybody wanted to."""
        if self._next is None:
            return False
        now, self._next = self._next, None
        now()
        return True


def test_a_file_that_is_replaced_is_read_anew_and_one_that_is_no_good_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "table"
    told: list[str] = []

    def read(path: Path) -> str:
        text = path.read_text()
        if text.startswith("bad"):
            raise UserError(text)
        return text

    path.write_text("one")
    watched = WatchedTable(path, read, told.append, lambda error: told.append(f"refused: {error}"))
    loop: Any = _Loop()
    watched.load()
    watched.watch(loop)
    seen = []
    for content in ("", "two", "", "bad one", "", "gone", "three!"):
        if content == "gone":
            path.unlink()
        elif content:
            beside = tmp_path / "beside"
            beside.write_text(content)
            beside.replace(path)
        assert loop.look()
        seen.append(watched.table)
    assert seen == ["one", "two", "two", "two", "two", "two", "three!"]
    assert told == ["two", "refused: bad one", "three!"]
    watched.close()
    assert (watched.table, loop.look()) == (None, False)
