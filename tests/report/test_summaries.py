"""The same in Markdown: one screen for a pull request."""

import shutil
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.report.report_support import RECOMMENDATION, STUDY, measured, record_run, study
from trivet.catalog.catalog import Catalog
from trivet.catalog.records import Figure
from trivet.errors import ExtraMissingError
from trivet.report.answer import said
from trivet.report.markdown import run_markdown, study_markdown
from trivet.report.run_page import run_page
from trivet.report.run_view import read_run
from trivet.report.study_page import study_page
from trivet.report.study_tables import run_table
from trivet.report.study_view import StudyView, figures_of
from trivet.tune.legs import ratio_of

ONE_SCREEN = 50


def summary(**changed: Any) -> str:
    return study_markdown(StudyView(study(**changed), {}))


def test_a_study_fits_one_screen_with_goal_outcome_figures_reasons_and_thresholds() -> None:
    text = summary()
    lines = text.splitlines()
    assert len(lines) <= ONE_SCREEN
    assert lines[0] == "## ✅ trivet study: file-type"
    assert "**Serve trial 12: variant int8-dynamic, threads 2, max batch size 32. Largest rate" in text
    assert (
        "Goal: the largest rate with p99 within 20 ms, accuracy at least 90.0 %, 10 % of the rate kept free"
        in text
    )
    assert "| figure | recommended | default | change | must be |" in text
    assert "| accuracy | 91.7 %" in text
    assert "at least 90.0 % |" in text
    assert "1. It answers 330" in text
    assert "Runner-up: trial 9" in text
    assert text.endswith("\n")


def test_the_goal_says_how_much_answers_may_lose() -> None:
    goal = msgspec.structs.replace(STUDY.goal, accuracy_drop=0.02)
    assert ", at most 2 points worse than as declared, 10 % of the rate kept free" in summary(goal=goal)


def test_what_no_study_promised_is_not_promised() -> None:
    assert "No recommendation: the study ended" in summary(recommendation=None)
    predicted = [msgspec.structs.replace(one, measured={}, stage="screened") for one in STUDY.trials]
    text = summary(recommendation=None, trials=predicted, state="interrupted")
    assert "nothing was verified under load" in text
    assert "> interrupted: its process ended" in text
    assert "Nothing was tried." in summary(recommendation=None, trials=[])
    missed = msgspec.structs.replace(RECOMMENDATION, meets=False, binding="the accuracy floor")
    assert "## ❌" in summary(recommendation=missed)
    assert "is sure to meet the goal (the accuracy floor). Closest is trial 12" in summary(
        recommendation=missed
    )
    kept = msgspec.structs.replace(RECOMMENDATION, trial=0)
    assert "Keep the default" in summary(recommendation=kept)


@pytest.mark.parametrize("name", ["max_rate_rps", "cpu_ms_per_request"])
def test_a_gain_is_the_ratio_that_the_reasons_tell(name: str) -> None:
    view = StudyView(STUDY, {})
    assert view.chosen is not None
    assert view.default is not None
    ours, theirs, gain = view.chosen.measured[name], view.default.measured[name], view.gain(name)
    assert gain is not None
    assert gain.estimate == ours.estimate / theirs.estimate
    assert gain == ratio_of(view.chosen.measured, view.default.measured, name)
    # Independent intervals, in quadrature: narrower than their ends allow.
    assert ours.low is not None
    assert theirs.high is not None
    assert gain.low is not None
    assert ours.low / theirs.high < gain.low < gain.estimate


def test_an_unmeasured_figure_has_no_gain() -> None:
    view = StudyView(STUDY, {})
    assert view.gain("nothing_ms") is None
    assert StudyView(study(recommendation=None), {}).gain("max_rate_rps") is None


def test_under_the_floor_is_over_a_ceiling_for_errors() -> None:
    trial = STUDY.trials[0]
    worse = {**figures_of(trial), "accuracy": Figure(estimate=0.89, unit="accuracy")}
    assert StudyView(STUDY, {}).under_floor(worse)
    assert not StudyView(STUDY, {}).under_floor(figures_of(trial))
    error = StudyView(study(goal=msgspec.structs.replace(STUDY.goal, metric="mae")), {})
    assert error.under_floor({"accuracy": Figure(estimate=0.91, unit="mae")})
    assert not error.under_floor({"accuracy": Figure(estimate=0.89, unit="mae")})


def test_the_objective_is_what_the_sentence_is_about() -> None:
    goal = msgspec.structs.replace(STUDY.goal, objective="latency")
    assert "P99 latency: -45 % [-49, -40] beside the default." in said(StudyView(study(goal=goal), {}))
    assert "Largest rate within the SLO: × 4.2 [4, 4.3] beside the default." in said(StudyView(STUDY, {}))


def test_a_gain_that_cannot_be_told_is_no_promise() -> None:
    first = STUDY.trials[0]
    wide = Figure(estimate=42, low=12, high=149, unit="requests/s")
    default = Figure(estimate=17, low=5, high=57, unit="requests/s")
    trials = [
        msgspec.structs.replace(
            trial,
            measured={**trial.measured, "max_rate_rps": default if trial.id == first.id else wide},
        )
        if "max_rate_rps" in trial.measured
        else trial
        for trial in STUDY.trials
    ]
    told = said(StudyView(study(trials=trials), {}))
    assert "Largest rate within the SLO: cannot be told from the default's, +147 % [-57, +1337]." in told


def test_a_run_says_first_what_makes_it_worthless(drawn_catalog: Catalog, record_ids: dict[str, str]) -> None:
    text = run_markdown(read_run(drawn_catalog, drawn_catalog.run(record_ids["invalid"])))
    assert text.splitlines()[:3] == [
        "## ❌ trivet run: file-type: invalid",
        "",
        "**INVALID**: the load generator fell behind: p99 send lag 4.20 ms, at most 1 ms",
    ]
    failed = run_markdown(read_run(drawn_catalog, drawn_catalog.run(record_ids["failed"])))
    assert "Nothing was measured." in failed


def test_text_of_a_record_ends_no_cell_of_a_table(drawn_catalog: Catalog) -> None:
    figure = {"throughput_rps": Figure(estimate=1.0, unit="requests/s", verdict="a | b\n<script>")}
    run_id = record_run(drawn_catalog, [measured(300)], service="a|b", extra=figure)
    text = run_markdown(read_run(drawn_catalog, drawn_catalog.run(run_id)))
    (line,) = [line for line in text.splitlines() if line.startswith("| throughput")]
    assert line.replace("\\|", "").count("|") == 4
    assert "<script>" not in text


def test_rows_that_are_elsewhere_leave_figures_and_a_reason(tmp_path: Path) -> None:
    catalog = Catalog.open(str(tmp_path / "catalog"))
    run_id = record_run(catalog, [measured(300)])
    shutil.rmtree(tmp_path / "catalog" / "artifacts")
    view = read_run(catalog, catalog.run(run_id))
    assert "rows are not in this catalog" in view.trouble
    page = run_page(view)
    assert page.count("rows are not in this catalog") >= 2
    assert "p99 latency" in page


def test_runs_of_a_study_that_are_elsewhere_are_named_as_such() -> None:
    rows = run_table(StudyView(STUDY, {})).rows
    assert [row[3] for row in rows] == ["not in this catalog"] * 2
    assert rows[0][4] == "trivet replay k0000000aa"


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ExtraMissingError, match=r"trivet\[bench\]"):
        study_page(StudyView(STUDY, {}))
