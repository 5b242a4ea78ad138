"""Student's t distribution, to double precision: what scipy gives, without scipy at run time."""

import functools
import math

_TINY = 1e-300
_EPSILON = 1e-16
_MAX_STEPS = 10_000


def cdf(t: float, degrees: float) -> float:
    """P(T <= t) with `degrees` > 0 degrees of freedom.   Source: Abramowitz & Stegun 26.7.1 and 26.5.8."""
    if degrees <= 0:
        raise ValueError(f"degrees of freedom must be > 0, got {degrees}")
    square = t * t
    if square == 0:  # also where a tiny t underflows
        return 0.5
    # A small tail is computed itself: as the rest of 1 it would lose its digits.
    if square < 1:
        central = _incomplete_beta(0.5, degrees / 2, square / (degrees + square))
        tail = (1 - central) / 2
    else:
        tail = _incomplete_beta(degrees / 2, 0.5, degrees / (degrees + square)) / 2
    return tail if t < 0 else 1 - tail


@functools.lru_cache(maxsize=256)
def quantile(p: float, degrees: float) -> float:
    """The t with P(T <= t) = p, for p in (0, 1). Bisection on `cdf`: slow, and right to the last digits."""
    if not 0 < p < 1:
        raise ValueError(f"p is {p}, must be in (0, 1)")
    if p > 0.5:
        return -quantile(1 - p, degrees)
    if p == 0.5:
        return 0.0
    low = -1.0
    while cdf(low, degrees) > p:
        low *= 2
    high = 0.0
    while True:
        middle = (low + high) / 2
        if middle in (low, high):
            return middle
        low, high = (middle, high) if cdf(middle, degrees) < p else (low, middle)


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function I_x(a, b) for 0 < x < 1."""
    if x > (a + 1) / (a + b + 2):  # the fraction converges fast only below it
        return 1 - _incomplete_beta(b, a, 1 - x)
    log_front = a * math.log(x) + b * math.log1p(-x) + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    return math.exp(log_front) / a / _continued_fraction(a, b, x)


def _continued_fraction(a: float, b: float, x: float) -> float:
    """Lentz's method for the fraction of I_x(a, b).   Source: Abramowitz & Stegun 26.5.8."""
    value, c, d = 1.0, 1.0, 0.0
    for step in range(1, _MAX_STEPS):
        m, odd = divmod(step, 2)
        if odd:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1 / ((1 + term * d) or _TINY)
        c = (1 + term / c) or _TINY
        value *= c * d
        if abs(c * d - 1) < _EPSILON:
            return value
    raise ArithmeticError(f"no convergence of the incomplete beta function at a={a}, b={b}, x={x}")
