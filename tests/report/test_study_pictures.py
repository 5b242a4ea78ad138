"""What is drawn of a study: which trials, how they are told apart, and how much of it a page can bear."""

import re
from pathlib import Path

import msgspec
import pytest

from tests.report.report_support import STUDY, effect, figure, judged, study, trial
from trivet.report.html import Markup
from trivet.report.pictures import balance_plots, cohort_plots, effect_plots
from trivet.report.pictures.balance_marks import edge
from trivet.report.pictures.balance_plots import MAX_FAINT
from trivet.report.pictures.plot import Missing, Plot, inline_svg, write_pictures
from trivet.report.study_tables import trial_table, variant_table
from trivet.report.study_view import StudyView


@pytest.fixture(scope="module")
def balance() -> Plot:
    shown = balance_plots.balance(StudyView(STUDY, {}))
    assert isinstance(shown, Plot)
    return shown


@pytest.fixture(scope="module")
def svg(balance: Plot) -> Markup:
    return inline_svg(balance, narrow=False)


def test_a_picture_in_a_page_has_names_for_colours_and_nothing_from_elsewhere(svg: Markup) -> None:
    assert svg.startswith('<svg class="wide-plot" role="img" aria-label="Latency against largest rate')
    assert "var(--ink)" in svg
    assert "#1a1e23" not in svg
    assert "://" not in svg
    assert "DejaVu" not in svg


def test_roles_limits_and_marks_are_named_in_the_picture(svg: Markup) -> None:
    for word in (
        "recommended",
        "default",
        "runner-up",
        "SLO 20 ms",
        "predicted only",
        "misses the accuracy floor",
    ):
        assert f">{word}<" in svg, word
    for word in ("accuracy 91.7 %", "accuracy 92.4 %", "int8-dynamic"):
        assert word in svg


def test_the_line_is_the_edge_of_what_is_reached_with_enough_accuracy() -> None:
    names = ("max_rate_rps", "latency_p99_ms")
    view = StudyView(study(front=[2, 4, 7, 12, 18]), {})
    assert edge(view, view.points, *names) == []  # 12 is the best of both, and 18 misses the floor
    quick = msgspec.structs.replace(
        STUDY.trials[4], measured={**STUDY.trials[4].measured, "latency_p99_ms": figure(9.0, "ms")}
    )
    view = StudyView(study(front=[4, 12], trials=[quick, STUDY.trials[12]]), {})
    rate, best = quick.measured["max_rate_rps"].estimate, STUDY.trials[12].measured
    assert edge(view, view.points, *names) == [(rate, 9.0), tuple(best[name].estimate for name in names)]


def test_the_table_beside_it_has_every_trial_that_is_drawn(balance: Plot) -> None:
    assert len(balance.table.rows) == len(STUDY.trials)
    assert "1,296 were screened" in balance.caption


def test_wide_and_narrow_share_no_id(balance: Plot, svg: Markup) -> None:

    ids = [set(re.findall(r' id="([^"]+)"', text)) for text in (svg, inline_svg(balance, narrow=True))]
    assert ids[0]
    assert not ids[0] & ids[1]


