"""What is drawn of a run: the numbers beside the pictures, counted on paper."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays
from hypothesis.strategies import floats, integers

from tests.experiment.measured_support import block
from tests.report.report_support import figure, measured
from trivet.report.nines import distribution_points, nines
from trivet.report.pictures import latency_plots, load_plots, phase_plots
from trivet.report.pictures.plot import Missing, Plot, Shown, inline_svg


def rows(shown: Shown) -> list[list[str]]:
    assert isinstance(shown, Plot)
    return [[cell if isinstance(cell, str) else cell[0] for cell in row] for row in shown.table.rows]


def why(shown: Shown) -> str:
    assert isinstance(shown, Missing)
    return shown.why


@given(arrays(np.float64, integers(1, 500), elements=floats(0, 1e6)))
def test_points_of_a_distribution_are_observed_and_rise(values: np.ndarray) -> None:
    xs, heights = distribution_points(values)
    assert np.isin(xs, values).all()
    assert (np.diff(xs) >= 0).all()
    assert (np.diff(heights) > 0).all()
    assert xs[-1] == values.max()
    assert np.isfinite(heights).all()


def test_nines_stand_equally_far_apart() -> None:
    np.testing.assert_allclose(nines([0, 0.9, 0.99, 0.999]), [0, 1, 2, 3], atol=1e-12)


def test_percentiles_are_as_recorded() -> None:
    figures = {"latency_p99_ms": figure(4.0, "ms"), "throughput_rps": figure(9.0, "requests/s")}
    assert rows(latency_plots.distribution([measured(200)], figures, 20.0)) == [
        ["p99", "4.00 ms", "[3.80, 4.20]", ""]
    ]
    assert "no request got a result" in why(
        latency_plots.distribution([block([1.0] * 5, outcomes="failed")], {}, None)
    )


def test_a_course_is_cut_into_slices_of_a_hundred_requests() -> None:
    shown = rows(latency_plots.over_time([block([1.0] * 100 + [4.0] * 100)]))
    assert [row[1:] for row in shown] == [["1 ms", "1 ms"], ["4 ms", "4 ms"]]
    assert "too few" in why(latency_plots.over_time([block([1.0] * 30)]))


def test_each_block_of_a_ramp_is_a_rate_and_holds_or_does_not() -> None:
    blocks = [
        block([5.0] * 100, gap_ms=10),
        block([9.0] * 98 + [30.0] * 2, gap_ms=5),
        block([50.0] * 100, gap_ms=2),
    ]
    found = rows(load_plots.against_load(blocks, 20.0, 99.0, figure(150.0, "requests/s")))
    assert [(row[1], row[2], row[4]) for row in found] == [
        ("5 ms", "100.00%", "holds"),
        ("30 ms", "98.00%", "broken"),
        ("50 ms", "0.00%", "broken"),
    ]
    assert "--scenario ramp" in why(load_plots.against_load(blocks[:1], 20.0, 99.0, None))


def test_a_rate_without_results_is_drawn_above_all_others() -> None:
    blocks = [block([5.0] * 100, gap_ms=10), block([9.0] * 100, gap_ms=2, outcomes="refused", statuses=429)]
    shown = load_plots.against_load(blocks, None, 99.0, None)
    assert rows(shown)[1][1] == "none in time"
    assert isinstance(shown, Plot)
    assert "no result in time" in inline_svg(shown, narrow=False)


def test_phases_and_what_is_outside_the_server_make_the_whole() -> None:
    shown = phase_plots.phases([measured(3000)])
    assert isinstance(shown, Plot)
    assert [row[0] for row in shown.table.rows] == ["all requests", "slowest tenth", "slowest hundredth"]
    for row in shown.table.rows:
        total, *parts = [cell[1] for cell in row[1:] if not isinstance(cell, str)]
        assert total is not None
        assert sum(part or 0 for part in parts) == pytest.approx(total)
    assert "told no phases" in why(phase_plots.phases([block([1.0] * 50)]))


def test_batches_and_waits_are_counted_over_requests() -> None:
    one = measured(3000)
    sizes = one.window["batch_size"]
    found = rows(phase_plots.batch_fill([one]))
    assert found[0] == ["1", f"{(sizes == 1).mean():.2%}"]
    assert len(found) == 8
    assert [row[0] for row in rows(phase_plots.queue_delay([one]))] == ["50.0%", "90.0%", "99.0%", "99.9%"]
    assert "told no phases" in why(phase_plots.batch_fill([block([1.0] * 50)]))


@pytest.mark.parametrize(
    ("largest", "names"), [(3, ["1", "2", "3"]), (70, ["1", "2-3", "4-7", "8-15", "16-31", "32-63", "64-70"])]
)
def test_many_batch_sizes_are_grouped_by_powers_of_two(largest: int, names: list[str]) -> None:
    edges = phase_plots.batch_edges(largest)
    assert phase_plots.batch_names(edges, largest) == names
