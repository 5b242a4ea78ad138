"""Which share of a request's time a ladder of models should fill: in virtual time, over ladders, loads and cores."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from benchmarks._tables import markdown_table
from trivet.simulate.profile import HostCosts, ModelTimes, ServiceProfile
from trivet.simulate.record import OK
from trivet.simulate.server import simulated
from trivet.simulate.setup import LadderSetup, RungSetup, Setup, StageSetup

QUESTION = "Which share of a request's time should be filled before a cheaper model stands in?"
SHORT = False
MS = 1_000_000
NS = 1_000_000_000
_SIZES = (1, 2, 4, 8)
_COSTS = HostCosts(
    hand_over_ns=[30_000],
    hand_back_ns=[30_000],
    interference={2: 1.0},
    per_request_ns=[100_000],
    per_batch_ns=[20_000],
)


@dataclass(frozen=True, slots=True)
class Ladder:
    """costs: (ms for a batch, ms for each row) of each rung.  losses: of accuracy."""

    costs: tuple[tuple[float, float], ...]
    losses: tuple[float, ...]
    deadline_ms: float


LADDERS = {
    "four encoders": Ladder(((0.1, 3.6), (0.1, 1.7), (0.1, 1.0), (0.1, 0.41)), (0, 0.005, 0.027, 0.038), 50),
    "gain by batches": Ladder(((2.2, 1.5), (1.2, 0.6), (0.8, 0.3), (0.4, 0.1)), (0, 0.005, 0.027, 0.038), 50),
    "two, far apart": Ladder(((0.5, 10.0), (0.2, 1.5)), (0, 0.02), 100),
}


def main(args: Sequence[str] = ()) -> int:
    made = argparse.ArgumentParser(prog="python -m benchmarks degradation_grid --", description=QUESTION)
    made.add_argument("--ease", type=float, nargs="*", default=[0.3, 0.4, 0.5, 0.6, 0.8, 0.95])
    made.add_argument("--loads", type=float, nargs="*", default=[0.7, 0.9, 1.2, 3])
    made.add_argument("--budgets", type=float, nargs="*", default=[1, 5], help="points of accuracy")
    made.add_argument("--seconds", type=float, default=6)
    made.add_argument("--seed", type=int, default=1)
    options = made.parse_args(args)
    print(f"seed {options.seed}, {options.seconds:g} s of arrivals (Poisson), the first second left out\n")
    for name, cores in product(LADDERS, (1, 2)):
        rows = [
            cell(LADDERS[name], cores, load, points, ease, options.seconds, options.seed)
            for load in options.loads
            for points, ease in [(None, None), *product(options.budgets, options.ease)]
        ]
        print(f"{name}, {cores} core{'s' * (cores > 1)}\n")
        header = ["load", "budget, points", "ease", "in time", "points paid", "p99, ms", "by rung"]
        print(markdown_table(header, rows) + "\n", flush=True)
    return 0


def cell(
    ladder: Ladder,
    cores: int,
    load: float,
    points: float | None,
    ease: float | None,
    seconds: float,
    seed: int,
) -> list[str]:
    """One row: `load` times what the declared model can do; without points and ease refusal alone."""
    rng = np.random.default_rng(seed)
    models = {f"m{rung}": _times(fixed, row, rng) for rung, (fixed, row) in enumerate(ladder.costs)}
    profile = ServiceProfile(service="s", models=models, host=_COSTS)
    best = max(rows / np.mean(times) for rows, times in models["m0"].samples[0].items())
    rate_rps = load * float(best) * NS
    stages = [StageSetup(name, execution="thread", max_batch_size=_SIZES[-1]) for name in models]
    rungs = tuple(
        RungSetup(stage.key, stage, loss) for stage, loss in zip(stages[1:], ladder.losses[1:], strict=True)
    )
    chosen = None
    if points is not None and ease is not None:
        chosen = LadderSetup(0, rungs, points / 100, 1000, ease=ease)
    setup = Setup("s", (stages[0],), 1, cores, int(ladder.deadline_ms * MS), ladder=chosen)
    arrivals = np.cumsum(rng.exponential(NS / rate_rps, int(rate_rps * seconds))).astype(np.int64)
    found = simulated(profile, setup, arrivals, rng=rng)
    measured = arrivals > NS
    ok = measured & (found.outcome == OK)
    shares = np.bincount(found.rung[ok], minlength=len(ladder.losses)) / max(1, ok.sum())
    return [
        f"{load:g}",
        "none" if points is None else f"{points:g}",
        "–" if ease is None else f"{ease:g}",
        f"{ok.sum() / measured.sum():.3f}",
        f"{100 * float(shares @ np.array(ladder.losses)):.2f}",
        f"{np.percentile(found.latency_ns()[ok], 99) / MS:.1f}",
        " ".join(f"{share:.2f}" for share in shares),
    ]


def _times(fixed_ms: float, row_ms: float, rng: np.random.Generator) -> ModelTimes:
    """Times of 10 % spread."""
    samples = {
        rows: [
            int((fixed_ms + row_ms * rows) * MS * factor)
            for factor in np.exp(rng.normal(0, 0.1, 60)).tolist()
        ]
        for rows in _SIZES
    }
    return ModelTimes(samples={0: samples})
