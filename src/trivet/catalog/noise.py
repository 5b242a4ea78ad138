"""How steadily one core runs a fixed piece of work: measured before and after a run, and by the doctor."""

import time
from collections.abc import Callable

import msgspec
import numpy as np

from trivet.catalog.cpu_time import CoreTicks, core_ticks
from trivet.catalog.host_files import HOST, HostFiles
from trivet.host import affinity

DURATION_NS = 250_000_000
_STEPS = 1500  # of one piece: about 100 µs, short beside a time slice and long beside a reading of the clock


class Noise(msgspec.Struct, frozen=True, kw_only=True):
    """piece_us: median time of the fixed piece of work (smaller is faster).
    jitter: how much longer than the median the 99th percentile was, as a share of it.
    longest_us: the longest piece: whatever held the core up longest is in it.
    steal_share: of the core's time, what the host gave to others; in steps of 10 ms.
    """

    core: int
    piece_us: float
    jitter: float
    longest_us: float
    steal_share: float


def probe(
    core: int,
    duration_ns: int = DURATION_NS,
    files: HostFiles = HOST,
    clock: Callable[[], int] = time.perf_counter_ns,
) -> Noise:
    """Run the fixed work on `core` for so long. The calling thread moves there and back again.

    Raises: OSError: this process may not run on that core.
    """
    with affinity([core]):
        before = core_ticks(files, [core])
        pieces_ns = _pieces(duration_ns, clock)
        ticks = core_ticks(files, [core]).since(before)
    return noise_of(core, pieces_ns, ticks)


def noise_of(core: int, pieces_ns: list[int], ticks: CoreTicks) -> Noise:
    """What the times of the pieces, and the core's ticks meanwhile, say."""
    median, p99 = np.quantile(pieces_ns, [0.5, 0.99], method="inverted_cdf")
    return Noise(
        core=core,
        piece_us=round(float(median) / 1e3, 3),
        jitter=round(float(p99 / median) - 1, 4),
        longest_us=round(max(pieces_ns) / 1e3, 1),
        steal_share=round(ticks.steal_share, 5),
    )


def _pieces(duration_ns: int, clock: Callable[[], int]) -> list[int]:
    """At least one, whatever the clock says."""
    times: list[int] = []
    now = clock()
    end = now + duration_ns
    while now < end or not times:
        integer_work(_STEPS)
        last, now = now, clock()
        times.append(now - last)
    return times


def integer_work(num_steps: int) -> int:
    """Work that needs no memory: it waits for nothing but the core."""
    value = 1
    for _ in range(num_steps):
        value = value * 1103515245 + 12345 & 0x7FFFFFFF
    return value
