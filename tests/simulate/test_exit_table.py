"""What exits do at any thresholds, from what was measured together; and what a simulation makes of it."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.simulate.simulated_support import NO_COSTS, run
from trivet.simulate.exit_table import ExitTable
from trivet.simulate.profile import ModelTimes, ServiceProfile
from trivet.simulate.setup import Setup, StageSetup
from trivet.simulate.stages import stages_of

TABLE = ExitTable(
    confidences={0: [0.9, 0.2, 0.6, -1.0], 1: [0.1, 0.8, 0.9, 0.5]},
    right={0: [1, 0, 0, 0], 1: [1, 1, 0, 0], 2: [1, 1, 1, 1]},
    last=2,
)


def test_rows_leave_at_the_first_exit_that_is_sure_and_are_right_as_they_were_there() -> None:
    exits = TABLE.exits({0: 0.6, 1: 0.8})
    assert exits.tolist() == [0, 1, 0, 2]
    values = TABLE.values(exits)
    assert values is not None
    assert values.tolist() == [1, 1, 0, 1]
    assert ExitTable(confidences={0: [0.5]}, last=1).values(np.array([1])) is None


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.floats(0, 1), st.floats(0, 1))
def test_a_stricter_threshold_lets_no_more_rows_leave(confidences: list[float], a: float, b: float) -> None:
    table = ExitTable(confidences={0: confidences}, last=1)
    low, high = sorted((a, b))
    free, strict = table.exits({0: low}) == 0, table.exits({0: high}) == 0
    assert not (strict & ~free).any()


@given(st.lists(st.floats(0.001, 0.9999), min_size=4, max_size=200))
def test_at_its_thresholds_at_least_the_wanted_shares_leave(confidences: list[float]) -> None:
    table = ExitTable(confidences={0: confidences}, last=1)
    for share in (0.3, 0.8):
        (threshold,) = table.thresholds(0, (share,)) or (0.0,)
        left = float((table.exits({0: threshold}) == 0).mean())
        assert left >= share - 1 / len(confidences)


def profile() -> ServiceProfile:
    times = {"a": 100, "step": 10, "b": 1_000, "end": 7}
    models = {key: ModelTimes(samples={0: {1: [ns]}}) for key, ns in times.items()}
    return ServiceProfile(service="s", models=models, host=NO_COSTS)


STAGES = (StageSetup("a"), StageSetup("step", "step"), StageSetup("b"), StageSetup("end", "step"))


@pytest.mark.parametrize(("exits", "expected"), [((0,), 100 + 7), ((2,), 100 + 10 + 1_000 + 7)])
def test_who_leaves_early_passes_the_steps_at_the_end(exits: tuple[int, ...], expected: int) -> None:
    setup = Setup("s", STAGES, 1, 1, 1 << 40, exits=exits)
    assert run(profile(), setup, [0]).latency_ns().tolist() == [expected]


def test_time_is_kept_for_what_follows_by_the_share_that_goes_on() -> None:
    setup = Setup("s", STAGES, 1, 1, 1 << 40, exits=(0, 0, 0, 2))
    first, second = stages_of(profile(), setup, np.random.default_rng(0)).models
    assert first.spare_ns == round((10 + 1_000) / 4 + 7)
    assert second.spare_ns == 7
    without = stages_of(profile(), Setup("s", STAGES, 1, 1, 1 << 40), np.random.default_rng(0)).models
    assert without[0].spare_ns == 10 + 1_000 + 7


def test_the_cost_of_a_cascade_follows_from_the_share_that_goes_on() -> None:
    """A tenth goes on: a request costs a tenth of the large model, but for the draws of which one it is."""
    setup = Setup("s", STAGES, 1, 1, 1 << 40, exits=(0,) * 9 + (2,))
    arrivals = np.arange(4_000) * 10_000
    found = run(profile(), setup, arrivals)
    going_on = float((found.latency_ns() > 500).mean())
    assert math.isclose(going_on, 0.1, abs_tol=0.02)
    assert math.isclose(found.busy_ns / 4_000, 100 + 7 + going_on * 1_010, rel_tol=0.001)