def test_files_are_the_same_bytes_each_time_and_have_no_date(tmp_path: Path) -> None:
    (shown,) = effect_plots.effects(STUDY.effects)
    assert isinstance(shown, Plot)
    first, second = (write_pictures([shown], tmp_path / name) for name in "ab")
    assert [path.name for path in first] == ["effect-max-rate-rps.svg", "effect-max-rate-rps.png"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert b"<dc:date>" not in first[0].read_bytes()


def test_of_thousands_of_predictions_an_even_part_is_drawn() -> None:
    many = [trial(i, "original", 1 + i % 2, 1 << i % 6, "screened", []) for i in range(20, 3000)]
    view = StudyView(study(trials=[*STUDY.trials, *many]), {})
    shown = balance_plots.balance(view)
    assert isinstance(shown, Plot)
    important = sum(point.is_measured or point.is_front or bool(point.role) for point in view.points)
    assert len(shown.table.rows) == MAX_FAINT + important
    assert len(inline_svg(shown, narrow=False)) < 150_000


def test_without_accuracy_two_legs_are_drawn_and_the_third_is_said() -> None:
    bare = [
        msgspec.structs.replace(
            one,
            **{
                kind: {k: v for k, v in getattr(one, kind).items() if k != "accuracy"}
                for kind in ("predicted", "measured")
            },
        )
        for one in STUDY.trials
    ]
    goal = msgspec.structs.replace(STUDY.goal, accuracy_floor=None, metric=None)
    view = StudyView(study(trials=bare, goal=goal, variants=[]), {})
    assert isinstance(balance_plots.balance(view), Plot)
    for missing in (balance_plots.legs(view), cohort_plots.of_variants(view.variants)):
        assert isinstance(missing, Missing)
        assert "no accuracy was measured" in missing.why


def test_effects_are_told_with_the_largest_first_and_what_two_do_together_last() -> None:
    (shown,) = effect_plots.effects(STUDY.effects)
    assert isinstance(shown, Plot)
    assert [row[0] for row in shown.table.rows] == [
        "variant: original → int8-dynamic",
        "threads: 1 → 2",
        "max batch size: 1 → 32",
        "deferral: 0ms → 2ms",
        "threads: 1 → 2 × max batch size: 1 → 32",
    ]
    assert isinstance(effect_plots.effects([])[0], Missing)
    flat = msgspec.structs.replace(effect("threads", [1, 2], 1.1, "yes"), from_to=[1, 2])
    assert effect_plots.told(flat) == "threads: 1 → 2"


def test_an_effect_without_an_upper_bound_is_drawn_to_the_edge() -> None:
    open_ended = msgspec.structs.replace(
        STUDY.effects[0], effect=msgspec.structs.replace(figure(3.0, "times"), high=None)
    )
    (shown,) = effect_plots.effects([open_ended])
    assert isinstance(shown, Plot)
    assert "× 10<" in inline_svg(shown, narrow=False)


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ((0.9, 1.8), [0.9, 1.0, 1.1, 1.2, 1.3, 1.5, 1.7]),
        ((0.99, 1.012), [0.99, 1.0, 1.01]),
        ((1.0, 30.0), [1.0, 2.0, 3.0, 5.0, 10.0, 20.0]),
        ((0.98, 0.98), [0.98, 0.99, 1.0]),
    ],
)
def test_ticks_of_ratios_are_round_and_have_no_change_among_them(
    ends: tuple[float, float], expected: list[float]
) -> None:
    assert effect_plots.ticks(*ends, 9) == expected


def test_cohorts_stand_with_the_worst_first_whatever_better_means() -> None:
    shown = cohort_plots.of_variants(
        [judged("original", "original"), judged("distilled", "worse", in_search=False)]
    )
    assert isinstance(shown, Plot)
    assert [row[0] for row in shown.table.rows] == ["all rows", "archive", "image", "text", "code"]
    errors = {
        "accuracy": figure(3.0, "mae"),
        "accuracy[a]": figure(2.0, "mae"),
        "accuracy[b]": figure(4.0, "mae"),
    }
    shown = cohort_plots.of_run(errors)
    assert isinstance(shown, Plot)
    assert [row[0] for row in shown.table.rows] == ["all rows", "b", "a"]


def test_trials_stand_with_the_recommended_first_and_say_what_they_are() -> None:
    found = trial_table(StudyView(STUDY, {}), limit=8)
    assert (len(found.content.rows), found.num_left_out) == (8, len(STUDY.trials) - 8)
    assert [found.content.rows[i][0] for i in found.chosen] == [("12", 12.0)]
    remarks = {row[0][0]: str(row[1]) for row in found.content.rows}
    assert remarks["12"] == "recommended, front, verified"
    assert remarks["9"] == "runner-up, verified"
    assert remarks["0"] == "default"
    everything = trial_table(StudyView(STUDY, {}), limit=99).content
    remarks = {row[0][0]: f"{row[1]}: {row[-1]}" for row in everything.rows}
    assert remarks["17"] == "failed, misses the floor: out of memory"
    assert remarks["1"] == "predicted only: "


def test_a_variant_that_left_the_search_stays_on_record() -> None:
    rows = variant_table(StudyView(STUDY, {})).rows
    assert [row[1] for row in rows] == ["original", "faster", "worse, not searched"]
    assert rows[1][4][0] == "-0.70 points [-1.30, -0.10]"
