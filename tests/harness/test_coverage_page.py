import math

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks._coverage_cells import Cell, cells, measured
from benchmarks._coverage_page import page_lines
from benchmarks._percentile_rivals import Method, block_bootstrap, independent, sections
from benchmarks._queues import JUDGED

P90 = 1.2815515655446004  # of the normal distribution, whose density is 0.17549833 there


def normal(seed: int, num: int = 20_000) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=num)


def test_the_cells_are_all_different() -> None:
    keys = [cell.key for cell in cells()]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("method", [independent, sections, block_bootstrap])
def test_on_independent_values_all_methods_are_right(method: Method) -> None:
    """Of 20 runs they cover 19, or 17 where luck is bad; half a width is 1.96 sqrt(0.9 * 0.1 / n) over the density."""
    found = [bounds for seed in range(20) if (bounds := method(normal(seed), 0.9)) is not None]
    assert sum(low <= P90 <= high for low, high in found) >= 17
    half = 1.96 * math.sqrt(0.09 / 20_000) / 0.17549833
    assert float(np.mean([high - low for low, high in found])) == pytest.approx(2 * half, rel=0.15)


def test_independent_ranks_that_do_not_exist_are_refused() -> None:
    assert independent(normal(1, num=100), 0.999) is None


def test_a_cell_counts_every_run_once_and_the_page_shows_it() -> None:
    cell = Cell("judged", JUDGED[0], 0.5, num=3_000, p=0.9)
    record = measured(cell, num_runs=5, num_truth=10)
    assert record["truth"] == pytest.approx(2 * math.log(10))
    for method in record["methods"].values():
        assert method["covered"] + method["above"] + method["below"] + method["refused"] == 5
    high_load = {**record, "load": 0.9, "key": "other"}
    page = "\n".join(
        page_lines(
            {"machine": "here", "cost_ms": {"50000": 1.0, "1000000": 2.0}, "cells": [record, high_load]}
        )
    )
    assert "| M/M/1: covered, load 0.9 | at least 0.9 |" in page
    assert "| M/M/1 | 0.5 | 3,000 | p90 |" in page
