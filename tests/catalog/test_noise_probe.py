import os
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.catalog.host_tree import MACHINE, tree
from trivet.catalog.cpu_time import CoreTicks
from trivet.catalog.noise import noise_of, probe


def test_a_steady_core_has_no_jitter() -> None:
    noise = noise_of(1, [100_000] * 200, CoreTicks(25, 0, 0))
    assert (noise.core, noise.piece_us, noise.jitter, noise.longest_us, noise.steal_share) == (
        1,
        100,
        0,
        100,
        0,
    )


def test_jitter_is_the_99th_percentile_over_the_median() -> None:
    pieces = [100_000] * 97 + [150_000] * 2 + [9_000_000]
    noise = noise_of(0, pieces, CoreTicks(100, 0, 3))
    assert (noise.piece_us, noise.jitter, noise.longest_us) == (100, 0.5, 9000)
    assert noise.steal_share == 0.03


@given(pieces=st.lists(st.integers(1, 10**9), min_size=1, max_size=50))
def test_the_figures_of_any_pieces_are_in_order(pieces: list[int]) -> None:
    noise = noise_of(0, pieces, CoreTicks(0, 0, 0))
    assert noise.jitter >= 0
    assert min(pieces) / 1e3 <= noise.piece_us + 1e-3
    assert noise.piece_us <= noise.longest_us + 0.1


def test_the_probe_ends_with_its_time_and_moves_back(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    core = min(before)
    ticks = count(step=1_000)
    noise = probe(core, 50_000, tree(tmp_path, MACHINE), clock=lambda: next(ticks))
    assert (noise.core, noise.piece_us, noise.jitter) == (core, 1.0, 0.0)
    assert next(ticks) == 51_000  # one reading before the first piece and one after each
    assert os.sched_getaffinity(0) == before


def test_a_core_that_is_not_there_is_an_error_and_nothing_has_moved() -> None:
    before = os.sched_getaffinity(0)
    with pytest.raises(OSError, match="Invalid argument"):
        probe(9999, 1)
    assert os.sched_getaffinity(0) == before
