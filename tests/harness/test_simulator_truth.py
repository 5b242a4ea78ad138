"""The page of forecasts beside live runs, from records that are made up: what it counts, and the cells that it asks for."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from benchmarks import _truth_cells, simulator_truth
from benchmarks._truth_cells import Cell, capacity_rps, cells, configuration_of, formula_p99_ms, instants_of
from benchmarks._truth_page import CellRecord, RateRecord, TruthRecord, goals, page, repeats
from tests.simulate.simulated_support import constant, lone
from trivet.experiment.simulating.checking import Check
from trivet.simulate.profile import HostCosts

MS = 1_000_000


def a_record(live: float, predicted: float, repeat: int = 0, invalid: str = "") -> TruthRecord:
    return TruthRecord(
        cell=CellRecord(
            model="quick", max_batch_size=8, threads=1, instances=1, load=0.7, arrivals="poisson"
        ),
        repeat=repeat,
        rate_rps=100,
        capacity_rps=150,
        check=Check(
            service="quick",
            setup={},
            num_requests=5_000,
            rate_rps=100,
            live={"latency_p99_ms": live, "latency_p50_ms": 5.0, "slo_attainment": 0.99},
            predicted={
                "latency_p99_ms": (predicted, 0.95 * predicted, 1.05 * predicted),
                "slo_attainment": (0.98, 0.97, 0.99),
            },
            level=1.1,
            at_level={
                "latency_p99_ms": (1.02 * live, live, 1.1 * live),
                "latency_p50_ms": (5.2, 5.0, 5.4),
            },
            invalid=invalid,
        ),
        mean_rows=2.0,
        formula_p99_ms=2 * live,
        machine="here",
        kernel="6",
    )


def test_there_are_24_cells_and_no_two_alike() -> None:
    found = cells()
    assert len(set(map(str, found))) == 24
    assert {cell.load for cell in found} == {0.3, 0.5, 0.7, 0.85}


def test_goals_count_valid_runs_only() -> None:
    records = [a_record(10, 10.3), a_record(10, 11, 1)]
    found = {goal.what: goal.figure for goal in goals(records)}
    values = {what: interval.estimate for what, interval in found.items() if interval is not None}
    assert values["error of p99, median"] == pytest.approx(0.065)
    assert values["error of p99, worst"] == pytest.approx(0.1)
    assert values["live p99 inside the 95 % interval"] == 0.5
    assert values["beside it: the same error of M/G/k, median"] == pytest.approx(1.0)
    known = "beside it: error of p99 had the profile known how fast the engines were, median"
    assert values[known] == pytest.approx(0.02)
    assert values["the same of p50, median"] == pytest.approx(0.04)
    assert "engines at 1.10 of the profile: +2.0%" in records[0].words()
    text = page(
        [*records, a_record(10, 99, 2, "late")],
        [RateRecord(model="quick", slo_ms=5, live=(100, 90, 110), forecast=(98, 95, 101))],
    )
    assert "3 runs of 1 cells, 1 of them invalid" in text
    assert "-2.0%" in text
    assert "99.00" not in text
    assert "| quick | 2 | 2.0% | 2.0% to 2.0% | 0 |" in text
    assert page([]).endswith("Nothing was measured yet.")


def test_medians_and_shares_have_intervals_and_what_was_not_measured_is_named() -> None:
    records = [a_record(10, 10 + 0.1 * number, number) for number in range(1, 10)]
    found = {goal.what: goal for goal in goals(records)}
    error = found["error of p99, median"].figure
    assert error is not None
    assert (error.low, error.estimate, error.high) == pytest.approx(
        (0.02, 0.05, 0.08)
    )  # the 2nd, 5th and 8th of 9
    covered = found["live p99 inside the 95 % interval"].figure
    assert covered is not None
    assert covered.low < covered.estimate < covered.high
    assert found["error of the largest rate within the SLO, worst"].verdict() == "not measured: `--rates`"
    few = goals(records[:1])[0]
    assert few.verdict() == "cannot tell"


def test_repeats_of_a_cell_show_how_well_the_machine_repeats_itself() -> None:
    assert repeats([a_record(10, 10), a_record(12, 10, 1), a_record(11, 10, 2)]) == pytest.approx(
        [1 / 11, 1 / 11, 0]
    )
    assert repeats([a_record(10, 10)]) == []
    assert "cannot tell: one repeat" in page([a_record(10, 10)])


def test_what_earlier_repeats_were_off_by_widens_the_intervals_of_later_ones() -> None:
    inside = "the same, with what earlier repeats of the model were off by on top"
    records = [a_record(10, 8), a_record(10, 8, 1), a_record(10, 12, 2)]
    found = {goal.what: goal.figure for goal in goals(records)}
    plain, widened = found["live p99 inside the 95 % interval"], found[inside]
    width = found["half-width of that one, median"]
    assert plain is not None
    assert widened is not None
    assert width is not None
    assert (plain.estimate, widened.estimate) == (0, 1)  # of two: the first repeat has none before it
    assert 0.4 < width.estimate < 0.6  # 2.09 times 22 %
    alone = {goal.what: goal.verdict() for goal in goals(records[:1])}
    assert alone[inside] == "cannot tell: one repeat"


def test_a_level_that_nobody_knows_is_no_level_of_one() -> None:
    record = a_record(10, 10)
    record = msgspec.structs.replace(
        record, check=msgspec.structs.replace(record.check, level=None, at_level={})
    )
    assert "engines at - of the profile: -" in record.words()
    assert "cannot tell: not known" in page([record])


def test_capacity_is_that_of_the_best_batch_with_the_loops_work() -> None:
    host = HostCosts(per_request_ns=[MS], per_batch_ns=[MS], hand_over_ns=[0])
    profile = constant({1: 8 * MS, 4: 11 * MS}, host)
    assert capacity_rps(profile, lone(max_batch_size=4)) == pytest.approx(4 / 0.016)
    assert capacity_rps(profile, lone(execution="thread", cores=2, max_batch_size=4)) == pytest.approx(
        4 / 0.011
    )
    at_rest = formula_p99_ms(profile, lone(), 0.1)
    assert at_rest == pytest.approx(10, rel=0.1)
    assert formula_p99_ms(profile, lone(), 1_000.0) is None


def test_arrivals_come_at_the_rate_that_was_asked_for() -> None:
    found = instants_of(Cell("quick", 1, 1, 1, 0.3), 500.0, 2_000, seed=1)
    assert len(found) / found[-1] * 1e9 == pytest.approx(500, rel=0.05)


@pytest.mark.parametrize("rounded", [1, 100])
def test_a_trace_is_brought_to_the_rate(
    rounded: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "data" / _truth_cells.TRACES["azure"]
    path.parent.mkdir(parents=True)
    seconds = np.arange(1_200) // rounded * rounded * 0.37
    path.write_text("time_s\n" + "\n".join(f"{second:.3f}" for second in seconds) + "\n")
    monkeypatch.setattr(_truth_cells, "SHARED", tmp_path)
    found = instants_of(Cell("quick", 1, 1, 1, 0.3, "azure"), 500.0, 1_000, seed=1)
    assert len(found) == 1_000
    assert bool((np.diff(found) >= 0).all())
    assert 999 / found[-1] * 1e9 == pytest.approx(500, rel=0.1)


def test_a_cell_is_a_service_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_truth_cells, "FOLDER", tmp_path)
    made = configuration_of(Cell("quick", 4, 2, 1, 0.3), slo="5ms")
    levers = made.service.models["quick"].levers
    assert (levers.max_batch_size, levers.threads, levers.instances) == (4, 2, 1)
    assert made.service.slo.latency_ns == 5 * MS


def test_records_survive_a_line_that_was_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    assert simulator_truth.read_lines(path, TruthRecord) == []
    simulator_truth.keep(path, a_record(10, 11))
    with path.open("ab") as file:
        file.write(b'{"cell":')
    assert simulator_truth.read_lines(path, TruthRecord) == [a_record(10, 11)]
