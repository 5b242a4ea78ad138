"""What the tuner measures with: a machine and its servers (live.py), or simulated services whose truth is known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from trivet.catalog.records import Figure
from trivet.simulate.profile import ServiceProfile
from trivet.simulate.setup import Setup
from trivet.tune.choice import Choice


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockResult:
    """One side of one block.

    rate_rps: offered.  figures: of this block alone, by name: latency_p50_ms, latency_p99_ms, slo_latency_ms (at the
    SLO's percentile, a request without a result counting as infinitely late: then it is absent), slo_attainment,
    throughput_rps, goodput_rps, cpu_ms_per_request, memory_mib.
    run: its run in the catalog; empty where nothing is kept.
    invalid: the block says nothing of the configuration (the load generator was late).
    failure: the configuration does not run here (does not start, out of memory): the reason.
    """

    rate_rps: float
    figures: Mapping[str, float] = field(default_factory=dict)
    num_requests: int = 0
    run: str = ""
    invalid: str = ""
    failure: str = ""


class Bench(Protocol):
    """The same calls in the same order get the same arrivals and inputs, whatever came before."""

    def profile(self, choices: Sequence[Choice], *, budget_ns: int) -> ServiceProfile:
        """Service times of what the choices run, in at most 20 short points within the budget.

        Args: choices: one for each variant, engine and number of threads.
        """
        ...

    def setup(self, choice: Choice) -> Setup:
        """What a server would make of a choice, for the simulator. Called after `profile`."""
        ...

    def measure(
        self, choices: Sequence[Choice], rates_rps: Mapping[Choice, float], seconds: float, block: int
    ) -> Mapping[Choice, BlockResult]:
        """One block of each, in turn, in an order that is drawn for the block, on arrivals of one seed.

        Raises: KeyboardInterrupt: stopped; what was measured is kept.
        """
        ...

    def accuracy(self, choice: Choice) -> Figure | None:
        """Of the choice's variants, as they were judged once; None: no metric or no labels."""
        ...

    def difference(self, choice: Choice) -> Figure | None:
        """Of its accuracy to the default's, on the same rows; None: not judged, or its answers are the same."""
        ...

    def now_ns(self) -> int:
        """Monotonic: the budget is kept by it."""
        ...
