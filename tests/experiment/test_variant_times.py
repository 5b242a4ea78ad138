"""Times of engines in turn, on engines whose times are known; and what is concluded from them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from trivet.catalog.records import Figure
from trivet.clock import FakeClock
from trivet.errors import EngineError
from trivet.experiment.variants.variant_times import (
    MIN_ROUNDS,
    Times,
    best_rows,
    interleaved_times,
    usual_length,
)
from trivet.experiment.variants.variant_verdict import Verdict, speed, verdict
from trivet.spec.signature import Signature

Arrays = Mapping[str, NDArray[Any]]
BATCHES = {0: lambda rows: {"x": np.zeros((rows, 1))}}


class _Timed:
    """An engine that moves the clock; larger batches than `most` fail."""

    signature = Signature((), ())

    def __init__(self, clock: FakeClock, start_ns: int, row_ns: int, most: int = 64) -> None:
        self.clock, self.start_ns, self.row_ns, self.most = clock, start_ns, row_ns, most
        self.order: list[str] = []

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        rows = len(inputs["x"])
        if rows > self.most:
            raise EngineError("too many rows")
        self.clock.advance_ns(self.start_ns + rows * self.row_ns)
        return {}

    def close(self) -> None:
        """Nothing is held."""


def _times(
    engines: Mapping[str, tuple[int, int]], max_rows: int = 8, budget_ns: int = 10**9, most: int = 64
) -> Any:
    clock = FakeClock()
    made = {name: _Timed(clock, *cost, most) for name, cost in engines.items()}
    return interleaved_times(made, BATCHES, max_rows, now_ns=clock.now_ns, budget_ns=budget_ns, seed=1)


def test_each_engine_gets_its_own_times_in_equal_rounds() -> None:
    found = _times({"a": (100, 10), "b": (50, 20)})
    assert set(found["a"][0]) == set(found["b"][0]) == {1, 2, 4, 8}
    assert set(found["a"][0][4]) == {140}
    assert set(found["b"][0][4]) == {130}
    assert {len(found[name][0][rows]) for name in "ab" for rows in (1, 2, 4, 8)} == {48}


def test_a_batch_of_one_is_measured_whatever_the_budget() -> None:
    found = _times({"a": (10**9, 0)}, budget_ns=1)
    assert set(found["a"][0]) == {1}
    assert len(found["a"][0][1]) == MIN_ROUNDS


def test_a_batch_that_one_engine_cannot_run_is_left_out_for_all() -> None:
    assert set(_times({"a": (1, 1)}, most=2)["a"][0]) == {1, 2}
    with pytest.raises(EngineError):
        _times({"a": (1, 1)}, most=0)


def test_the_best_batch_serves_most_rows() -> None:
    assert best_rows({1: [100], 2: [120], 4: [400]}) == 2
    assert usual_length({16: {}, 4: {}, 8: {}}) == 8


def _constant(one_ns: int, four_ns: int) -> Times:
    return {0: {1: [one_ns] * 16, 4: [four_ns] * 16}}


def test_speed_is_of_pairs_and_of_rows() -> None:
    found = speed(_constant(100, 200), _constant(50, 50))
    assert found.at_one.estimate == pytest.approx(2)
    assert found.at_best.estimate == pytest.approx(4)
    assert (found.best_batch, found.one_ns, found.best_ns) == (4, 50, 12.5)
    slower = speed(_constant(100, 200), _constant(200, 2000))
    assert slower.at_best.estimate == pytest.approx(0.25)  # one row in 200 ns against one in 50 ns
    assert slower.best_batch == 1


def test_what_hits_both_engines_of_a_round_cancels() -> None:
    noise = np.random.default_rng(3).lognormal(0, 1, 48)
    before = {0: {1: [int(1e6 * value) for value in noise]}}
    after = {0: {1: [int(5e5 * value) for value in noise]}}
    found = speed(before, after)
    assert (found.at_one.low, found.at_one.high) == pytest.approx((2, 2), rel=1e-4)


def _figure(estimate: float, low: float, high: float) -> Figure:
    return Figure(estimate=estimate, low=low, high=high, unit="accuracy")


def _verdict(before: Times, after: Times, **changes: Any) -> Verdict:
    settings: dict[str, Any] = {
        "accuracy": None,
        "difference": None,
        "floor": None,
        "answers_change": True,
        "smaller_is_better": False,
    }
    return verdict(speed(before, after), **(settings | changes))


SAME, FAST, SLOW = _constant(100, 200), _constant(50, 100), _constant(200, 900)
WORSE = _figure(-0.05, -0.07, -0.03)


@pytest.mark.parametrize(
    ("after", "changes", "word", "in_search"),
    [
        (FAST, {}, "faster", True),
        (FAST, {"difference": WORSE}, "faster", True),
        (FAST, {"accuracy": _figure(0.8, 0.78, 0.82), "floor": 0.85}, "worse", False),
        (FAST, {"accuracy": _figure(0.8, 0.78, 0.86), "floor": 0.85}, "faster", True),
        (FAST, {"accuracy": _figure(5, 4, 6), "floor": 3.0, "smaller_is_better": True}, "worse", False),
        (SAME, {}, "no gain", False),
        (SAME, {"difference": WORSE}, "worse", False),
        (SAME, {"difference": WORSE, "smaller_is_better": True}, "no gain", False),
        (SLOW, {}, "worse", False),
        (_constant(200, 100), {}, "faster", True),
    ],
)
def test_verdicts(after: Times, changes: dict[str, Any], word: str, in_search: bool) -> None:
    found = _verdict(SAME, after, **changes)
    assert (found.word, found.in_search) == (word, in_search)


def test_reasons_are_plain() -> None:
    assert _verdict(SAME, SAME).reason == (
        "no gain on this processor: 1.00 times as fast alone, 1.00 times at batch 4; answers not judged"
    )
    assert "slower" in _verdict(SAME, SLOW).reason
    assert "the same answers" in _verdict(SAME, FAST, answers_change=False).reason
    assert "answers differ by -0.05 [-0.07, -0.03] accuracy" in _verdict(SAME, FAST, difference=WORSE).reason


def test_a_variant_of_several_engines_is_searched() -> None:
    found = verdict(
        None, accuracy=None, difference=None, floor=None, answers_change=True, smaller_is_better=False
    )
    assert found.in_search
