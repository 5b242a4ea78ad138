"""Requests that are routed before any model runs, through a real runtime; and `trivet certify` of a route."""

from pathlib import Path

import numpy as np
import pytest

from tests.support.routes import write_routed
from tests.support.runtime import Served, serve
from trivet.clock import MonotonicClock
from trivet.errors import SpecError
from trivet.experiment.certifying.certifying import certify
from trivet.experiment.placement import place
from trivet.runtime.preparing.preparing import Prepared, prepare
from trivet.spec.certified import read_certificate
from trivet.spec.service_file import load_configuration


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A service that was certified."""
    path = write_routed(tmp_path_factory.mktemp("routes"))
    found = certify(path, place())
    assert found.certificate.points[-1].risk_bound <= 0.02
    assert 0.55 < found.shares["cheap"] < 0.75  # two thirds are easy
    assert found.num_asked == 400
    return path


def ready(path: Path) -> Prepared:
    return prepare(load_configuration(path), "1", MonotonicClock.now_ns, lambda text: None)


def test_easy_requests_stay_at_the_first_model_and_hard_ones_never_see_it(path: Path) -> None:
    async def work(served: Served) -> None:
        for text, who, wanted in (
            (b"easy word7 yes", "cheap", 1),
            (b"hard word7 yes", "dear", 1),
            (b"hard word8 no", "dear", 0),
        ):
            answer = served.submit({"text": np.array([text], object)})
            await answer.done.wait()
            assert answer.outputs is not None, answer.error
            assert answer.outputs["y"].argmax() == wanted
            assert answer.request is not None
            assert answer.request.exit == who
        cheap, dear = served.live.models
        assert (cheap.counters.rows, dear.counters.rows) == (1, 2)

    serve(ready(path), work)


def test_a_router_that_was_changed_is_refused(path: Path, tmp_path: Path) -> None:
    for one in path.parent.iterdir():
        if one.is_file():
            (tmp_path / one.name).write_bytes(one.read_bytes())
    with np.load(tmp_path / "router.npz") as kept:
        arrays = dict(kept)
    np.savez(tmp_path / "router.npz", **{**arrays, "bias": arrays["bias"] + 1})
    with pytest.raises(SpecError, match="made for other models"):
        ready(tmp_path / "service.yaml")


def test_the_certificate_names_the_router(path: Path) -> None:
    found = read_certificate(path.with_name("certified.yaml"))
    assert found.exits == ("cheap",)
    assert len(found.router) == 64


@pytest.mark.parametrize(
    ("before", "after", "error"),
    [
        ("input: text, max", "input: txet, max", "is no input"),
        (
            '  - {preprocess: "steps.py:exact", inputs: [{name: text, datatype: BYTES, shape: [1]}]}\n',
            '  - {preprocess: "steps.py:exact", inputs: {text: text, also: y}}\n',
            "lack",
        ),
        ("max_loss: 2%", "max_loss: 100%", "between 0% and 100%"),
        ("  - model: cheap\n", "  - model: cheap\n    exit: {output: y, at_least: 0.9}\n", "one of the two"),
    ],
)
def test_routes_that_make_no_sense_are_refused(
    path: Path, tmp_path: Path, before: str, after: str, error: str
) -> None:
    for one in path.parent.iterdir():
        if one.is_file():
            (tmp_path / one.name).write_bytes(one.read_bytes())
    text = path.read_text()
    assert before in text
    (tmp_path / "service.yaml").write_text(text.replace(before, after))
    with pytest.raises(SpecError, match=error):
        ready(tmp_path / "service.yaml")
