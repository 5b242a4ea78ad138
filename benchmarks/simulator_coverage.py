"""Whether a forecast's interval holds what it promises, where the truth is known: a service that is itself simulated.

Its service times come from a large sample; the forecast has a small one, as a profile would, and the run's own arrivals.
"""

import argparse
import sys
from collections.abc import Sequence

import numpy as np

from benchmarks._tables import markdown_table
from trivet.load.arrivals import NS, Poisson
from trivet.simulate.forecast import figures_of, forecast
from trivet.simulate.profile import HostCosts, ModelTimes, ServiceProfile
from trivet.simulate.server import simulated
from trivet.simulate.setup import Setup, StageSetup
from trivet.stats.proportion import proportion_interval

QUESTION = "Does one more run fall into a forecast's 95 % interval 95 times of 100?"
SHORT = False
P99 = "latency_p99_ms"
SIZES = (1, 2, 4, 8)
FIXED_NS, ROW_NS = 500_000, 500_000
HOST = HostCosts(
    per_request_ns=[50_000],
    per_batch_ns=[20_000],
    hand_over_ns=[30_000],
    per_wake_ns=[50_000, 80_000],
    travel_ns=20_000,
)


def service(num_samples: int, spread: float, rng: np.random.Generator) -> ServiceProfile:
    """Lognormal times of median 0.5 ms and 0.5 ms a row."""
    samples = {
        rows: [int((FIXED_NS + rows * ROW_NS) * factor) for factor in rng.lognormal(0, spread, num_samples)]
        for rows in SIZES
    }
    return ServiceProfile(service="m", models={"m": ModelTimes(samples={0: samples})}, host=HOST)


def one_run(load: float, spread: float, num: int, seed: int) -> tuple[bool, float, float]:
    """Whether the run's p99 was covered, the interval's half-width and the error, both over the estimate or the run."""
    rng = np.random.default_rng(seed)
    truth, profiled = service(4_000, spread, rng), service(60, spread, rng)
    setup = Setup("m", (StageSetup("m", execution="thread", max_batch_size=8),), 1, 1, NS, 20_000_000)
    rate = load * 8 / (FIXED_NS + 8 * (ROW_NS + 50_000) + 20_000) * NS
    instants = Poisson(rate_rps=rate, duration_ns=int(num / rate * NS)).instants_ns(rng)
    live = figures_of(simulated(truth, setup, instants, rng=rng), setup)[P99]
    found = forecast(profiled, setup, instants, seed=seed + 1).figures[P99]
    return (
        found.low <= live <= found.high,
        (found.high - found.low) / 2 / found.estimate,
        abs(found.estimate / live - 1),
    )


def main(args: Sequence[str] = ()) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks simulator_coverage --", description=QUESTION)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--requests", type=int, default=3_000)
    options = parser.parse_args(args)
    lines = []
    for load in (0.3, 0.7, 0.85):
        for spread in (0.03, 0.1):
            runs = [one_run(load, spread, options.requests, seed) for seed in range(options.runs)]
            covered = proportion_interval(sum(hit for hit, _, _ in runs), len(runs))
            half, error = (float(np.median([run[place] for run in runs])) for place in (1, 2))
            shown = f"{covered.estimate:.2f} [{covered.low:.2f}, {covered.high:.2f}]"
            lines.append([f"{load:g}", f"{spread:.0%}", shown, f"{half:.1%}", f"{error:.1%}"])
    print(
        f"# {QUESTION}\n\n{options.runs} runs of {options.requests:,} requests; a profile of 60 times a size.\n"
    )
    print(markdown_table(["load", "spread of times", "covered [95 %]", "half-width", "error of p99"], lines))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
