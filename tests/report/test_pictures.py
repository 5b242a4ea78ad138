import dataclasses
from pathlib import Path

import numpy as np
import pytest

from tests.experiment.test_comparing import catalog, noisy, recorded
from trivet.catalog.catalog import Catalog
from trivet.catalog.records import Figure
from trivet.errors import UserError
from trivet.experiment.compare import Comparison, compare
from trivet.report.pictures.distributions import draw
from trivet.report.text import comparison_text, density_lines, figures_text
from trivet.stats.sequential import FIRST_VERDICT, PairedSequence

__all__ = ["catalog"]  # a fixture of another module


@pytest.fixture
def comparison(catalog: Catalog) -> Comparison:
    return compare(catalog, recorded(catalog, noisy(1, 1)), recorded(catalog, noisy(1.4, 1)))


def test_the_picture_is_an_svg_or_a_png_and_the_same_for_the_same_runs(
    comparison: Comparison, tmp_path: Path
) -> None:
    first, second, third = (tmp_path / name for name in ("a.svg", "b.svg", "c.png"))
    for path in (first, second, third):
        draw(comparison, path)
    assert first.read_bytes() == second.read_bytes()
    assert b"share of requests that took longer" in first.read_bytes()
    assert third.read_bytes().startswith(b"\x89PNG")


def test_runs_that_were_not_interleaved_have_no_shift_function_to_draw(
    catalog: Catalog, tmp_path: Path
) -> None:
    a, b = (recorded(catalog, noisy(1, seed), group="") for seed in (1, 2))
    draw(compare(catalog, a, b), tmp_path / "a.svg")
    assert b"no shift function" in (tmp_path / "a.svg").read_bytes()


def test_another_suffix_is_refused(comparison: Comparison, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"ends in \.svg or \.png"):
        draw(comparison, tmp_path / "a.jpg")


def test_the_text_has_a_line_for_each_figure_and_both_distributions(comparison: Comparison) -> None:
    text = "\n".join(comparison_text(comparison))
    for name in ("latency_p50_ms", "latency_p999_ms", "throughput_rps", "cpu_ms_per_request", "memory_mib"):
        assert name in text
    assert "16 pairs of interleaved blocks" in text
    assert "worse" in text
    assert "latency\n  A " in text


def test_too_few_pairs_are_told_before_their_figures(comparison: Comparison) -> None:
    few = dataclasses.replace(comparison, num_pairs=FIRST_VERDICT - 1)
    assert "more --blocks" in "\n".join(comparison_text(few))
    assert "more --blocks" not in "\n".join(comparison_text(comparison))


def test_the_first_verdict_is_that_of_the_sequence() -> None:
    sequence = PairedSequence(0.05)
    for _ in range(FIRST_VERDICT - 1):
        sequence.add(1.0)
    assert sequence.verdict() == "cannot tell"
    sequence.add(1.0)
    assert sequence.verdict() == "worse"


def test_a_later_distribution_stands_further_right() -> None:
    rng = np.random.default_rng(1)
    _, first, second, axis = density_lines((rng.gamma(9, 1, 5000), rng.gamma(9, 3, 5000)), width=40)
    assert first.index("█") < second.index("█")
    assert axis.strip().endswith("ms")
    assert density_lines((np.array([]), np.array([1.0]))) == []


def test_equal_latencies_are_drawn_too() -> None:
    assert len(density_lines((np.ones(5), np.ones(5)))) == 4


def test_figures_without_an_interval_say_why() -> None:
    figures = {
        "p50": Figure(estimate=1234.5, low=1000.0, high=None, unit="ms"),
        "p99": Figure(estimate=0.012345, unit="ms", verdict="no interval: 12 more requests needed"),
    }
    first, second = figures_text(figures)
    assert first.split() == ["p50", "1,234", "[1,000,", "∞]", "ms"]
    assert second.split(maxsplit=2) == ["p99", "0.01235", "ms  no interval: 12 more requests needed"]
