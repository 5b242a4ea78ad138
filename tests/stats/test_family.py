import itertools
import math

import numpy as np
import pytest

from trivet.stats.errors import EmptySampleError
from trivet.stats.family import PairedFamily
from trivet.stats.sequential import PairedSequence


def fed(family: PairedFamily, rows: list[dict[str, float]]) -> PairedFamily:
    for row in rows:
        family.add(row)
    return family


def test_a_family_of_one_is_a_sequence() -> None:
    rng = np.random.default_rng(2)
    for centre in (0.0, 0.02, -0.05):
        family, sequence = PairedFamily({"p50": 0.03}), PairedSequence(0.03)
        for value in centre + 0.01 * rng.standard_normal(16):
            family.add({"p50": value})
            sequence.add(value)
            assert family.verdicts() == {"p50": sequence.verdict()}
        assert family.effects() == {"p50": sequence.effect()}


def test_figures_that_agree_are_as_sure_together_as_one_alone() -> None:
    row = {"p50": 0.1, "p99": 0.2, "mean": 0.15}
    agreeing = PairedFamily(dict.fromkeys(row, 0.05))
    for _ in range(9):
        agreeing.add(row)
    assert set(agreeing.verdicts().values()) == {"worse"}


def test_one_figure_among_idle_ones_needs_more_pairs() -> None:
    row = {"p50": 0.1, "p99": 0.0, "mean": 0.0}
    family = PairedFamily(dict.fromkeys(row, 0.05))
    assert fed(family, [row] * 9).verdicts() == {
        "p50": "cannot tell",
        "p99": "equivalent",
        "mean": "equivalent",
    }
    assert fed(family, [row] * 3).verdicts()["p50"] == "worse"


def test_each_figure_has_its_own_direction_and_margin() -> None:
    family = PairedFamily(
        {"p50": 0.05, "throughput": 0.05, "memory": 0.5},
        smaller_is_better={"p50": True, "throughput": False, "memory": True},
    )
    fed(family, [{"p50": -0.2, "throughput": -0.2, "memory": 0.2}] * 14)
    assert family.verdicts() == {"p50": "better", "throughput": "worse", "memory": "equivalent"}
    assert family.effects()["memory"].margin == 0.5


def test_a_figure_with_more_weight_is_shown_by_fewer_pairs_and_the_others_by_more() -> None:
    def needed(name: str, weights: dict[str, float] | None) -> int:
        family = PairedFamily(dict.fromkeys(("p50", "p99", "mean"), 0.05), weights=weights)
        row = {"p50": 0.0, "p99": 0.0, "mean": 0.0} | {name: 0.1}
        while family.num_pairs == 0 or family.verdicts()[name] != "worse":
            family.add(row)
        return family.num_pairs

    weights = {"p50": 0.8, "p99": 0.1, "mean": 0.1, "other": 5.0}
    assert needed("p50", weights) < needed("p50", None) < needed("p99", weights)
    with pytest.raises(ValueError, match="no weight for p99"):
        PairedFamily({"p50": 0.05, "p99": 0.05}, weights={"p50": 1.0})


@pytest.mark.parametrize("weights", [None, {"a": 0.7, "b": 0.2, "c": 0.1}])
def test_over_all_ways_the_signs_can_fall_any_false_alarm_is_rare(weights: dict[str, float] | None) -> None:
    """Exact: three figures, the same coin for all of a pair (as who goes first is), 2^8 ways, alpha of a fifth."""
    sizes = np.random.default_rng(3).exponential(1, (8, 3))
    alarms = 0
    ways = list(itertools.product([-1.0, 1.0], repeat=8))
    for signs in ways[: len(ways) // 2]:  # the others are their mirror images
        family = PairedFamily(dict.fromkeys("abc", 1e-6), alpha=0.2, weights=weights)
        fed(
            family,
            [dict(zip("abc", sign * row, strict=True)) for sign, row in zip(signs, sizes, strict=True)],
        )
        alarms += any(verdict in ("better", "worse") for verdict in family.verdicts().values())
    assert 0 < alarms / (len(ways) // 2) <= 0.2


def test_intervals_are_wider_than_those_of_a_figure_alone() -> None:
    values = 0.05 + 0.01 * np.random.default_rng(5).standard_normal(16)
    alone = PairedSequence(0.03)
    family = PairedFamily({"a": 0.03, "b": 0.03})
    for value in values:
        alone.add(value)
        family.add({"a": value, "b": value})
    wide, narrow = family.intervals()["a"], alone.interval()
    assert wide.low < narrow.low < math.exp(0.05) < narrow.high < wide.high


def test_rows_that_do_not_fit_are_refused_and_change_nothing() -> None:
    family = PairedFamily({"p50": 0.05, "p99": 0.05})
    with pytest.raises(ValueError, match=r"must have \['p50', 'p99'\]"):
        family.add({"p50": 0.1})
    with pytest.raises(ValueError, match="of p99, must be finite"):
        family.add({"p50": 0.1, "p99": math.nan})
    assert family.num_pairs == 0
    with pytest.raises(EmptySampleError):
        family.intervals()
    with pytest.raises(ValueError, match="no figures"):
        PairedFamily({})
