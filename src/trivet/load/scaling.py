"""A recorded trace at another load, in one of three ways. Which one is a statement about the users: so it is said.

users      as many times the users, each as before and independent of the others: the trace and copies of it,
           each copy moved by a random time (what leaves at the end comes in at the start). A part of a user base
           is a part of its requests, drawn at random. Variances and means of counts both grow by the factor, so
           the index of dispersion stays (a part of a copy brings it nearer to 1), and peaks flatten.
amplitude  the same users, each that much busier: the rate curve, taken over windows, times the factor. The same as
           above, but copies move only within each window. The count of every window is times the factor, so
           peaks over the mean stay; inside a window dispersion stays. A part of a copy is so many consecutive
           arrivals of it, slowed down to fill the window: clumps stay clumps.
time       the trace played faster: every instant divided by the factor. The index of dispersion of windows of
           length w is then that of windows of length w times the factor before.

Counts are exact: round(factor * n) for `users` and `amplitude`, within 1 of factor times the count for each window.
"""

from typing import Literal, get_args

import numpy as np

from trivet.errors import SpecError
from trivet.load.arrivals import MAX_ARRIVALS, NS, Instants

How = Literal["users", "amplitude", "time"]
WINDOW_NS = 10 * NS


def scaled(
    instants_ns: Instants,
    factor: float,
    how: How,
    rng: np.random.Generator,
    *,
    duration_ns: int | None = None,
    window_ns: int = WINDOW_NS,
) -> Instants:
    """The trace at `factor` times its load; int64, ascending, from 0.

    Args: instants_ns: shape (n,), ascending.  duration_ns: of the trace: the last instant and 1, if not given;
    `time` divides it by the factor, the others keep it.  window_ns: of `amplitude`: the rate curve is what changes
    from window to window, dispersion what happens inside one.
    Raises: SpecError: a factor that is not positive, a way that there is not, instants out of order or beyond
    the duration, or more arrivals than fit a run.
    """
    end_ns = int(instants_ns[-1]) + 1 if len(instants_ns) else 1
    duration_ns = end_ns if duration_ns is None else duration_ns
    _check(instants_ns, factor, how, duration_ns, end_ns)
    if how == "time":
        return (instants_ns / factor).astype(np.int64)
    num_wanted = round(factor * len(instants_ns))
    if how == "users":
        return _users(instants_ns, num_wanted, duration_ns, rng)
    return _amplitude(instants_ns, factor, duration_ns, window_ns, rng)


def _check(instants_ns: Instants, factor: float, how: str, duration_ns: int, end_ns: int) -> None:
    if how not in get_args(How):
        raise SpecError(f"a trace is scaled by {', '.join(get_args(How))}, got {how!r}")
    if not 0 < factor < np.inf:
        raise SpecError(f"a trace is scaled by a factor above 0, got {factor:g}")
    if factor * len(instants_ns) > MAX_ARRIVALS and how != "time":
        raise SpecError(
            f"{factor:g} times {len(instants_ns):,} arrivals are more than the {MAX_ARRIVALS:,} that fit one run; "
            "scale by less, or cut the trace"
        )
    if len(instants_ns) and (instants_ns[0] < 0 or (np.diff(instants_ns) < 0).any()):
        raise SpecError("the instants of a trace ascend from 0; sort them before they are scaled")
    if end_ns > duration_ns:
        raise SpecError(f"the trace ends at {end_ns:,} ns, after its duration of {duration_ns:,} ns")


def _users(instants_ns: Instants, num_wanted: int, duration_ns: int, rng: np.random.Generator) -> Instants:
    if not len(instants_ns):
        return instants_ns
    num_copies, num_part = divmod(num_wanted, len(instants_ns))
    copies = [instants_ns if i == 0 else _moved(instants_ns, duration_ns, rng) for i in range(num_copies)]
    if num_part:
        copy = _moved(instants_ns, duration_ns, rng) if num_copies else instants_ns
        copies.append(rng.choice(copy, num_part, replace=False))
    return _merged(copies)


def _amplitude(
    instants_ns: Instants, factor: float, duration_ns: int, window_ns: int, rng: np.random.Generator
) -> Instants:
    windows, starts, counts = np.unique(instants_ns // window_ns, return_index=True, return_counts=True)
    # Rounding the running total, not each window: no window is off by more than 1, and the whole is exact.
    totals = np.round(factor * np.cumsum(counts)).astype(np.int64)
    wanted = np.diff(totals, prepend=0)
    merged = []
    for window, start, count, num_wanted in zip(windows, starts, counts, wanted, strict=True):
        begin_ns = int(window) * window_ns
        length_ns = min(window_ns, duration_ns - begin_ns)
        offsets = instants_ns[start : start + count] - begin_ns
        merged.append(begin_ns + _within(offsets, int(num_wanted), length_ns, rng))
    return _merged(merged)


def _within(offsets: Instants, num_wanted: int, length_ns: int, rng: np.random.Generator) -> Instants:
    """`num_wanted` arrivals in a window, made of whole copies of it and one part of a copy; not sorted."""
    num_copies, num_part = divmod(num_wanted, len(offsets))
    copies = [offsets if i == 0 else _moved(offsets, length_ns, rng) for i in range(num_copies)]
    if num_part:
        first = int(rng.integers(len(offsets)))
        since_first = (np.roll(offsets, -first) - offsets[first]) % length_ns
        # The next one's instant is where the part ends: there the window shall end. None where a clump goes on.
        extent_ns = int(since_first[num_part])
        slowed = since_first[:num_part] * (length_ns / extent_ns if extent_ns else 1.0)
        copies.append(_moved(slowed.astype(np.int64), length_ns, rng))
    return np.concatenate(copies) if copies else offsets[:0]


def _moved(instants_ns: Instants, length_ns: int, rng: np.random.Generator) -> Instants:
    return (instants_ns + rng.integers(length_ns)) % length_ns


def _merged(parts: list[Instants]) -> Instants:
    merged = np.concatenate(parts) if parts else np.array([], np.int64)
    merged.sort()
    return merged
