"""A pruned model keeps what is certified: as few units as the rows allow, and no model where they do not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.variants.learned_models import layers, number_rows, source
from trivet.engine.onnx import OnnxEngine
from trivet.variants._models import MODEL_FILE
from trivet.variants.builder import Built
from trivet.variants.errors import VariantError
from trivet.variants.learned.losses import PairedLosses
from trivet.variants.learned.prune import Pruned
from trivet.variants.source import Source


@pytest.fixture(scope="module")
def half_idle(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """Of 32 units 8 carry nearly everything."""
    random = np.random.default_rng(1)
    weights = [random.standard_normal((4, 32)), random.standard_normal((32, 2))]
    weights[1][8:] *= 1e-4
    path = layers(tmp_path_factory.mktemp("m") / "m.onnx", weights, [random.standard_normal(32), np.zeros(2)])
    return source(path, number_rows(800, 4), decode=lambda answer: int(answer["y"].argmax()))


def _build(made: Source, folder: Path, **options: float) -> Built:
    folder.mkdir()
    return Pruned(**options).build(made, folder, lambda line: None)  # type: ignore[arg-type]


def test_as_few_units_are_kept_as_are_certified(half_idle: Source, tmp_path: Path) -> None:
    built = _build(half_idle, tmp_path / "a")
    assert built.settings["kept"] == [8]
    assert built.notes[0] == "24 of 32 units of 1 layers were cut out"
    assert "certified to stay within 2.0%" in built.notes[1]
    losses = PairedLosses(half_idle, half_idle.certification).of(tmp_path / "a" / MODEL_FILE)
    assert losses.mean() <= 0.01
    assert OnnxEngine(tmp_path / "a" / MODEL_FILE).signature == half_idle.signature
    again = _build(half_idle, tmp_path / "b")
    assert again == built
    assert (tmp_path / "a" / MODEL_FILE).read_bytes() == (tmp_path / "b" / MODEL_FILE).read_bytes()


def test_a_share_that_is_asked_for_is_kept_and_its_loss_told(half_idle: Source, tmp_path: Path) -> None:
    built = _build(half_idle, tmp_path / "a", keep=0.25)
    assert built.settings["kept"] == [8]
    assert "answers differ: " in built.notes[1]
    assert "certified" not in built.notes[1]
    with pytest.raises(VariantError, match="keep: 1 leaves all units"):
        _build(half_idle, tmp_path / "b", keep=1.0)


def test_what_cannot_be_certified_is_not_built(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    path = layers(
        tmp_path / "m.onnx",
        [random.standard_normal((4, 16)), random.standard_normal((16, 2))],
        [np.zeros(16), np.zeros(2)],
    )
    few = source(path, number_rows(100, 4), decode=lambda answer: int(answer["y"].argmax()))
    with pytest.raises(VariantError, match="takes at least 149 rows to certify"):
        _build(few, tmp_path / "a")
    many = source(path, number_rows(800, 4), decode=lambda answer: int(answer["y"].argmax()))
    with pytest.raises(VariantError, match="could not be certified: raise `max_loss`"):
        _build(many, tmp_path / "b", max_loss=0.016)


def test_a_loss_is_not_certified_on_rows_that_were_fitted(half_idle: Source, tmp_path: Path) -> None:
    alone = replace(half_idle, certification=range(0))
    with pytest.raises(VariantError, match="no rows are left to certify"):
        _build(alone, tmp_path / "a")
    assert _build(alone, tmp_path / "b", keep=0.25).settings["kept"] == [8]


def test_losses_are_right_answers_that_are_lost_where_rows_are_judged(
    half_idle: Source, tmp_path: Path
) -> None:
    path = layers(tmp_path / "zero.onnx", [np.zeros((4, 2))], [np.array([1.0, 0])])  # always says the first
    judged = Source(
        model="m", path=half_idle.path, signature=half_idle.signature, declared=half_idle.declared, rows=half_idle.rows,
        judge=lambda answers, places: [float(answer["y"].argmax() == 1) for answer in answers],
    )  # fmt: skip
    engine = OnnxEngine(half_idle.path)
    places = range(50)
    right = [float(engine.run(half_idle.rows[place])["y"].argmax() == 1) for place in places]
    assert PairedLosses(judged, places).of(path).tolist() == right


def test_a_model_without_hidden_units_has_nothing_to_cut(tmp_path: Path) -> None:
    path = layers(tmp_path / "m.onnx", [np.ones((4, 2))], [np.zeros(2)])
    made = source(path, number_rows(8, 4))
    assert "nothing can be cut out" in Pruned().applies(made)
    with pytest.raises(VariantError, match="nothing can be cut out"):
        _build(made, tmp_path / "a")
    assert "declare `data:`" in Pruned().applies(source(path, []))
