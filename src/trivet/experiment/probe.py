"""A rate for those who give none: half of what a few users get when each waits for the answer."""

import math
from collections.abc import Callable, Sequence

from trivet.errors import UserError
from trivet.load.job import ClosedLoop, HttpRequest, Job
from trivet.load.result import Result

NUM_USERS = 16
SHARE = 0.5  # of the highest rate: far enough from saturation that a queue forms and empties again
DURATIONS_NS = (700_000_000, 5_000_000_000)  # the longer one where the first saw too few answers
WARMUP_SHARE = 0.3
MIN_ANSWERS = 50

Offer = Callable[[Job], Result]


def highest_rate_rps(offer: Offer, target: str, requests: Sequence[HttpRequest], seed: int) -> float:
    """Answers a second to users who wait for theirs.

    Raises: UserError: none was answered with a result; says what came instead.
    """
    rate = 0.0
    for duration_ns in DURATIONS_NS:
        warmup_ns = int(WARMUP_SHARE * duration_ns)
        load = ClosedLoop(num_users=NUM_USERS, duration_ns=duration_ns)
        job = Job(
            target=target,
            requests=list(requests),
            load=load,
            seed=seed,
            warmup_ns=warmup_ns,
            min_connections=NUM_USERS,
        )
        rows = offer(job).measured()
        answered = rows.words["outcome"].equal("ok", "late")
        if not answered.any():
            continue
        span_ns = int(rows["done_ns"].max()) - int(rows["intended_ns"].min())
        rate = float(answered.sum()) / max(1, span_ns) * 1e9
        if answered.sum() >= MIN_ANSWERS:
            return rate
    if not rate:
        raise UserError(
            f"{target} answered nothing when it was tried with {NUM_USERS} users; see what it says"
        )
    return rate


def comfortable_rate_rps(highest_rps: float) -> float:
    """Half of the highest rate, rounded down to two digits, so that it can be typed again."""
    rate = SHARE * highest_rps
    step = 10.0 ** (math.floor(math.log10(rate)) - 1)
    return float(f"{max(step, math.floor(rate / step) * step):.6g}")
