"""Ranges of tensors between nodes, against the definition."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.engine.onnx import OnnxEngine
from trivet.variants._models import read_model
from trivet.variants.errors import VariantError
from trivet.variants.ranges import entropy_bins, percentile_range, ranges_of


def test_minmax_is_all_that_was_seen(classifier: Path) -> None:
    rows = [{"x": np.random.default_rng(i).normal(size=(i, 16)).astype(np.float32)} for i in (1, 3, 7)]
    found = ranges_of(read_model(classifier), ["x", "y"], rows, "minmax", 99)
    engine = OnnxEngine(classifier)
    answers = np.concatenate([engine.run(row)["y"] for row in rows])
    x = np.concatenate([row["x"] for row in rows])
    assert found["x"] == (float(x.min()), float(x.max()))
    assert found["y"] == pytest.approx((float(answers.min()), float(answers.max())))


def test_a_percentile_leaves_out_single_values(classifier: Path) -> None:
    x = np.zeros((1000, 16), np.float32)
    x[:, 1] = np.linspace(-1, 1, 1000)
    x[17, 3] = 500.0
    found = ranges_of(read_model(classifier), ["x"], [{"x": x}], "percentile", 99.9)
    low, high = found["x"]
    assert high < 2
    assert low == -1.0


@settings(deadline=None)
@given(st.lists(st.integers(0, 50), min_size=4, max_size=60), st.floats(50.5, 100))
def test_each_end_leaves_no_more_outside_than_allowed(counts: list[int], percentile: float) -> None:
    table = np.array([*counts, 1])
    low, high = percentile_range((0.0, float(len(table))), table, percentile)
    centres = np.arange(len(table)) + 0.5
    allowed = table.sum() * (100 - percentile) / 100
    assert table[centres < low].sum() <= allowed
    assert table[centres > high].sum() <= allowed
    assert low < high


def test_entropy_cuts_a_thin_tail_and_keeps_a_flat_one() -> None:
    flat = np.full(2048, 100)
    assert entropy_bins(flat) == 2048
    tail = np.zeros(2048, np.int64)
    tail[:256] = (10_000 * np.exp(-np.arange(256) / 30)).astype(int)
    tail[2047] = 1
    assert entropy_bins(tail) <= 512


def test_entropy_of_an_empty_tensor_keeps_everything() -> None:
    assert entropy_bins(np.zeros(2048, np.int64)) == 2048


def test_a_row_that_the_model_cannot_take_is_told(classifier: Path) -> None:
    with pytest.raises(VariantError, match="fails on a row of the data"):
        ranges_of(read_model(classifier), ["x"], [{"x": np.zeros((1, 3), np.float32)}], "minmax", 99)
