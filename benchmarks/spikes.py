"""How soon a server recovers: spikes far over its capacity, and whether the second after each is as good as without."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks._harness import (
    NS_PER_S,
    Comparison,
    Measurement,
    Sides,
    compare,
    measurement_of,
    server_and_client_core,
)
from benchmarks._options import parser
from benchmarks._overloaded import CAPACITY, Subject
from benchmarks._processes import offer_from
from benchmarks._tables import Goal, Report, markdown_table
from trivet.load.arrivals import Recorded
from trivet.load.result import Result
from trivet.stats.mean import ratio_of_pooled_means

QUESTION = "How well are requests answered 0.2 to 1.2 s after a spike of 10 times the capacity for 2 s?"
SHORT = False
_WITH, _WITHOUT = "with spikes", "without"
_PERIOD_NS, _SPIKE_NS = 6 * NS_PER_S, 2 * NS_PER_S
_FROM_NS, _UNTIL_NS = NS_PER_S // 5, 6 * NS_PER_S // 5  # after the end of a spike
_WARM_UP_NS = 2 * NS_PER_S


def main(args: Sequence[str] = ()) -> int:
    made = parser("spikes", QUESTION, blocks=4, peers=True)
    made.add_argument("--model", choices=["text", "busy"], default="text")
    made.add_argument("--spikes", type=int, default=5, help="in each block, one every 6 s [5]")
    made.add_argument("--base", type=float, default=0.5, help="load between spikes, of the capacity [0.5]")
    made.add_argument("--height", type=float, default=10, help="of a spike, times the capacity [10]")
    made.add_argument("--deadline-ms", type=float, default=100)
    options = made.parse_args(args)
    server_core, client_core = server_and_client_core()
    deadline_ns = int(options.deadline_ms * 1e6)
    subject = Subject(options.model, server_core, deadline_ns, options.peers)

    def sides(calibrated: Mapping[str, Any]) -> Sides:
        capacity_rps = calibrated[CAPACITY]

        def offered(height: float) -> Callable[[int], Measurement]:
            def measure(seed: int) -> Measurement:
                instants = instants_ns(
                    options.base * capacity_rps, height * capacity_rps, options.spikes, seed
                )
                with subject.start(calibrated) as server:
                    arrivals = Recorded(at_ns=tuple(instants.tolist()))
                    job = subject.job(server, arrivals, seed, _WARM_UP_NS)
                    return _measured(offer_from(client_core, job), options.spikes)

            return measure

        return {_WITH: offered(options.height), _WITHOUT: offered(0)}

    comparison = compare(
        f"spikes-{options.model}",
        sides,
        num_blocks=options.blocks,
        seed=options.seed,
        settings={
            "model": options.model,
            "deadline": f"{options.deadline_ms:g} ms",
            "load": f"{options.base:g} of the capacity",
            "spikes": f"{options.spikes} a block, {options.height:g} times the capacity for 2 s every 6 s",
        },
        calibrate=subject.calibrated,
        resume=options.resume,
    )
    print(report(comparison))
    return 0


def report(comparison: Comparison) -> Report:
    if comparison.is_empty():
        return Report(comparison, [], [])
    shares = {side: _windows(comparison, side) for side in (_WITH, _WITHOUT)}
    rows = []
    for side, windows in shares.items():
        each = [np.mean(window) for window in windows]
        pooled = np.concatenate(windows)
        rows.append([side, len(pooled), f"{pooled.mean():.4f}", f"{min(each):.3f}", f"{np.median(each):.3f}"])
    header = ["0.2 to 1.2 s after", "requests", "in time, pooled", "worst spike", "median spike"]
    ratio = ratio_of_pooled_means(shares[_WITH], shares[_WITHOUT]) if len(shares[_WITH]) > 1 else None
    goal = Goal(
        f"share in time after a spike / without ({len(shares[_WITH])} spikes)",
        ratio,
        at_least=0.95,
        reason="cannot tell: one spike",
    )
    return Report(comparison, [markdown_table(header, rows)], [goal])


def instants_ns(base_rps: float, spike_rps: float, num_spikes: int, seed: int) -> NDArray[np.int64]:
    """Poisson arrivals at the base rate, and in each spike so many more that its rate is `spike_rps`.

    The base's own arrivals are the same whatever the spikes are: each has a generator of its own.
    """
    base_rng, extra_rng = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2))
    duration_ns = _WARM_UP_NS + num_spikes * _PERIOD_NS
    pieces = [base_rng.integers(0, duration_ns, base_rng.poisson(base_rps * duration_ns / NS_PER_S))]
    extra = max(0.0, spike_rps - base_rps) * _SPIKE_NS / NS_PER_S
    for spike in range(num_spikes):
        begin_ns = _begin_ns(spike)
        pieces.append(extra_rng.integers(begin_ns, begin_ns + _SPIKE_NS, extra_rng.poisson(extra)))
    return np.sort(np.concatenate(pieces))


def _begin_ns(spike: int) -> int:
    """The second second of each period: it ends with two of calm beyond the measured one."""
    return _WARM_UP_NS + spike * _PERIOD_NS + NS_PER_S


def _measured(result: Result, num_spikes: int) -> Measurement:
    """The usual figures, and for each spike a sample: 1 for each request after it that was in time, 0 for others."""
    found = measurement_of(result)
    rows = result.measured()
    offsets = rows["intended_ns"] - result.start_ns
    in_time = rows.words["outcome"].equal("ok")
    for spike in range(num_spikes):
        end_ns = _begin_ns(spike) + _SPIKE_NS
        window = (offsets >= end_ns + _FROM_NS) & (offsets < end_ns + _UNTIL_NS)
        found.samples[f"spike {spike}"] = in_time[window].astype(float).tolist()
    return found


def _windows(comparison: Comparison, side: str) -> list[list[float]]:
    """One sample a spike, over all blocks."""
    return [
        sample
        for measurement in comparison.measured(side)
        for name, sample in sorted(measurement.samples.items())
        if name.startswith("spike ")
    ]
