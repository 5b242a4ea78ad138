"""Minimum shares: under overload no class gets less than a small part of the cores while it has work."""

from __future__ import annotations

from typing import Final

from trivet.schedule.model import Class, Lane

# Core time over which shares are judged. Long enough for some batches of the slowest class, short enough that a
# starved class is served within its clients' patience.
WINDOW_NS: Final = 1_000_000_000


def charge(lane: Lane, owner: Class, cost_ns: int) -> None:
    """`cost_ns` of core time went to a class. Old service counts half after each window: no clock is needed."""
    owner.served_ns += cost_ns
    lane.served_ns += cost_ns
    if lane.served_ns > WINDOW_NS * lane.num_cores:
        lane.served_ns = 0
        for other in lane.classes:
            other.served_ns //= 2
            lane.served_ns += other.served_ns


def owed(lane: Lane, owner: Class, min_share: float) -> bool:
    """Whether a class is below its minimum share: its model's, or `min_share` where that has none.

    With many classes the shares promised never exceed one half.
    """
    declared = owner.model.min_share
    share = min(min_share if declared is None else declared, 0.5 / len(lane.classes))
    return owner.served_ns < share * lane.served_ns
