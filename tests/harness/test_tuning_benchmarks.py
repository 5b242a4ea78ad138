"""The parts of the tuning benchmarks that decide what they say: limits from blocks, regret, other searches, the page."""

import math
from pathlib import Path

import msgspec
import numpy as np
import pytest

from benchmarks import _tuning_page
from benchmarks._kept_rows import Block, Head, KeptBench, Rows, crossing, lines_of
from benchmarks._other_searches import SEARCHES, Found, Truth
from benchmarks._simulated_bench import SMALL, SimulatedBench
from benchmarks._simulated_services import hidden
from benchmarks.tune_regret import of_found, volume
from benchmarks.tune_truth import told
from trivet.catalog.study import Goal
from trivet.simulate.profile import ServiceProfile
from trivet.tune.choice import Choice

BUDGET_MS = 50.0


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> SimulatedBench:
    return SimulatedBench(hidden(5), tmp_path_factory.mktemp("service"), 1, SMALL)


@pytest.fixture(scope="module")
def goal() -> Goal:
    return Goal(slo_latency_ns=50_000_000, accuracy_floor=0.905, metric="accuracy")


@pytest.fixture(scope="module")
def truth(bench: SimulatedBench) -> Truth:
    """Rates that rise with the batch, one variant under the floor."""
    figures, accuracies = {}, {}
    for choice in bench.space.choices():
        accuracy = bench.accuracy(choice)
        assert accuracy is not None
        speed = {"original": 1.0, "int8-dynamic": 2.0, "distilled": 5.0}[str(choice["variant"])]
        figures[choice] = (
            100 * speed + int(choice["max_batch_size"]),
            10 / speed,
            bench.true_accuracy(choice),
        )
        accuracies[choice] = accuracy
    return Truth(bench.space, figures, accuracies, bench.space.default)


def blocks_at(limit: float, rates: list[float], levers: dict[str, int], part: str = "limit") -> list[Block]:
    """Latency as the cube of the rate, within the budget up to the limit."""
    return [
        Block(
            slice_=0,
            part=part,
            levers=levers,
            rate_rps=rate,
            figures={"slo_latency_ms": BUDGET_MS * (rate / limit) ** 3, "latency_p50_ms": 1.0},
        )
        for rate in rates
    ]


def test_the_limit_is_where_latency_passes_the_budget() -> None:
    points = [(math.log(rate), 3 * math.log(rate / 200)) for rate in (150, 170, 190, 210, 230)]
    rate, error = crossing(points, 0.0)
    assert rate == pytest.approx(200, rel=1e-6)
    assert error == pytest.approx(0, abs=1e-9)


def test_a_limit_between_results_and_none_lies_in_the_middle() -> None:
    points = [(math.log(100), -1.0), (math.log(400), math.inf)]
    rate, error = crossing(points, 0.0)
    assert rate == pytest.approx(200)
    assert error > 0


@pytest.mark.parametrize(
    ("points", "expected"),
    [([], 0.0), ([(1.0, 1.0)], 0.0), ([(1.0, -1.0), (2.0, -0.5)], math.exp(2.0))],
)
def test_a_limit_that_was_not_passed_is_as_far_as_was_looked(
    points: list[tuple[float, float]], expected: float
) -> None:
    assert crossing(points, 0.0) == (pytest.approx(expected), math.inf)


def test_rates_at_which_too_many_got_no_answer_say_as_much_as_those_that_are_late() -> None:
    """A slope through what was answered alone would put the limit beyond rates that were never within the budget."""
    within = [(math.log(rate), -0.3) for rate in (80.0, 85.0, 90.0, 95.0)]
    beyond = [(math.log(rate), math.inf) for rate in (100.0, 105.0, 110.0)]
    rate, error = crossing([*within, *beyond], 0.0)
    assert 92 < rate < 102
    assert error < 0.05


