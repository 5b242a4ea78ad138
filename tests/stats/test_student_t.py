import math

import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from trivet.stats import student_t

degrees_of_freedom = st.one_of(st.integers(1, 30), st.floats(0.5, 1e5))


@given(t=st.floats(-1e4, 1e4), degrees=degrees_of_freedom)
def test_the_distribution_is_that_of_scipy(t: float, degrees: float) -> None:
    assert student_t.cdf(t, degrees) == pytest.approx(scipy.stats.t.cdf(t, degrees), rel=1e-9, abs=1e-300)


@given(p=st.floats(1e-9, 1 - 1e-9), degrees=degrees_of_freedom)
def test_the_quantile_is_that_of_scipy(p: float, degrees: float) -> None:
    assert student_t.quantile(p, degrees) == pytest.approx(scipy.stats.t.ppf(p, degrees), rel=1e-7, abs=1e-9)


@pytest.mark.parametrize(
    ("degrees", "expected"), [(1, 12.706), (2, 4.303), (9, 2.262), (30, 2.042), (1000, 1.962)]
)
def test_the_printed_table_of_the_975_quantile(degrees: int, expected: float) -> None:
    assert round(student_t.quantile(0.975, degrees), 3) == expected


def test_one_degree_of_freedom_is_the_cauchy_distribution() -> None:
    assert student_t.quantile(0.75, 1) == pytest.approx(1, rel=1e-14)
    assert student_t.cdf(-1, 1) == pytest.approx(0.25, rel=1e-14)


@pytest.mark.parametrize("p", [0.0, 1.0, -1.0, math.nan])
def test_a_probability_without_a_quantile_is_refused(p: float) -> None:
    with pytest.raises(ValueError, match="must be in"):
        student_t.quantile(p, 5)


def test_no_degrees_of_freedom_are_refused() -> None:
    with pytest.raises(ValueError, match="must be > 0"):
        student_t.cdf(1, 0)
