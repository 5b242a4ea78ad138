import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet.stats.errors import EmptySampleError
from trivet.stats.percentile import percentile_ns

samples = st.lists(st.integers(0, 10**12), min_size=1, max_size=60)


def by_definition(latencies_ns: list[int], p: float) -> int:
    """The slow way: the first value in order that covers the share."""
    ordered = sorted(latencies_ns)
    return next(value for i, value in enumerate(ordered, 1) if i >= round(p * len(ordered), 9))


@given(latencies_ns=samples, percent=st.integers(1, 100))
def test_the_percentile_is_the_smallest_value_that_covers_the_share(
    latencies_ns: list[int], percent: int
) -> None:
    p = percent / 100
    assert percentile_ns(np.array(latencies_ns), p) == by_definition(latencies_ns, p)


@pytest.mark.parametrize(
    ("p", "expected"), [(0.01, 1), (0.07, 7), (0.29, 29), (0.5, 50), (0.99, 99), (1.0, 100)]
)
def test_the_rank_of_a_whole_percent_of_a_hundred_is_that_percent(p: float, expected: int) -> None:
    assert percentile_ns(np.arange(1, 101)[::-1], p) == expected


def test_an_empty_sample_has_no_percentile() -> None:
    with pytest.raises(EmptySampleError, match=r"0\.99"):
        percentile_ns(np.array([], np.int64), 0.99)


@pytest.mark.parametrize("p", [0.0, -0.1, 1.01, math.nan])
def test_a_share_outside_of_zero_to_one_is_refused(p: float) -> None:
    with pytest.raises(ValueError, match="must be in"):
        percentile_ns(np.array([1]), p)