def test_regret_and_volume_of_the_best_and_of_nothing(truth: Truth, goal: Goal) -> None:
    allowed = {choice: truth.worth(choice, goal) for choice in truth.figures}
    best = max(allowed, key=lambda choice: allowed[choice])
    assert best["variant"] == "int8-dynamic"
    assert of_found(Found(best, list(truth.figures)), truth, goal) == {
        "regret": 0.0,
        "volume": pytest.approx(1.0),
    }
    nothing = of_found(Found(None, [truth.default]), truth, goal)
    assert nothing["regret"] == 1.0
    assert 0 < nothing["volume"] < 1
    assert volume(truth, {truth.default: truth.figures[truth.default]}) == pytest.approx(
        math.log(1.5) ** 2 * truth.figures[truth.default][2] / 3
    )


@pytest.mark.parametrize("name", SEARCHES)
def test_other_searches_are_repeatable_keep_to_their_trials_and_to_the_floor(
    name: str, truth: Truth, goal: Goal
) -> None:
    found = SEARCHES[name](truth, goal, 12, 3)
    assert len(found.tried) <= 12
    assert truth.default in found.tried
    assert found.chosen is not None
    assert truth.is_allowed(found.chosen, goal)
    assert SEARCHES[name](truth, goal, 12, 3) == found


def test_a_choice_without_a_truth_is_like_the_one_next_to_it(truth: Truth) -> None:
    near = truth.like(truth.default.with_(max_batch_size=63))
    assert {name: near[name] for name in near if name != "max_batch_size"} == {
        name: truth.default[name] for name in near if name != "max_batch_size"
    }


def rows_of(bench: SimulatedBench, goal: Goal, blocks: list[Block]) -> Rows:
    head = Head(
        name="x",
        goal=goal,
        reference_rps=50.0,
        default=dict(bench.space.default),
        profile=ServiceProfile(service="x", models={}),
        machine="m",
        seconds=1.0,
    )
    return Rows(head, blocks, bench.space, {})


def test_regret_is_the_share_of_the_best_that_clears_the_floor_with_its_error(
    bench: SimulatedBench, goal: Goal
) -> None:
    goal = msgspec.structs.replace(goal, accuracy_floor=None)
    best, worse = bench.space.default.with_(max_batch_size=4), bench.space.default.with_(max_batch_size=1)
    blocks = [
        *blocks_at(200, [180, 200, 220], dict(best)),
        *blocks_at(150, [135, 150, 165], dict(worse)),
    ]
    rows = rows_of(bench, goal, blocks)
    assert rows.regret(best, "limit")[0] == 0.0
    share, error = rows.regret(worse, "limit")
    assert share == pytest.approx(0.25, abs=0.01)
    assert error == pytest.approx(
        0.75 * math.hypot(rows.rate(best, "limit")[1], rows.rate(worse, "limit")[1])
    )
    text = told(rows, worse)
    assert "2 configurations of x, of which 2 run differently" in text
    assert text.splitlines()[-1].startswith("regret 25")


def test_what_runs_the_same_is_one_configuration_whatever_was_declared(
    bench: SimulatedBench, goal: Goal
) -> None:
    single = bench.space.default.with_(max_batch_size=1)
    waiting = single.with_(deferral="1ms")
    blocks = [*blocks_at(200, [100, 200], dict(single)), *blocks_at(200, [300], dict(waiting))]
    rows = rows_of(bench, goal, blocks)
    assert len(rows.of(single, "limit")) == 2  # the profile does not say that they run the same
    known = msgspec.structs.replace(rows.head, profile=bench.profile([single], budget_ns=10**9))
    rows = Rows(known, blocks, bench.space, {})
    assert rows.kind(single) == rows.kind(waiting)
    assert len(rows.of(single, "limit")) == len(rows.of(waiting, "limit")) == 3


