"""What happened to each request of a run, as the client writes it down."""

import bisect
from collections.abc import Sequence
from typing import Any

from trivet.spec.row import ABSENT

# (instant, bytes of the answer's body so far), as they came in.
Chunks = list[tuple[int, int]]


class Record:
    """By index of the request. Lists, not arrays: the loop writes one element at a time."""

    def __init__(self, intended_ns: list[int], *, keep_chunks: bool = False) -> None:
        num = len(intended_ns)
        self.intended_ns = intended_ns
        self.sent_ns = [ABSENT] * num
        self.first_byte_ns = [ABSENT] * num
        self.done_ns = [ABSENT] * num
        self.status = [0] * num
        self.server_timing: list[bytes | None] = [None] * num
        self.answers: list[bytes] = [b""] * num
        self.chunks: list[Chunks] = [[] for _ in range(num)] if keep_chunks else []
        self.failures: dict[int, tuple[str, str]] = {}  # outcome and reason of what got no whole answer
        self.send_lag_ns = [ABSENT] * num  # ABSENT for a request that had to wait for a free connection
        self.busy_ns = 0  # time in turns of the loop that found something to do
        self.busy_share = 0.0  # of the time of the run, of all that its loop had to do
        self.start_ns = self.end_ns = 0
        self.is_partial = False  # ended before its time
        self._keep_chunks = keep_chunks

    def add(self, intended_ns: int) -> None:
        for column in (self.sent_ns, self.first_byte_ns, self.done_ns, self.send_lag_ns):
            column.append(ABSENT)
        self.intended_ns.append(intended_ns)
        self.status.append(0)
        self.server_timing.append(None)
        self.answers.append(b"")
        if self._keep_chunks:
            self.chunks.append([])

    def bring_forward(self, by_ns: Sequence[int]) -> None:
        """Every instant of each request so much earlier, and the end as much as the last one."""
        for column in (self.intended_ns, self.sent_ns, self.first_byte_ns, self.done_ns):
            for request, (at_ns, gap_ns) in enumerate(zip(column, by_ns, strict=False)):
                if at_ns != ABSENT:
                    column[request] = at_ns - gap_ns
        for request, gap_ns in enumerate(by_ns[: len(self.chunks)]):
            self.chunks[request] = [(at_ns - gap_ns, num) for at_ns, num in self.chunks[request]]
        self.end_ns -= by_ns[len(self.intended_ns) - 1] if self.intended_ns else 0

    def cut(self, now_ns: int, num_least: int) -> None:
        """Forget the requests intended after `now_ns`, beyond the first `num_least`: they were never offered."""
        num = max(num_least, bisect.bisect_right(self.intended_ns, now_ns))
        self.is_partial = True
        columns: tuple[list[Any], ...] = (
            self.intended_ns,
            self.sent_ns,
            self.first_byte_ns,
            self.done_ns,
            self.status,
            self.server_timing,
            self.answers,
            self.chunks,
            self.send_lag_ns,
        )
        for column in columns:
            del column[num:]
