"""How much of the budget of wrong answers may be spent by now, so that what comes out stays inside it."""

import math

# One-sided: how many standard deviations what is claimed stays under the budget.
_DEVIATIONS = 2.0
# Of what is claimed to be wrong, relative: how far claims as a whole may be off; on one stream it was 40 %.
_CLAIMS_OFF = 0.3
_AHEAD = 1_000  # requests, at least, over which what is left of the budget may be spent


def allowance(budget: float, num_requests: int) -> float:
    """The expected number of wrong answers that may have been given after so many requests.

    The largest S with S + z * sqrt(S + (rho * S)^2) <= budget * requests: S itself, the chance of Poisson's law, and
    claims that are off by rho. A small cache spends less of its budget than a large one.
    """
    total = budget * num_requests
    # With u = S: z^2 (u + rho^2 u^2) = (total - u)^2
    a = 1 - (_DEVIATIONS * _CLAIMS_OFF) ** 2
    b = 2 * total + _DEVIATIONS**2
    return (b - math.sqrt(b * b - 4 * a * total * total)) / (2 * a)


def horizon(num_requests: int) -> int:
    """The number of requests for which the budget is planned after so many: twice as many, or some more at first."""
    return num_requests + max(_AHEAD, num_requests)
