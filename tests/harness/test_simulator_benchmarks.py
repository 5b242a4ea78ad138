"""The short benchmarks of the simulator run, and say what they promise to say."""

import pytest

from benchmarks import simulator_coverage, simulator_speed


def test_speed_is_told_for_each_model_and_load(capsys: pytest.CaptureFixture[str]) -> None:
    assert simulator_speed.main(["--requests", "200", "--repeats", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith(("| inline", "| thread")) for line in lines) == 6


def test_a_run_of_a_known_truth_is_forecast_with_an_interval() -> None:
    covered, half, error = simulator_coverage.one_run(0.5, 0.03, 300, seed=1)
    assert covered
    assert 0 < half < 0.5
    assert error < half
