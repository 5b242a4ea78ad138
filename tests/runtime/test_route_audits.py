"""Audits of a route through a real runtime: both models are asked where it matters, and the guard steps back and on."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from tests.support.routes import write_routed
from tests.support.runtime import Served, serve
from trivet.clock import MonotonicClock
from trivet.errors import EngineError, SpecError
from trivet.pipeline.certified import NOTHING_LEAVES
from trivet.pipeline.routing import TABLE_BITS, Router, features, write_router
from trivet.runtime.preparing.preparing import Prepared, prepare
from trivet.runtime.route_auditing import RouteAudits
from trivet.spec.certified import Certificate, CertifiedPoint, certificate_text
from trivet.spec.service_file import load_configuration

EASY, MIDDLE, HARD = b"easy yes", b"middle yes", b"hard yes"
POINTS = [
    (1.5, 0.01),
    (0.9, 0.02),
]  # the ease from which the first model answers, and the share of changed answers
# Ease is 1 for a text of unknown words; with these the texts above have nearly 2, 1 and nearly 0.
SURER = {"easy": 1.0, "hard": -1.0}


def write(
    folder: Path, *, audit: str = "100%", points: list[tuple[float, float]] = POINTS, turns: str = ""
) -> Path:
    """A certified route by hand. Args: turns: a word for which the first model now says the opposite."""
    path = write_routed(folder, num_rows=10)
    text = path.read_text() + f"cascade: {{audit: {audit}}}\ncost: {{core_hour: 36}}\n"
    path.write_text(text)
    steps = (folder / "steps.py").read_text()
    (folder / "steps.py").write_text(
        steps.replace('"hard" in words', f"{{*words}} & {set(turns.split()) or set()}")
    )
    places = 1 << TABLE_BITS
    weights = np.zeros((2, places), np.float32)
    for word, weight in SURER.items():
        for place in features(word)[0].tolist():
            weights[:, place] = [20 * weight, -20 * weight]
    router = Router(np.ones(places, np.float32), weights, np.zeros(2, np.float32))
    write_router(folder / "router.npz", router)
    (folder / "certified.yaml").write_text("")
    configuration = load_configuration(path)
    made = Certificate(
        stages=configuration.stages_digest(configuration.service.last_model + 1),
        exits=("cheap",),
        max_loss=0.02,
        confidence=0.95,
        loss="net",
        router=next(file.digest for file in configuration.files if file.name == "router.npz"),
        points=tuple(
            CertifiedPoint(thresholds=(ease,), risk_bound=0.01, saving=0.5, rows=900, changed=changed)
            for ease, changed in points
        ),
    )
    (folder / "certified.yaml").write_text(certificate_text(made))
    return path


def ready(path: Path) -> Prepared:
    return prepare(load_configuration(path), "1", MonotonicClock.now_ns, lambda text: None)


def audits(served: Served) -> RouteAudits:
    assert served.live.routing is not None
    found = served.live.routing.audits
    assert found is not None
    return found


def counted(served: Served) -> dict[str, float]:
    """Audits by outcome."""
    return {
        labels["outcome"]: value
        for family, labels, value in served.live.counts.snapshot()
        if family == "trivet_cascade_audits_total"
    }


async def ask(served: Served, text: bytes, times: int = 1) -> str:
    """One after the other, each with its audit. Who answered the last of them."""
    who = ""
    for _ in range(times):
        before = sum(counted(served).values())
        answer = served.submit({"text": np.array([text], object)})
        await answer.done.wait()
        assert answer.outputs is not None, answer.error
        assert answer.request is not None
        who = str(answer.request.exit)
        while sum(counted(served).values()) == before:
            await asyncio.sleep(0)
    return who


def test_audits_that_agree_leave_everything_as_it_is(tmp_path: Path) -> None:
    async def work(served: Served) -> None:
        assert await ask(served, EASY, 20) == "cheap"
        assert await ask(served, MIDDLE) == "cheap"
        assert counted(served) == {"same": 21}
        guard = audits(served).guard
        assert (guard.num_audited, guard.num_lost, guard.point) == (21, 0, 1)
        cheap, dear = served.live.models
        assert (cheap.counters.rows, dear.counters.rows) == (21 + 21, 21)  # the answer, and both models again
        assert cheap.exit is not None
        assert cheap.exit.num_left == 21  # an audit is nobody's answer

    serve(ready(write(tmp_path)), work)


def test_what_no_point_finds_easy_needs_no_model_and_counts(tmp_path: Path) -> None:
    async def work(served: Served) -> None:
        assert await ask(served, HARD, 30) == "dear"
        cheap, dear = served.live.models
        assert (cheap.counters.rows, dear.counters.rows) == (0, 30)
        assert counted(served) == {"same": 30}
        assert audits(served).guard.num_audited == 0  # as long as no audit shows that the models can be asked
        await ask(served, EASY)
        assert audits(served).guard.num_audited == 31

    serve(ready(write(tmp_path)), work)


def test_each_point_is_judged_by_what_it_would_have_answered_and_comes_back(tmp_path: Path) -> None:
    """The first model turns on what only the freer point leaves to it; once it is itself again, so is the point."""
    said: list[str] = []

    async def work(served: Served) -> None:
        assert await ask(served, EASY, 5) == "cheap"
        while audits(served).guard.point == 1:
            who = await ask(served, MIDDLE)
        assert audits(served).guard.point == 0
        assert await ask(served, MIDDLE) == "dear"
        assert await ask(served, EASY) == "cheap"
        assert "went back to certified point 1 of 2: thresholds [1.5]" in said[-1]
        assert who in ("cheap", "dear")
        while audits(served).guard.point == 0:
            await ask(served, EASY)
        assert await ask(served, MIDDLE) == "cheap"
        counts = {
            (family, *labels.values()): value for family, labels, value in served.live.counts.snapshot()
        }
        assert (counts["trivet_cascade_steps_total", "back"], counts["trivet_cascade_steps_total", "on"]) == (
            1,
            1,
        )
        assert counts["trivet_cascade_withdrawn_points",] == 0

    serve(ready(write(tmp_path, turns="middle")), work, said.append)


def test_behind_the_safest_point_the_last_model_answers_alone(tmp_path: Path) -> None:
    async def work(served: Served) -> None:
        while audits(served).guard.point != NOTHING_LEAVES:
            await ask(served, EASY)
        assert await ask(served, EASY) == "dear"
        assert counted(served)["changed"] >= 2

    serve(ready(write(tmp_path, turns="easy")), work)


def test_audits_are_on_their_own_account_and_nothing_is_audited_unless_drawn(tmp_path: Path) -> None:
    async def work(served: Served) -> None:
        await ask(served, EASY, 3)
        costs = {
            labels["way"]: value
            for family, labels, value in served.live.counts.snapshot()
            if family == "trivet_cost_requests_total"
        }
        assert costs == {"audit": 6}  # what clients asked is told by the front that they asked

    async def undrawn(served: Served) -> None:
        for _ in range(20):
            answer = served.submit({"text": np.array([EASY], object)})
            await answer.done.wait()
        assert served.live.routing is not None
        assert served.live.routing.audits is None
        assert counted(served) == {}

    serve(ready(write(tmp_path)), work)
    serve(ready(write(tmp_path, audit="0%")), undrawn)


def test_an_audit_that_fails_teaches_nothing_nor_does_what_came_with_it(tmp_path: Path) -> None:
    """While the last model fails, only what needs no model could be learned: a stream without an error, it would seem."""

    async def work(served: Served) -> None:
        await ask(served, HARD, 4)
        served.live.models[1].fallbacks = []
        engine = served.live.models[1].idle
        held, engine[:] = list(engine), [Failing(one) for one in engine]
        await ask(served, EASY)
        assert counted(served) == {"same": 4, "failed": 1}
        assert audits(served).guard.num_audited == 0
        engine[:] = held
        await ask(served, HARD, 2)
        await ask(served, EASY)
        assert audits(served).guard.num_audited == 3

    serve(ready(write(tmp_path)), work)


class Failing:
    """An executor whose engine fails."""

    def __init__(self, executor: object) -> None:
        self._executor = executor

    def start(self, build: object, done: object, answer_by_ns: int) -> None:
        def fail() -> None:
            raise EngineError("it has failed")

        self._executor.start(fail, done, answer_by_ns)  # type: ignore[attr-defined]

    def when_back(self, callback: object) -> None:
        callback()  # type: ignore[operator]

    def close(self) -> None:
        self._executor.close()  # type: ignore[attr-defined]


def test_answers_that_always_differ_are_not_audited(tmp_path: Path) -> None:
    said: list[str] = []

    async def work(served: Served) -> None:
        assert served.live.routing is not None
        assert served.live.routing.audits is None
        assert "audits could show nothing" in "".join(said)

    serve(ready(write(tmp_path, points=[(1.5, 0.5), (0.9, 0.99)])), work, said.append)


def test_a_decode_that_cannot_be_loaded_is_told_at_load(tmp_path: Path) -> None:
    path = write(tmp_path)
    path.write_text(path.read_text().replace("decode: argmax", "decode: nowhere.py:text"))
    with pytest.raises(SpecError, match="nowhere"):
        ready(path)


def test_a_chosen_point_is_never_left_for_a_freer_one(tmp_path: Path) -> None:
    path = write(tmp_path)
    path.write_text(path.read_text().replace("max_loss: 2%}", "max_loss: 2%, at_least: 1.5}"))

    async def work(served: Served) -> None:
        assert await ask(served, MIDDLE) == "dear"
        assert [point.thresholds for point in audits(served).guard.points] == [(1.5,)]

    serve(ready(path), work)
