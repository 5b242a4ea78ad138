"""How many queries MLPerf wants for a percentile, and when fewer are enough.

Its bound takes queries for independent, which those of a queue are not: a tail that is VALID by these rules has no
interval that holds. They are here to compare with what others publish.
Source: mlcommons/inference_policies, inference_rules.adoc, "Early Stopping" and appendix on numbers of queries.
"""

import math

from trivet.stats.errors import TooFewError

CONFIDENCE = 0.99
_MULTIPLE = 8192  # numbers of queries are rounded up to whole multiples of it


def num_queries(p: float, confidence: float = CONFIDENCE) -> int:
    """Queries that give percentile `p` within a margin of (1 - p) / 20, if they are independent."""
    from scipy import special

    margin = (1 - p) / 20
    z = float(special.ndtri((1 + confidence) / 2))
    return round(z * z * p * (1 - p) / margin**2)


def rounded_queries(p: float, confidence: float = CONFIDENCE) -> int:
    return math.ceil(num_queries(p, confidence) / _MULTIPLE) * _MULTIPLE


def least_within(num_over: int, p: float, confidence: float = CONFIDENCE, tolerance: float = 0.0) -> int:
    """The fewest queries within the latency that outweigh `num_over` queries over it.

    The least h with I(p - d; h, t + 1) <= 1 - c: the chance of at most t over among h + t, were the share within
    the latency just p - d, is no more than 1 - c. Found by doubling and halving: the chance falls as h grows.
    """
    from scipy import special

    def is_enough(within: int) -> bool:
        return float(special.betainc(within, num_over + 1, p - tolerance)) <= 1 - confidence

    high = 1
    while not is_enough(high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high


def estimate(sorted_latencies_ns: list[int], p: float, confidence: float = CONFIDENCE) -> int:
    """MLPerf's estimate of percentile `p` from few queries: the highest latency after the t - 1 highest are thrown away.

    t is the largest number of queries over a latency that this many queries outweigh.
    Raises: TooFewError: not even t = 1 is outweighed.
    """
    num = len(sorted_latencies_ns)
    needed = least_within(1, p, confidence) + 1
    if num < needed:
        raise TooFewError(f"{num} queries, at least {needed} are needed for the {p:.0%} percentile")
    low, high = 1, num  # `low` is outweighed, `high` is not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if least_within(middle, p, confidence) + middle <= num else (low, middle)
    return sorted_latencies_ns[num - low]
