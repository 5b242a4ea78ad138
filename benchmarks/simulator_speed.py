"""How many requests a second one core simulates, and where the time goes."""

import argparse
import sys
import time
from collections.abc import Sequence

import numpy as np

from benchmarks._tables import markdown_table
from trivet.load.arrivals import NS, Poisson
from trivet.simulate.profile import HostCosts, ModelTimes, ServiceProfile
from trivet.simulate.server import simulated
from trivet.simulate.setup import Setup, StageSetup

QUESTION = "How many requests a second does one core simulate?"
SHORT = True
GOAL_RPS = 150_000
SIZES = (1, 2, 4, 8, 16, 32, 64)


def profile_of(fixed_ns: int, per_row_ns: int, seed: int = 0) -> ServiceProfile:
    """A model with 3 % of noise on a host with the usual costs."""
    noise = np.random.default_rng(seed).normal(1.0, 0.03, 128)
    samples = {rows: [int((fixed_ns + rows * per_row_ns) * factor) for factor in noise] for rows in SIZES}
    return ServiceProfile(
        service="m",
        models={"m": ModelTimes(samples={0: samples})},
        host=HostCosts(
            per_request_ns=[20_000],
            per_batch_ns=[10_000],
            per_wake_ns=[60_000, 50_000, 70_000],
            travel_ns=20_000,
            hand_over_ns=[30_000],
            hand_back_ns=[15_000],
            hiccups=[(10_000_000, 300_000), (700_000_000, 1_500_000)],
            observed_ns=NS,
        ),
    )


CASES = {
    "inline": (profile_of(30_000, 4_000), "inline", 32, 46_000),
    "thread": (profile_of(500_000, 1_000_000), "thread", 64, 1_030_000),
}


def cost_us(case: str, load: float, num: int, repeats: int) -> tuple[float, float]:
    """Microseconds a request of the fastest repeat, and rows in a batch."""
    profile, execution, max_batch_size, row_ns = CASES[case]
    setup = Setup(
        "m",
        (StageSetup("m", execution=execution, max_batch_size=max_batch_size),),
        1,
        1,
        NS // 5,  # type: ignore[arg-type]
    )
    rate = load / row_ns * NS
    instants = Poisson(rate_rps=rate, duration_ns=int(num / rate * NS)).instants_ns(np.random.default_rng(1))
    best, rows = float("inf"), 0.0
    for _ in range(repeats):
        begun = time.process_time()
        run = simulated(profile, setup, instants, rng=np.random.default_rng(2))
        best = min(best, (time.process_time() - begun) / len(instants))
        rows = float(1 / (1 / run.batch_rows[run.batch_rows > 0]).mean())
    return best * 1e6, rows


def main(args: Sequence[str] = ()) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks simulator_speed --", description=QUESTION)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args(args)
    lines = []
    for case in CASES:
        for load in (0.3, 0.7, 0.85):
            us, rows = cost_us(case, load, options.requests, options.repeats)
            lines.append([case, f"{load:g}", f"{rows:.1f}", f"{us:.2f}", f"{1e6 / us:,.0f}"])
    print(f"# {QUESTION}\n\nOne core, the fastest of {options.repeats}; the goal is {GOAL_RPS:,}.\n")
    print(markdown_table(["model", "load", "rows a batch", "µs a request", "requests/s"], lines))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
