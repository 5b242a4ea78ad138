"""Does the gate stop what is 5 % slower and more, and nothing else? On simulated histories, and on live ones."""

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from benchmarks._changing_service import Changing, trivet
from benchmarks._harness import OUT, Comparison, Measurement, compare, markdown_table
from trivet.experiment.gate.decision import Decision, outcome_of
from trivet.stats.percentile import percentile_ns

QUESTION = "Does the gate find regressions of 5 % and more, and raise no false alarm?"
OUTCOMES = ("pass", "regression", "not enough data")
SHIFTS = (1.05, 1.1, 1.2)
HOME = OUT / "gates"
NUM_STARTS = 40  # of each side in a simulated gate: what five minutes hold
START = 0.015  # how far two starts differ: standard deviation of the log of their ratio
MOOD = 0.02  # and what is left of the machine's wandering between sides that take turns
ROUNDS = 180  # of a live engine's arithmetic: four fifths of a request, so that 5 % more of it are 4 % of a latency
REQUESTS, RATE_RPS, SERVICE_NS, SERVICE_CV = 400, 200.0, 2_500_000, 0.1


def main(args: Sequence[str] = ()) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks gates", description=QUESTION)
    parser.add_argument("--blocks", type=int, default=5, help="live histories of each kind")
    parser.add_argument("--simulated", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=80, help="live requests a second [80]")
    parser.add_argument("--budget", default="5min")
    parser.add_argument("--resume", action="store_true")
    options = parser.parse_args(args)
    print(
        f"# {QUESTION}\n\nSimulated (M/G/1 at {RATE_RPS * SERVICE_NS / 1e9:.0%}, service times vary by {SERVICE_CV:.0%}):\n"
    )
    print(simulated_table(options.simulated, options.seed))
    sides: dict[str, Callable[[int], Measurement]] = {"unchanged": partial(live, 1.0, options=options)}
    sides |= {f"{shift - 1:.0%} slower": partial(live, shift, options=options) for shift in SHIFTS}
    comparison = compare(
        "gates",
        sides,
        num_blocks=options.blocks,
        seed=options.seed,
        settings={"rate": options.rate, "budget": options.budget, "engine": f"{ROUNDS} rounds"},
        resume=options.resume,
    )
    print(f"Live:\n\n{comparison.preface()}\n\n{live_table(comparison)}")
    return 0


def live(shift: float, seed: int, *, options: argparse.Namespace) -> Measurement:
    """A baseline is measured; a candidate that does so much more work, or is changed in what costs nothing, is gated."""
    catalog = HOME / "catalog"
    baseline = Changing(HOME / "baseline", rounds=ROUNDS).write()
    load = ["--rate", f"{options.rate:g}", "--duration", "10s", "--seed", str(seed)]
    code, _ = trivet(["bench", str(baseline.path), *load], catalog)
    if code:
        return Measurement(values={}, invalid=f"the baseline's run ended with {code}")
    candidate = Changing(HOME / "candidate", rounds=round(ROUNDS * shift), queue="2s").write()
    began = time.monotonic()
    command = ["gate", str(candidate.path), "--baseline", "last:changing", "--budget", options.budget]
    try:
        _, found = trivet(command, catalog)
    except RuntimeError as error:
        return Measurement(values={}, invalid=f"the gate did not begin: {error}")
    values = {outcome: float(found["outcome"] == outcome) for outcome in OUTCOMES}
    return Measurement(values=values | {"seconds": time.monotonic() - began})


def simulated(shift: float, seed: int) -> tuple[str, int]:
    """The outcome for a server whose services take `shift` times as long, and after how many starts.

    The machine's mood wanders from block to block, and sides share most of it; each start has a speed of its own.
    """
    rng = np.random.default_rng((seed, round(shift * 1000)))
    decision = Decision()
    while decision.num_pairs < NUM_STARTS and not decision.is_decided():
        starts = np.exp(np.hypot(START, MOOD) / 2**0.5 * rng.standard_normal(2))
        mood = float(np.exp(0.1 * rng.standard_normal()))
        gaps = rng.exponential(1e9 / RATE_RPS, REQUESTS)
        decision.add(_figures(gaps, mood * starts[0], rng), _figures(gaps, mood * starts[1] * shift, rng))
    return outcome_of(decision.findings()), decision.num_pairs


def _figures(gaps: NDArray[np.float64], slower: float, rng: np.random.Generator) -> Mapping[str, float]:
    """Lindley's recursion on the gaps, with services of its own."""
    sigma = np.sqrt(np.log(1 + SERVICE_CV**2))
    services = SERVICE_NS * slower * np.exp(sigma * rng.standard_normal(REQUESTS) - sigma**2 / 2)
    # The work left before each arrival, as the running sum of what came minus what could be done, from its lowest point.
    walk = np.concatenate([[0.0], np.cumsum(services[:-1] - gaps[1:])])
    latencies = (walk - np.minimum.accumulate(walk) + services).astype(np.int64)
    span_ns = float(gaps.sum())
    in_time = (np.cumsum(gaps) + latencies <= span_ns).sum()
    return {
        "latency_p50_ms": percentile_ns(latencies, 0.5) / 1e6,
        "latency_p99_ms": percentile_ns(latencies, 0.99) / 1e6,
        "throughput_rps": float(in_time) / span_ns * 1e9,
    }


def simulated_table(num: int, seed: int) -> str:
    rows = []
    shifts = [1.0, *SHIFTS]
    for shift in shifts:
        found = [simulated(shift, seed + i) for i in range(num)]
        counts = [sum(outcome == one for one, _ in found) for outcome in OUTCOMES]
        rows.append([_label(shift), num, *counts, f"{np.median([pairs for _, pairs in found]):.0f}"])
    return markdown_table(["candidate", "histories", *OUTCOMES, "median starts"], rows)


def live_table(comparison: Comparison) -> str:
    rows = []
    for side in comparison.sides():
        measured = [
            record.measurement.values
            for record in comparison.records
            if record.side == side and not record.measurement.invalid
        ]
        counts = [f"{sum(values[outcome] for values in measured):.0f}" for outcome in OUTCOMES]
        longest = max((values["seconds"] for values in measured), default=0.0)
        rows.append([side, len(measured), *counts, f"{longest:.0f}"])
    return markdown_table(["candidate", "histories", *OUTCOMES, "longest s"], rows)


def _label(shift: float) -> str:
    return "unchanged" if shift == 1 else f"{shift - 1:.0%} slower"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