def test_kept_rows_answer_between_the_rates_that_were_offered(bench: SimulatedBench, goal: Goal) -> None:
    default = bench.space.default
    kept = KeptBench(rows_of(bench, goal, blocks_at(200, [100, 200, 300], dict(default))), seed=1)

    def at(rate: float) -> dict[str, float]:
        return dict(kept.measure([default], {default: rate}, 1.0, 0)[default].figures)

    assert at(150)["slo_latency_ms"] == pytest.approx(BUDGET_MS * 0.75**3)
    assert at(200)["slo_latency_ms"] == pytest.approx(BUDGET_MS)
    assert "slo_latency_ms" not in at(301)
    other = default.with_(max_batch_size=64)
    assert kept.measure([other], {other: 100.0}, 1.0, 1)[other].failure == "it was not measured live"
    assert kept.now_ns() == 8 * 10**9  # four blocks of a second, two starts of two


def test_a_slow_slice_is_made_up_for_by_its_calibration(bench: SimulatedBench, goal: Goal) -> None:
    default = dict(bench.space.default)
    slow = [
        msgspec.structs.replace(block, slice_=1) for block in blocks_at(160, [120, 150, 170, 200], default)
    ]
    calibrations = [
        Block(slice_=number, part="calibration", levers=default, rate_rps=50, figures={"latency_p50_ms": p50})
        for number, p50 in ((0, 1.0), (1, 1.25), (2, 1.0))
    ]
    rows = rows_of(bench, goal, [*slow, *calibrations])
    assert rows.rate(Choice(default), "limit")[0] == pytest.approx(160 * 1.25, rel=0.01)


def test_a_line_that_was_cut_off_is_left_out(bench: SimulatedBench, goal: Goal, tmp_path: Path) -> None:
    rows = rows_of(bench, goal, blocks_at(200, [100.0], dict(bench.space.default)))
    path = tmp_path / "truth.jsonl"
    lines = [msgspec.json.encode(rows.head), msgspec.json.encode(rows.blocks[0])]
    path.write_bytes(b"\n".join(lines) + b'\n{"slice": 0, "pa')
    head, blocks = lines_of(path)
    assert head == rows.head
    assert blocks == list(rows.blocks)


def test_the_page_says_what_is_missing_and_counts_what_is_there() -> None:
    assert _tuning_page.promises_section([]).endswith("Not measured yet.\n")
    kept = {
        "service": "s",
        "meets": True,
        "violated": [],
        "slo_ms": 4.0,
        "gain": 2.0,
        "live_trials": 7,
        "stated": [90.0, 100.0, 110.0],
        "true_rps": 95.0,
        "slo_at_low_end": True,
    }
    lost = {**kept, "violated": ["latency"], "true_rps": 80.0}
    text = _tuning_page.promises_section([kept, lost, {**kept, "meets": False}])
    assert (
        "1 of 2 recommendations violated, at most 99% with 95 % confidence; 1 of 3 tunes recommended nothing"
        in text
    )
    assert "held the truth in 1 of 2" in text
    side = {"ratio": {"estimate": 1.1, "low": 1.0, "high": 1.2}, "levers": {"threads": 2}}
    record = {
        "model": "m",
        "slo_ms": 5.0,
        "machine": "x",
        "same answers": side,
        "all": {"why": "nothing meets"},
    }
    gains = _tuning_page.gains_section([record])
    assert "Defaults at least 85 % of the best with the same answers: 1 of 1." in gains
    assert "1.1 times [1, 1.2]" in gains
    searches = {"random, 12 trials": [{"regret": 0.1, "volume": 0.8}, {"regret": 0.3, "volume": 0.9}]}
    regret = _tuning_page.regret_section([{"service": "s", "configurations": 84, "searches": searches}])
    assert "| random, 12 trials | 20.0% | 30.0% | 85.0% | 80.0% |" in regret


def test_true_rates_follow_the_variants_speed(bench: SimulatedBench) -> None:
    """A form that is twice as fast bears more; the truth is no accident of a seed."""
    slow, fast = (bench.space.default.with_(variant=name) for name in ("original", "int8-dynamic"))
    rates = [bench.true_rate_rps(choice, num_requests=300, seed=1, replications=1) for choice in (slow, fast)]
    assert rates[1] > rates[0]
    assert np.isfinite(rates).all()
