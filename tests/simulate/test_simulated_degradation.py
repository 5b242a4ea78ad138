"""Degradation in virtual time: the same decisions, on ladders whose truth is known."""

import numpy as np
import pytest

from tests.simulate.simulated_support import NO_COSTS, run
from trivet.simulate.profile import ModelTimes, ServiceProfile
from trivet.simulate.record import OK, Simulated
from trivet.simulate.server import rows_of
from trivet.simulate.setup import LadderSetup, RungSetup, Setup, StageSetup
from trivet.spec.row import RowColumns

MS = 1_000_000
NS = 1_000_000_000
TIMES = {"full": 4 * MS, "half": 2 * MS, "tiny": MS // 2}
LOSSES = {"full": 0.0, "half": 0.01, "tiny": 0.04}
PROFILE = ServiceProfile(
    service="s",
    models={name: ModelTimes(samples={0: {1: [ns] * 8}}) for name, ns in TIMES.items()},
    host=NO_COSTS,
)


def setup(max_loss: float | None, *, window: int = 100, before: tuple[StageSetup, ...] = ()) -> Setup:
    stages = (*before, StageSetup("full", execution="thread"))
    rungs = tuple(
        RungSetup(name, StageSetup(name, execution="thread"), LOSSES[name]) for name in ("half", "tiny")
    )
    ladder = None if max_loss is None else LadderSetup(len(before), rungs, max_loss, window)
    return Setup("s", stages, 1, 2, 50 * MS, ladder=ladder)


def offered(rate_of_capacity: float, num: int = 1500) -> list[int]:
    gaps = np.random.default_rng(1).exponential(TIMES["full"] / rate_of_capacity, num)
    return np.cumsum(gaps).astype(np.int64).tolist()  # type: ignore[no-any-return]  # numpy's tolist is untyped


def paid(found: Simulated) -> float:
    """Mean loss of an answer."""
    return float(np.array([*LOSSES.values()])[found.rung[found.outcome == OK]].mean())


def test_below_capacity_next_to_nobody_is_degraded_and_without_load_nobody() -> None:
    evenly = run(PROFILE, setup(0.05), [place * 5 * MS for place in range(500)])
    assert (evenly.is_ok().all(), int(evenly.rung.max())) == (True, 0)
    found = run(PROFILE, setup(0.05), offered(0.7))
    assert found.is_ok().all()
    assert np.count_nonzero(found.rung) < 0.06 * len(found.rung)


@pytest.mark.parametrize("rate", [1.2, 3.0])
def test_under_overload_nearly_all_are_answered_where_refusal_alone_answers_what_fits(rate: float) -> None:
    alone, found = (run(PROFILE, setup(loss), offered(rate)) for loss in (None, 0.05))
    assert found.is_ok().mean() > 0.97
    assert alone.is_ok().mean() < 1.05 / rate
    assert set(np.unique(found.rung)) == {0, 1, 2}
    assert 0 < paid(found) < LOSSES["tiny"]


@pytest.mark.parametrize("max_loss", [0.0, 0.005, 0.01, 0.02])
def test_what_is_paid_keeps_to_the_budget_over_every_stretch_of_answers(max_loss: float) -> None:
    window = 20
    found = run(PROFILE, setup(max_loss, window=window), offered(3.0))
    losses = np.array([*LOSSES.values()])[found.rung][found.is_ok()][np.argsort(found.done_ns[found.is_ok()])]
    sums = np.concatenate([[0.0], np.cumsum(losses - max_loss)])
    assert (sums - np.minimum.accumulate(sums)).max() <= max_loss * window + 1e-9
    refused = run(PROFILE, setup(None), offered(3.0)).is_ok().mean()
    assert found.is_ok().mean() >= (1.9 if max_loss >= 0.01 else 0.98) * refused


def test_a_ladder_that_is_never_used_changes_nothing() -> None:
    arrivals = offered(0.3, 300)
    one, other = (run(PROFILE, setup(loss), arrivals) for loss in (None, 0.05))
    assert not other.rung.any()
    np.testing.assert_array_equal(one.done_ns, other.done_ns)


def test_behind_another_model_it_stands_in_as_well_and_rows_say_so() -> None:
    chosen = setup(0.05, before=(StageSetup("tiny", execution="thread"),))
    found = run(PROFILE, chosen, offered(2.0))
    assert found.is_ok().mean() > 0.9
    rows: RowColumns = rows_of(found, chosen)
    said = rows.words["instead"].decode()
    expected = np.where(found.is_ok(), np.array(["", "degraded:half", "degraded:tiny"])[found.rung], "")
    assert said.tolist() == expected.tolist()
    assert {"degraded:half", "degraded:tiny"} <= set(said)
