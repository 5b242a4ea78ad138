"""Comparisons with real servers whose truth is known: the same service twice, and one whose model does 5 % more work.

Each comparison is made as `trivet bench A B --until-decided` makes it: servers started anew for each block, sides that take
turns within it, and an end where a figure is told apart, or p50 and p99 are equivalent.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import models
from benchmarks._harness import Comparison, Measurement, compare
from benchmarks._options import parser
from benchmarks._records import OUT
from benchmarks._tables import Goal, goal_table, markdown_table
from trivet.experiment.compare import paired_effects
from trivet.experiment.pairs import MARGINS, observations, valid_pairs
from trivet.experiment.run import Settings, run
from trivet.experiment.target import subject_of
from trivet.experiment.workload import Workload
from trivet.stats.interval import Interval
from trivet.stats.proportion import proportion_interval

QUESTION = "Do live comparisons find a model that does 5 % more work, and leave two alike ones alone?"
# 2 to 4 ms of dense layers that fit a core's own cache: nine tenths of a request, so that 5 % in the engine are seen.
NUM_LAYERS = 600
SLOWER_BY = 0.05
_ALIKE, _SLOWER = "alike", "5 % more work"
_NUM_ALIKE, _NUM_SLOWER = 40, 20
_WRONG = ("better", "worse")


def main(args: Sequence[str] = ()) -> int:
    made = parser("live_comparisons", QUESTION, seconds=32, blocks=_NUM_ALIKE)
    made.add_argument("--rate", type=float, default=60.0, help="requests a second [60]")
    made.add_argument(
        "--pairs", type=int, default=16, help="pairs of blocks, each on a start of its own [16]"
    )
    made.add_argument("--only", choices=["alike", "slower"], help="one of the two questions")
    options = made.parse_args(args)
    folder = OUT / "models"
    normal, same, slower = (
        models.write(models.busy(num_layers, num_weights=1), folder / f"{name}.onnx")
        for name, num_layers in (
            ("near", NUM_LAYERS),
            ("near-again", NUM_LAYERS),
            ("near-slower", round(NUM_LAYERS * (1 + SLOWER_BY))),
        )
    )

    # Two questions with a record each: an invalid comparison of one says nothing about the other.
    found = {
        name: compare(
            f"live_comparisons-{key}",
            {name: lambda seed, b=b: compared(normal, b, seed, options)},  # type: ignore[misc]
            num_blocks=min(options.blocks, most),
            seed=options.seed,
            settings={
                "rate": options.rate,
                "seconds": options.seconds,
                "pairs": options.pairs,
                "layers": NUM_LAYERS,
            },
            resume=options.resume,
        )
        for name, key, b, most in (
            (_ALIKE, "alike", same, _NUM_ALIKE),
            (_SLOWER, "slower", slower, _NUM_SLOWER),
        )
        if options.only in (None, key)
    }
    print(f"# {QUESTION}\n\n{next(iter(found.values())).preface()}\n")
    print(table(found))
    print(f"\n{goal_table(goals_of(found))}")
    return 0


def compared(a: Path, b: Path, seed: int, options: argparse.Namespace) -> Measurement:
    """One comparison, as far as its count goes."""
    workload = Workload(
        rate_rps=options.rate,
        duration_ns=int(options.seconds * 1e9),
        num_blocks=options.pairs,
        num_starts=options.pairs,
        seed=seed,
        until_decided=True,
    )
    settings = Settings(measure_floor=False, max_labelled=0, probe_noise=False)
    first, second = run([subject_of(str(path)) for path in (a, b)], workload, settings=settings)
    pairs = valid_pairs(first.blocks, second.blocks)
    effects = paired_effects(pairs, None) if len(pairs) > 1 else {}
    ratios = observations(pairs, None)
    verdicts = [effect.verdict for name, effect in effects.items() if name != "memory_mib"]
    p50 = effects.get("latency_p50_ms")
    num = len(first.blocks)
    invalid = "" if len(pairs) * 2 >= num else f"{len(pairs)} of {num} pairs were valid"
    if first.state == "failed":
        invalid = first.reason
    return Measurement(
        values={
            "claimed": float(any(verdict in _WRONG for verdict in verdicts)),
            "worse": float("worse" in verdicts),
            "p50_ratio": 0.0 if p50 is None else p50.ratio.estimate,
            "num_pairs": len(pairs),
        },
        # What every start said, so that another test can be tried on it.
        samples={
            name: [ratio[name] for ratio in ratios]
            for name in MARGINS
            if all(name in ratio for ratio in ratios)
        },
        invalid=invalid,
    )


def goals_of(found: dict[str, Comparison]) -> list[Goal]:
    """The counts that were promised, of the valid comparisons: a count is what it is, so it has no interval here."""
    goals = []
    if _ALIKE in found:
        alike = found[_ALIKE].values(_ALIKE, "claimed")
        what = f"better or worse among {len(alike)} comparisons of two alike"
        goals.append(Goal(what, _count(alike), at_most=1, reason="no comparison was valid"))
    if _SLOWER in found:
        slower = found[_SLOWER].values(_SLOWER, "worse")
        what = f"worse among {len(slower)} comparisons with a model of {SLOWER_BY:.0%} more work"
        least = round(0.9 * len(slower))
        goals.append(Goal(what, _count(slower), at_least=least, reason="no comparison was valid"))
    return goals


def _count(values: Sequence[float]) -> Interval | None:
    total = sum(values)
    return Interval(total, total, total) if values else None


def table(found: dict[str, Comparison]) -> str:
    rows = []
    for name, comparison in found.items():
        if comparison.is_empty():
            rows.append([name, "no comparison was valid", "", ""])
            continue
        for metric in ("claimed", "worse"):
            values = comparison.values(name, metric)
            share = proportion_interval(int(sum(values)), len(values))
            bounds = f"[{share.low:.3f}, {share.high:.3f}]"
            rows.append([name, metric, f"{int(sum(values))} of {len(values)}", bounds])
        ratios = comparison.values(name, "p50_ratio")
        rows.append([name, "p50, B / A", f"{min(ratios):.3f} to {max(ratios):.3f}", ""])
    return markdown_table(["", "", "", "95 %"], rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
