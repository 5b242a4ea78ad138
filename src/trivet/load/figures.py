"""What a scenario looks at in the rows of one run, against an SLO."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trivet.errors import SpecError
from trivet.load.arrivals import NS
from trivet.load.result import Result
from trivet.spec.levers import Slo
from trivet.spec.row import ABSENT, RowColumns
from trivet.stats.percentile import percentile_ns


@dataclass(frozen=True, slots=True)
class Window:
    """Requests intended within one stretch of a run.

    latency_ns: at the SLO's percentile, of all requests: one without a result counts as one that took longer
    than any; ABSENT where that is what stands at the percentile, or there are no requests.  attainment: the share
    of requests with a result within the budget; 1 where none was offered.  goodput_rps, throughput_rps:
    results a second, within the budget and at all.
    """

    begin_ns: int
    length_ns: int
    num_offered: int
    latency_ns: int
    attainment: float
    goodput_rps: float
    throughput_rps: float
    error_share: float

    @property
    def offered_rps(self) -> float:
        return self.num_offered / self.length_ns * NS


def budget_ns(slo: Slo) -> int:
    """Raises: SpecError: the SLO has no latency."""
    if slo.latency_ns is None:
        raise SpecError("this scenario needs a latency to hold; give the SLO one, such as p99:50ms")
    return slo.latency_ns


def window(rows: RowColumns, begin_ns: int, length_ns: int, slo: Slo) -> Window:
    """The figures of rows intended from `begin_ns` on, for `length_ns`, on the writer's clock."""
    inside = (rows["intended_ns"] >= begin_ns) & (rows["intended_ns"] < begin_ns + length_ns)
    has_result = rows.words["outcome"].equal("ok", "late")[inside]
    latencies = rows.latency_ns()[inside]
    in_budget = has_result & (latencies <= budget_ns(slo))
    num = len(latencies)
    return Window(
        begin_ns=begin_ns,
        length_ns=length_ns,
        num_offered=num,
        latency_ns=_at_percentile(latencies, has_result, slo.percentile / 100),
        attainment=float(in_budget.mean()) if num else 1.0,
        goodput_rps=float(in_budget.sum()) / length_ns * NS,
        throughput_rps=float(has_result.sum()) / length_ns * NS,
        error_share=1 - float(has_result.mean()) if num else 0.0,
    )


def measured_window(result: Result, slo: Slo) -> Window:
    """The figures of a whole run after its warm-up: its length is up to the last intended request."""
    rows = result.measured()
    last_ns = int(rows["intended_ns"].max()) + 1 if rows.num_rows else result.measured_from_ns + 1
    return window(rows, result.measured_from_ns, max(1, last_ns - result.measured_from_ns), slo)


def windows(result: Result, begin_ns: int, end_ns: int, length_ns: int, slo: Slo) -> list[Window]:
    """Whole windows, one after the other, from `begin_ns` until `end_ns` (both from the run's start)."""
    rows = RowColumns.decode(result.rows)
    starts = range(begin_ns, end_ns - length_ns + 1, length_ns)
    return [window(rows, result.start_ns + start, length_ns, slo) for start in starts]


def _at_percentile(latencies: NDArray[np.int64], has_result: NDArray[np.bool_], p: float) -> int:
    if not len(latencies):
        return ABSENT
    never = np.iinfo(np.int64).max
    found = percentile_ns(np.where(has_result, latencies, never), p)
    return ABSENT if found == never else found
