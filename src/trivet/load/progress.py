"""What a run looks like while it lasts. Costs an addition for each answer, and a glance twice a second."""

from collections.abc import Callable
from typing import Protocol

import msgspec

from trivet.spec.row import ABSENT

PERIOD_NS = 500_000_000
NS = 1_000_000_000
# 32 buckets for each doubling: a percentile is at most 1/32 (3 %) under the true one. Everyone's sorted latencies
# would take longer than a send may be late.
_BITS = 5
_NUM_BUCKETS = (64 - _BITS) << _BITS


class Stop(Protocol):
    """Asks a run to end early; a `threading.Event` is one."""

    def is_set(self) -> bool: ...


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """Since the start: `elapsed_ns`, and requests `sent`, `done` and among these without a result, `errors`.

    Since the last one: `rate_rps`, results a second, and their latencies, ABSENT where there was none.
    """

    elapsed_ns: int
    sent: int
    done: int
    errors: int
    p50_ns: int
    p99_ns: int
    rate_rps: float

    def __str__(self) -> str:
        latencies = ", ".join(
            f"{name} {ns / 1e6:.3g} ms"
            for name, ns in (("p50", self.p50_ns), ("p99", self.p99_ns))
            if ns != ABSENT
        )
        return (
            f"{self.elapsed_ns / NS:6.1f} s  {self.rate_rps:,.0f}/s  {latencies or 'no answer yet'}  "
            f"{self.sent:,} sent  {self.errors:,} errors"
        )


OnProgress = Callable[[Progress], None]


class Histogram:
    """Counts of durations in buckets whose width grows with them."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts = [0] * _NUM_BUCKETS

    def add(self, duration_ns: int) -> None:
        """Args: duration_ns: from 0 to 2**63 - 1."""
        shift = duration_ns.bit_length() - _BITS - 1
        if shift <= 0:
            self._counts[duration_ns] += 1
        else:
            self._counts[(shift << _BITS) + (duration_ns >> shift)] += 1

    def percentiles(self, *shares: float) -> list[int]:
        """The smallest duration of the bucket of each share's rank; ABSENT where nothing was added."""
        total = sum(self._counts)
        if not total:
            return [ABSENT] * len(shares)
        found: list[int] = []
        running = 0
        for bucket, count in enumerate(self._counts):
            running += count
            while len(found) < len(shares) and running >= shares[len(found)] * total:
                found.append(_least(bucket))
            if len(found) == len(shares):
                break
        return found

    def clear(self) -> None:
        self._counts = [0] * _NUM_BUCKETS


def _least(bucket: int) -> int:
    shift = max(0, (bucket >> _BITS) - 1)
    return (bucket - (shift << _BITS)) << shift


class Monitor:
    """Told of every request that ends; tells `on_progress` about twice a second, when the client has a moment."""

    def __init__(self, on_progress: OnProgress) -> None:
        self._on_progress = on_progress
        self._recent = Histogram()
        self._num_recent = self._num_done = self._num_errors = 0
        self._start_ns = self._told_ns = 0

    def start(self, now_ns: int) -> None:
        self._start_ns = self._told_ns = now_ns

    def ended(self, latency_ns: int, *, is_result: bool) -> None:
        self._num_done += 1
        if is_result:
            self._num_recent += 1
            self._recent.add(latency_ns)
        else:
            self._num_errors += 1

    def is_due(self, now_ns: int) -> bool:
        return now_ns - self._told_ns >= PERIOD_NS

    def tell(self, now_ns: int, num_sent: int) -> None:
        p50_ns, p99_ns = self._recent.percentiles(0.5, 0.99)
        progress = Progress(
            elapsed_ns=max(0, now_ns - self._start_ns),
            sent=num_sent,
            done=self._num_done,
            errors=self._num_errors,
            p50_ns=p50_ns,
            p99_ns=p99_ns,
            rate_rps=self._num_recent / max(1, now_ns - self._told_ns) * NS,
        )
        self._recent.clear()
        self._num_recent, self._told_ns = 0, now_ns
        self._on_progress(progress)
