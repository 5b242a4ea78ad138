"""What live blocks say, with the machine's mood taken out, and what they teach about the simulator."""

import math

import msgspec
import numpy as np
import pytest

from trivet.catalog.study import TrialBlock
from trivet.tune.beliefs import limit_sample, telling
from trivet.tune.blocks import Sample, estimates
from trivet.tune.choice import Choice
from trivet.tune.correction import Correction

A, B = Choice({"variant": "original", "threads": 1}), Choice({"variant": "original", "threads": 2})
C = Choice({"variant": "int8", "threads": 1})


@pytest.mark.parametrize("seed", range(8))
def test_a_mood_that_both_share_moves_no_difference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    moods = rng.uniform(-0.2, 0.2, int(rng.integers(3, 9))).tolist()
    first, difference = rng.uniform(-1, 1, 2).tolist()
    found = estimates(
        {
            "a": [Sample(i, first + mood) for i, mood in enumerate(moods)],
            "b": [Sample(i, first + difference + mood) for i, mood in enumerate(moods)],
        }
    )
    assert found["b"].mean - found["a"].mean == pytest.approx(difference, abs=1e-6)


def test_two_that_never_met_are_compared_through_a_third() -> None:
    """Blocks 3 to 5 are 20 % slower for everybody; only the incumbent saw both halves."""
    slow = math.log(0.8)
    samples = {
        "incumbent": [Sample(i, 0.0 if i < 3 else slow) for i in range(6)],
        "early": [Sample(i, 0.1) for i in range(3)],
        "late": [Sample(i, 0.1 + slow) for i in range(3, 6)],
    }
    found = estimates(samples)
    apart = found["late"].mean - found["early"].mean
    plain = slow
    assert abs(apart) < 0.5 * abs(plain), "most of what the halves differ by is gone"


def test_more_blocks_are_surer_and_a_sample_that_counts_little_moves_little() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(0, 0.05, 40)
    few = estimates({"a": [Sample(i, x) for i, x in enumerate(values[:6])]})["a"]
    many = estimates({"a": [Sample(i, x) for i, x in enumerate(values)]})["a"]
    assert many.error < few.error
    wild = [*(Sample(i, x) for i, x in enumerate(values)), Sample(99, 5.0, weight=1e-6)]
    assert estimates({"a": wild})["a"].mean == pytest.approx(many.mean, abs=1e-3)


def test_nothing_measured_has_no_estimate() -> None:
    assert estimates({}) == {}
    assert set(estimates({"a": [], "b": [Sample(0, 1.0)]})) == {"b"}


@pytest.mark.parametrize(("latency_ms", "direction"), [(5.0, 1), (20.0, -1), (None, -1)])
def test_a_block_near_the_limit_says_on_which_side_it_was(latency_ms: float | None, direction: int) -> None:
    values = {} if latency_ms is None else {"slo_latency_ms": latency_ms}
    sample = limit_sample(TrialBlock(block=0, rate_rps=100.0, values=values), 0.2, 10_000_000)
    assert (sample.value - math.log(100)) * direction > 0


def test_a_block_at_the_limit_counts_fully_and_says_its_rate() -> None:
    block = TrialBlock(block=0, rate_rps=100.0, values={"slo_latency_ms": 10.0})
    assert limit_sample(block, 0.2, 10_000_000) == Sample(0, math.log(100), 1.0)


def test_a_block_is_read_by_what_blocks_like_it_see_at_the_limit() -> None:
    block = TrialBlock(block=0, rate_rps=100.0, values={"slo_latency_ms": 6.0}, at_limit_ms=6.0, slope=0.1)
    assert limit_sample(block, 0.2, 10_000_000) == Sample(0, math.log(100), 1.0)
    further = msgspec.structs.replace(block, values={"slo_latency_ms": 3.0})
    assert limit_sample(further, 0.2, 10_000_000).value == pytest.approx(math.log(100) + 0.1 * math.log(2))
    with_room = msgspec.structs.replace(block, values={"slo_latency_ms": 2.9})
    assert telling([with_room, block], 0.2, 10_000_000) == [block]


def test_blocks_that_were_nowhere_near_do_not_count_beside_one_that_was() -> None:
    far = [TrialBlock(block=i, rate_rps=10.0 * 2**i, values={"slo_latency_ms": 0.1}) for i in range(3)]
    near = TrialBlock(block=3, rate_rps=80.0, values={"slo_latency_ms": 9.0})
    assert telling([*far, near], 0.2, 10_000_000) == [near]
    assert telling(far, 0.2, 10_000_000) == far[-1:]
    assert telling([], 0.2, 10_000_000) == []


def test_what_one_trial_shows_moves_all_and_its_own_variant_most() -> None:
    mean, covariance = Correction([A], [0.10], [0.005]).predict([A, B, C])
    assert 0.10 > mean[0] > mean[1] > mean[2] > 0
    spreads = np.sqrt(np.diag(covariance))
    assert spreads[0] < spreads[1] < spreads[2]


def test_without_trials_forecasts_stand_as_they_are() -> None:
    mean, covariance = Correction().predict([A, C])
    assert mean.tolist() == [0.0, 0.0]
    assert covariance[0, 0] > covariance[0, 1] > 0


@pytest.mark.parametrize("num", range(3, 9))
def test_a_simulator_that_is_always_right_is_trusted_more(num: int) -> None:
    choices = [Choice({"variant": "original", "threads": i}) for i in range(num)]
    right = Correction(choices, [0.0] * num, [0.002] * num).predict([C])[1][0, 0]
    wrong = Correction(choices, [0.3 * (-1) ** i for i in range(num)], [0.002] * num).predict([C])[1][0, 0]
    assert right < wrong


def test_choices_are_equal_by_content_and_tell_one_from_true() -> None:
    assert Choice({"a": 1, "b": "x"}) == Choice({"b": "x", "a": 1})
    assert hash(Choice({"a": 1, "b": "x"})) == hash(Choice({"b": "x", "a": 1}))
    assert Choice({"a": 1}) != Choice({"a": True})
    assert Choice({"a": 1, "b": False}).told() == "a=1 b=False"
