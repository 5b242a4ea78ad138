"""The scheduler against the bound on a part of the grid; the whole is `python -m benchmarks.scheduler_grid`.

Seeds are fixed, so these are exact values with room for a change that is no loss, not chances.
"""

import argparse

import pytest

from benchmarks import scheduler_grid
from benchmarks._schedule_cells import (
    LAYERS,
    SERVICES,
    Cell,
    JointCell,
    joint_cells,
    run,
    run_joint,
    run_short,
)
from trivet.simulate.offline import Search

CPU, GPU, LONG = SERVICES


@pytest.mark.parametrize("load", [0.7, 1.0, 3.0])
@pytest.mark.parametrize("slo", ["one", "mixed"])
@pytest.mark.parametrize("arrivals", ["poisson", "mmpp"])
def test_cpu_shapes_reach_the_goal_of_the_deterministic_layer(load: float, slo: str, arrivals: str) -> None:
    for service in (CPU, LONG):
        result, _, trajectory = run(Cell(service, load, arrivals, slo), LAYERS[0], 0)
        assert result.ratio >= 0.95
        assert trajectory.share_late() == 0


def test_a_large_fixed_cost_under_heavy_load_reaches_its_goal() -> None:
    result, _, _ = run(Cell(GPU, 10.0, "poisson", "one"), LAYERS[0], 0)
    assert result.ratio >= 0.97


def test_where_the_bound_is_out_of_reach_the_best_found_offline_is_not() -> None:
    goodput, bound, found = run_short(
        Cell(GPU, 1.5, "poisson", "one"), 0, slos=12, search=Search(beam=16, waits=(0.0, 0.06), num_sizes=24)
    )
    assert goodput >= 0.95 * found  # a short trace: its end, which only the search foresees, weighs much
    assert found < 0.95 * bound


@pytest.mark.parametrize(("layer", "goal"), [(1, 0.92), (2, 0.85)])
def test_noise_hiccups_and_a_slowdown_are_survived(layer: int, goal: float) -> None:
    result, _, trajectory = run(Cell(CPU, 3.0, "mmpp", "mixed"), LAYERS[layer], 0)
    assert result.ratio >= goal
    assert trajectory.share_late() <= LAYERS[layer].max_late


@pytest.mark.parametrize("cell", [cell for cell in joint_cells() if cell.load == 1.0 and cell.num_cores == 1])
def test_models_that_share_a_core_share_it(cell: JointCell) -> None:
    result = run_joint(cell, LAYERS[0], 0)
    assert result.ratio >= 0.90
    assert min(result.shares) >= 0.05


def test_the_page_lists_each_cell_that_misses() -> None:
    record = scheduler_grid.cell_record(Cell(LONG, 0.7, "poisson", "one"), 1, 1, 0, 0)
    missed = record | {"met": False, "arrivals": "mmpp", "ratio": 0.5}
    options = argparse.Namespace(machine="here", seeds=1)
    report = {
        "machine": options.machine,
        "seeds": options.seeds,
        "baseline_seeds": 1,
        "offline_seeds": 1,
        "joint_seeds": 1,
        "note": "",
        "cells": [record, missed],
        "joint": [],
    }
    page = list(scheduler_grid.page_lines(report))
    assert sum(line.startswith("- noise: long") for line in page) == 1
    assert "1 of 2 cells" in page[2]
