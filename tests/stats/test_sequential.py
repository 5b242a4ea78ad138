import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.stats._sign_bets import log_evidence
from trivet.stats.errors import EmptySampleError
from trivet.stats.sequential import PairedSequence

log_ratios = st.lists(st.floats(-0.3, 0.3, allow_subnormal=False), min_size=1, max_size=14)


def sequence_of(
    values: "list[float] | np.typing.NDArray[np.float64]", margin: float = 0.05, **named: float
) -> PairedSequence:
    sequence = PairedSequence(margin, **named)  # type: ignore[arg-type]
    for value in values:
        sequence.add(float(value))
    return sequence


def verdicts(values: list[float], **named: float) -> list[str]:
    sequence = PairedSequence(0.05, **named)  # type: ignore[arg-type]
    found = []
    for value in values:
        sequence.add(value)
        found.append(sequence.verdict())
    return found


def test_a_clear_slowdown_is_worse_at_the_ninth_pair() -> None:
    assert verdicts([0.1] * 9) == ["cannot tell"] * 8 + ["worse"]


def test_a_clear_gain_is_better_and_more_may_be_better() -> None:
    assert verdicts([-0.1] * 9)[-1] == "better"
    assert sequence_of([0.1] * 9, smaller_is_better=False).verdict() == "better"
    assert sequence_of([-0.1] * 9, smaller_is_better=False).verdict() == "worse"


def test_no_difference_is_equivalent_at_the_fifth_pair() -> None:
    assert verdicts([0.0] * 5) == ["cannot tell"] * 4 + ["equivalent"]


def test_a_difference_that_is_certain_and_too_small_to_matter_is_equivalent() -> None:
    sequence = sequence_of([0.01] * 12)
    assert sequence.verdict() == "equivalent"
    assert sequence.interval().low > 1


def test_what_starts_of_a_program_differ_by_can_be_forgiven() -> None:
    assert sequence_of([0.02] * 9, margin=0.021).verdict() == "equivalent"
    assert sequence_of([0.04] * 12, margin=0.03, min_effect=0.01).verdict() == "worse"
    assert sequence_of([0.009, 0.3] * 12, margin=0.02).verdict() == "worse"
    assert sequence_of([0.009, 0.3] * 12, margin=0.02, min_effect=0.01).verdict() == "cannot tell"


def test_pairs_that_contradict_each_other_cannot_tell() -> None:
    sequence = sequence_of([0.1] * 12 + [-0.1] * 60)
    assert sequence.verdict() == "cannot tell"
    interval = sequence.interval()
    assert interval.low <= interval.estimate <= interval.high


@given(values=log_ratios)
@settings(max_examples=30, deadline=None)
def test_exchanging_the_sides_exchanges_the_verdict_and_inverts_the_interval(values: list[float]) -> None:
    one, other = sequence_of(values), sequence_of([-value for value in values])
    swapped = {"better": "worse", "worse": "better"}
    assert other.verdict() == swapped.get(one.verdict(), one.verdict())
    there, back = one.interval(), other.interval()
    assert math.log(there.estimate) == pytest.approx(-math.log(back.estimate), abs=1e-9)
    for bound, opposite in ((there.low, back.high), (there.high, back.low)):
        assert bound == pytest.approx(1 / opposite if opposite else math.inf, rel=1e-9)


@given(seed=st.integers(0, 2**32 - 1), centre=st.floats(-0.05, 0.05))
@settings(max_examples=30, deadline=None)
def test_what_lies_outside_of_the_interval_was_refuted(seed: int, centre: float) -> None:
    """Straight from the formula: so the interval misses a truth at most as often as evidence speaks against it."""
    values = 0.01 * np.random.default_rng(seed).standard_t(3, 16)
    interval = sequence_of(values).interval()
    below, above = (log_evidence(way * (values - centre)).max() >= math.log(200) for way in (1, -1))
    assert below or math.exp(centre) >= interval.low * (1 - 1e-9)
    assert above or math.exp(centre) <= interval.high * (1 + 1e-9)


@given(values=st.lists(st.floats(-0.3, 0.3, allow_subnormal=False), min_size=2, max_size=14))
@settings(max_examples=30, deadline=None)
def test_one_more_pair_never_widens_the_interval(values: list[float]) -> None:
    before, after = sequence_of(values[:-1]).interval(), sequence_of(values).interval()
    if log_evidence(np.array(values)).max() < math.log(200):  # or they may contradict each other
        assert after.low >= min(before.low, after.high) - 1e-6
    assert after.num_blocks == before.num_blocks + 1


def test_too_few_pairs_do_not_bound_the_ratio() -> None:
    interval = sequence_of([0.1] * 8).interval()
    assert (interval.low, interval.high) == (0, math.inf)
    assert interval.estimate == pytest.approx(math.exp(0.1))


def test_pairs_without_spread_bound_it_to_a_point() -> None:
    interval = sequence_of([0.1] * 9).interval()
    assert (interval.low, interval.high) == pytest.approx((math.exp(0.1), math.exp(0.1)))


def test_the_effect_has_the_interval_that_its_verdict_rests_on() -> None:
    effect = sequence_of([0.001, -0.001, 0.0, 0.002, -0.002, 0.0]).effect()
    assert effect.verdict == "equivalent"
    assert 1 / 1.05 < effect.ratio.low <= effect.ratio.high < 1.05
    worse = sequence_of([0.1, 0.12] * 5).effect()
    assert (worse.verdict, worse.margin) == ("worse", 0.05)
    assert worse.ratio == sequence_of([0.1, 0.12] * 5).interval()


def test_the_least_number_of_pairs_follows_from_alpha() -> None:
    """At most doubling: 2 / alpha is out of reach before log2(2 / alpha) pairs, whatever is seen."""
    for alpha in (0.05, 0.01, 0.001):
        found = verdicts([0.1] * 16, alpha=alpha)
        least = math.ceil(math.log2(float(2 / Fraction(str(alpha)))))
        assert set(found[: least - 1]) == {"cannot tell"}
        assert found[least + 2] == "worse"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_pair_without_a_ratio_is_refused(value: float) -> None:
    sequence = sequence_of([0.1])
    with pytest.raises(ValueError, match="pair 1 has the log ratio"):
        sequence.add(value)
    assert sequence.num_pairs == 1


def test_settings_that_promise_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="the margin is 0"):
        PairedSequence(0.0)
    with pytest.raises(ValueError, match="alpha is 1"):
        PairedSequence(0.05, 1.0)
    with pytest.raises(ValueError, match="alpha_equivalent is 0"):
        PairedSequence(0.05, alpha_equivalent=0.0)
    with pytest.raises(ValueError, match=r"min_effect is 0\.05"):
        PairedSequence(0.05, min_effect=0.05)
    with pytest.raises(EmptySampleError):
        PairedSequence(0.05).interval()
    with pytest.raises(EmptySampleError):
        PairedSequence(0.05).effect()
