"""Which nodes keep fp32, and the bound that is certified for it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.engine.onnx import OnnxEngine
from trivet.variants.certified import Int8Certified, paired_losses, search
from trivet.variants.errors import VariantError
from trivet.variants.source import Source


def _quiet(text: str) -> None:
    """What a build says is read in another test."""


@given(num=st.integers(1, 200), fewest=st.integers(0, 200))
def test_the_search_finds_the_fewest_nodes_in_few_tries(num: int, fewest: int) -> None:
    """Where the loss falls with the number of nodes in fp32: an exact oracle."""
    fewest = min(fewest, num)
    asked = []

    def loss(kept: int) -> float:
        asked.append(kept)
        return 0.0 if kept >= fewest else 1.0

    found = search(num, 0.5, loss)
    assert found == sorted(set(found), reverse=True)
    assert all(0 <= kept < num for kept in found)
    assert fewest in found or fewest == num
    assert len(asked) <= 1 + num.bit_length()


@settings(max_examples=50)
@given(st.lists(st.floats(0, 1), min_size=31, max_size=31))
def test_any_losses_give_candidates_the_safest_first(losses: list[float]) -> None:
    found = search(31, 0.5, losses.__getitem__)
    assert found == sorted(found, reverse=True)
    assert found
    assert max(found) < 31


def test_a_bound_is_certified_and_told(source: Source, tmp_path: Path) -> None:
    built = Int8Certified(max_loss=0.03, weights="int8").build(source, tmp_path, _quiet)
    assert built.notes[0] == "with 95 % confidence at most 3.0 points worse than the original, on 600 rows"
    places = list(source.certification)
    answers = [
        [engine.run(source.rows[place]) for place in places]
        for engine in (OnnxEngine(source.path), OnnxEngine(tmp_path / built.files[0]))
    ]
    assert paired_losses(source, places, *answers).mean() < 0.03
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_the_worst_node_keeps_fp32_where_eight_bits_lose_too_much(source: Source, tmp_path: Path) -> None:
    built = Int8Certified(max_loss=0.02, weights="int8", per_channel=False).build(source, tmp_path, _quiet)
    assert "second" in built.settings["fp32"]
    assert len(built.settings["fp32"]) < 3


def test_what_cannot_be_certified_says_how_many_rows_it_needs(source: Source, tmp_path: Path) -> None:
    few = replace(source, certification=range(300, 400))
    assert "at least 299" in Int8Certified(max_loss=0.01).applies(few)
    assert Int8Certified(max_loss=0.05).applies(few) == ""
    scrambled = replace(few, judge=_Scrambled(source))
    with pytest.raises(
        VariantError, match=r"not certified: with \d of 3 products in fp32 the loss on 100 rows is"
    ):
        Int8Certified(max_loss=0.05).build(scrambled, tmp_path, _quiet)


class _Scrambled:
    """A judge that finds every second answer of whatever is not the original wrong."""

    def __init__(self, source: Source) -> None:
        engine = OnnxEngine(source.path)
        self._truth = {place: engine.run(source.rows[place])["y"] for place in range(len(source.rows))}

    def __call__(self, answers: object, places: object) -> list[float]:
        return [
            float(np.array_equal(answer["y"], self._truth[place]) or place % 2 == 0)
            for answer, place in zip(answers, places, strict=True)  # type: ignore[call-overload]
        ]


def test_without_labels_answers_are_compared_with_the_originals(source: Source, tmp_path: Path) -> None:
    unlabelled = replace(source, judge=None, labels=None, decode=lambda answer: int(answer["y"].argmax()))
    built = Int8Certified(max_loss=0.05).build(unlabelled, tmp_path, _quiet)
    assert "of answers differ from the original's, on 600 rows without labels" in built.notes[0]


def test_a_bound_needs_something_to_judge_by(bare: Source) -> None:
    assert "declare `data:`" in Int8Certified().applies(bare)


def test_gains_hide_no_losses(source: Source) -> None:
    def judge(answers: object, places: object) -> list[float]:
        return [0.0, 1.0] if answers == "before" else [1.0, 0.25]

    judged = replace(source, judge=judge)
    assert paired_losses(judged, [0, 1], "before", "after").tolist() == [0.0, 0.75]  # type: ignore[arg-type]
