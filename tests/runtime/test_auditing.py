"""Audits of a certified cascade through a real runtime: who leaves, what the guard learns, and that nobody notices."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.cascades import write_cascade, write_certificate
from tests.support.far_cascades import write_far_cascade
from tests.support.redis_server import free_port
from tests.support.runtime import Served, serve
from trivet.clock import MonotonicClock
from trivet.errors import SpecError
from trivet.pipeline.certified import NOTHING_LEAVES
from trivet.runtime.auditing import Audits
from trivet.runtime.preparing.preparing import Prepared, prepare
from trivet.spec.certified import certificate_text, read_certificate
from trivet.spec.service_file import load_configuration

SURE = np.array([[5, -5, 5, -5]], np.float32)
UNSURE = np.array([[1, 0.5, 5, -5]], np.float32)
POINTS = [(0.999, 0.01), (0.9, 0.02)]


def ready(folder: Path, *, sign: float = 1.0, audit: str = "100%") -> Prepared:
    path = write_cascade(folder, sign=sign, audit=audit, num_rows=10)
    write_certificate(path, POINTS)
    return prepare(load_configuration(path), "1", MonotonicClock.now_ns, lambda text: None)


def audits(served: Served) -> Audits:
    assert served.live.exits is not None
    found = served.live.exits.audits
    assert found is not None
    return found


def counted(served: Served) -> dict[str, float]:
    """Audits by outcome."""
    return {
        labels["outcome"]: value
        for family, labels, value in served.live.counts.snapshot()
        if family == "trivet_cascade_audits_total"
    }


async def ask(served: Served, x: NDArray[np.float32], times: int) -> None:
    """One after the other, each with its audit."""
    for _ in range(times):
        before = sum(counted(served).values())
        await served.ask({"x": x})
        while sum(counted(served).values()) == before:  # its audit is a request like others: the loop goes on
            await served.ask({"x": x})


def test_the_cheapest_point_decides_who_leaves(tmp_path: Path) -> None:
    async def work(served: Served) -> None:
        answers = [served.submit({"x": x}) for x in (SURE, UNSURE)]
        for answer in answers:
            await answer.done.wait()
        assert [answer.request.exit for answer in answers if answer.request] == ["front", "rest"]
        assert served.live.models[0].exit is not None
        assert served.live.models[0].exit.at_least == 0.9

    serve(ready(tmp_path, audit="0%"), work)


def test_no_audit_is_drawn_at_a_share_of_nothing(tmp_path: Path) -> None:
    async def work(served: Served) -> None:
        for _ in range(50):
            await served.ask({"x": SURE})
        assert counted(served) == {}

    serve(ready(tmp_path, audit="0%"), work)


def test_audits_that_agree_leave_everything_as_it_is(tmp_path: Path) -> None:
    async def work(served: Served) -> None:
        await ask(served, SURE, 30)
        guard = audits(served).guard
        assert guard.num_audited >= 30
        assert (guard.num_lost, guard.point) == (0, 1)
        assert set(counted(served)) <= {"same", "left out"}

    serve(ready(tmp_path), work)


def test_answers_that_differ_withdraw_points_until_nothing_leaves(tmp_path: Path) -> None:
    """The rest says the opposite of what the front says."""

    async def work(served: Served) -> None:
        await ask(served, SURE, 30)
        assert audits(served).guard.point == NOTHING_LEAVES
        answer = served.submit({"x": SURE})
        await answer.done.wait()
        assert answer.request is not None
        assert answer.request.exit == "rest"
        counts = {
            (family, *labels.values()): value for family, labels, value in served.live.counts.snapshot()
        }
        assert counts["trivet_cascade_steps_total", "back"] == 2
        assert counts["trivet_cascade_withdrawn_points",] == 2

    serve(ready(tmp_path, sign=-1.0), work)


def test_each_point_is_judged_by_what_it_would_have_answered(tmp_path: Path) -> None:
    """Rows between the two thresholds: only the cheaper point answers them, and it is the only one that loses."""
    x = np.array([[3, 0, 5, -5]], np.float32)  # a confidence of 0.953

    async def work(served: Served) -> None:
        await ask(served, x, 40)
        assert audits(served).guard.point == 0
        assert counted(served)["changed"] > 0

    serve(ready(tmp_path, sign=-1.0), work)


def test_requests_of_several_rows_are_audited_row_by_row(tmp_path: Path) -> None:
    async def work(served: Served) -> None:
        await ask(served, np.concatenate([SURE, UNSURE, SURE]), 3)
        assert audits(served).guard.num_audited % 3 == 0
        assert audits(served).guard.num_audited >= 9

    serve(ready(tmp_path), work)


def test_a_certificate_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    path = write_cascade(tmp_path, num_rows=10)
    made = write_certificate(path, POINTS)
    file = tmp_path / "certified.yaml"
    assert read_certificate(file) == made
    assert certificate_text(read_certificate(file)) == file.read_text()


def test_the_certificate_is_part_of_the_hash(tmp_path: Path) -> None:
    path = write_cascade(tmp_path, num_rows=10)
    write_certificate(path, POINTS)
    before = load_configuration(path).hash
    write_certificate(path, POINTS[:1])
    assert load_configuration(path).hash != before


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda text: text.replace('stages: "', 'stages: "0'), "made for other models"),
        (
            lambda text: text.replace("max_loss: 0.02", "max_loss: 0.03"),
            "certifies a net loss of at most 0.03",
        ),
        (lambda text: text.replace('loss: "net"', 'loss: "one-sided"'), "one-sided loss"),
        (lambda text: text.replace("format: 1", "format: 7"), "format 7"),
        (lambda text: text.replace("[0.9]", "[0.9, 0.8]"), "2 thresholds for 1 exits"),
        (lambda text: text[: text.index("points:")] + "points: []\n", "certifies nothing"),
    ],
)
def test_a_certificate_of_something_else_is_refused(tmp_path: Path, change: object, error: str) -> None:
    assert callable(change)
    path = write_cascade(tmp_path, num_rows=10)
    write_certificate(path, POINTS)
    file = tmp_path / "certified.yaml"
    file.write_text(change(file.read_text()))
    with pytest.raises(SpecError, match=error):
        prepare(load_configuration(path), "1", MonotonicClock.now_ns, lambda text: None)


def test_a_missing_certificate_says_who_writes_it(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"certified\.yaml.*trivet certify"):
        load_configuration(write_cascade(tmp_path, num_rows=10))


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("exit: {output: y, max_loss: 2%, at_least: 0.9}", "exactly one"),
        ("exit: {output: y}", "exactly one"),
        ("exit: {output: y, max_loss: 0%}", "between 0% and 100%"),
        ("exit: {output: y, at_least: 0.9}", "there is none"),
    ],
)
def test_an_exit_says_one_thing(tmp_path: Path, line: str, error: str) -> None:
    path = write_cascade(tmp_path, num_rows=10)
    path.write_text(path.read_text().replace("exit: {output: y, max_loss: 2%}", line))
    with pytest.raises(SpecError, match=error):
        load_configuration(path)


def test_what_stands_in_for_the_last_model_is_no_evidence(tmp_path: Path) -> None:
    """While the far model is gone the front answers in its stead: it would agree with itself for ever."""
    path = write_far_cascade(tmp_path, f"127.0.0.1:{free_port()}", audit="100%", num_rows=10)
    write_certificate(path, POINTS, max_loss=0.05)
    far = prepare(load_configuration(path), "1", MonotonicClock.now_ns, lambda text: None)

    async def work(served: Served) -> None:
        await ask(served, SURE, 10)
        assert set(counted(served)) <= {"failed", "left out"}
        assert counted(served)["failed"] >= 1
        assert audits(served).guard.num_audited == 0
        answer = served.submit({"x": UNSURE})
        await answer.done.wait()
        assert answer.request is not None
        assert answer.request.notes is not None
        assert answer.request.notes.instead == "fallback:front"  # who asks is told

    serve(far, work)
