"""Will measurements on this machine be noisy? Looks for half a second, then judges what it saw."""

import os
import time
from collections.abc import Callable, Collection

import numpy as np

from trivet.catalog.conditions import HostWatch
from trivet.catalog.doctor_checks import CHECKS
from trivet.catalog.finding import Finding, Sight
from trivet.catalog.host_files import HOST, HostFiles
from trivet.catalog.noise import probe

__all__ = ["Finding", "examine", "look"]

_PROBE_NS = 250_000_000  # of all cores together, and at least a tick of steal on each
_MIN_PROBE_NS = 50_000_000
_TIMER_NS = 500_000
_TIMER_ROUNDS = 200


def examine(sight: Sight | None = None) -> list[Finding]:
    """Everything the doctor looks at, worst first. Without a `sight` it looks at this machine now (half a second)."""
    order = ("warning", "note", "fine")
    seen = look() if sight is None else sight
    findings = [check(seen) for check in CHECKS]
    return sorted(findings, key=lambda finding: order.index(finding.severity))


def look(cores: Collection[int] | None = None, files: HostFiles = HOST) -> Sight:
    """Measure: a fixed piece of work on each core, a timer, and what others do meanwhile."""
    chosen = tuple(sorted(os.sched_getaffinity(0) if cores is None else cores))
    watch = HostWatch(chosen, files, own=os.getpid())
    duration_ns = max(_PROBE_NS // len(chosen), _MIN_PROBE_NS)
    noise = tuple(probe(core, duration_ns, files) for core in chosen)
    lateness_us = timer_lateness_us()
    conditions = watch.conditions()
    return Sight(
        files=files,
        cores=chosen,
        noise=noise,
        others=conditions.others,
        lateness_us=lateness_us,
        throttled_ms=conditions.throttled_ms,
        swapped_pages=conditions.swapped_pages,
    )


def timer_lateness_us(
    rounds: int = _TIMER_ROUNDS,
    clock: Callable[[], int] = time.perf_counter_ns,
    sleep: Callable[[float], object] = time.sleep,
) -> float:
    """How much later than asked for a timer of half a millisecond fires, at the 99th percentile."""
    late_ns = []
    for _ in range(rounds):
        begun = clock()
        sleep(_TIMER_NS / 1e9)
        late_ns.append(clock() - begun - _TIMER_NS)
    return round(float(np.quantile(late_ns, 0.99, method="inverted_cdf")) / 1e3, 1)
