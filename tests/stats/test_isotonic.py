"""The nearest falling curve: against its definition, and where it is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet.stats.errors import EmptySampleError
from trivet.stats.isotonic import falling

points = st.lists(st.tuples(st.integers(0, 12), st.integers(-3, 3)), min_size=1, max_size=25)


@given(points)
def test_it_falls_and_equals_the_min_max_formula(given_points: list[tuple[int, int]]) -> None:
    """At x: the least, over starts up to x, of the greatest mean from there to an end from x on; mirrored for falling."""
    x = np.array([one for one, _ in given_points], float)
    y = np.array([other for _, other in given_points], float)
    curve = falling(x, y)
    found = curve.at(np.unique(x))
    assert (np.diff(found) <= 1e-12).all()
    levels = np.unique(x)
    for place, level in enumerate(levels):
        wanted = min(
            max(y[(x >= start) & (x <= end)].mean() for end in levels[place:])
            for start in levels[: place + 1]
        )
        assert found[place] == pytest.approx(wanted, abs=1e-9)
        assert curve.at(level) == pytest.approx(wanted, abs=1e-9)


def test_beyond_the_ends_and_at_nan() -> None:
    curve = falling([1.0, 2.0], [5.0, 3.0])
    np.testing.assert_array_equal(curve.at([0.0, 1.5, 9.0, np.nan]), [5.0, 5.0, 3.0, 5.0])


def test_no_points_no_curve() -> None:
    with pytest.raises(EmptySampleError):
        falling([], [])
