"""How many strong calls does a learned router need? RouteLLM's outcomes on MMLU, cross-validated."""

import argparse
import csv
import gzip
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks._sides import SHARED
from benchmarks._tables import markdown_table
from trivet.experiment.certifying.router_fitting import Grams, crossed

QUESTION = (
    "How many calls of the strong LLM does a router need for half of what it is better (RouteLLM's MMLU)?"
)
SHORT = False
WANTED = 0.35
_SHARES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


def main(args: Sequence[str] = ()) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks router --", description=QUESTION)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--resamples", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(args)
    prompts, weak, strong = outcomes()
    rows = np.arange(len(prompts))
    ease = crossed(Grams(prompts), rows, weak, strong, options.folds, options.seed)
    print(page(ease, weak, strong, options.resamples, options.seed))
    return 0


def outcomes() -> tuple[list[str], Bools, Bools]:
    """Prompts, and whether the weak and the strong model were right."""
    path = SHARED / "data" / "routellm-responses" / "mmlu_responses.csv.gz"
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    weak, strong = [name for name in rows[0] if name not in ("subject", "prompt")]
    return (
        [row["prompt"] for row in rows],
        np.array([row[weak] == "True" for row in rows]),
        np.array([row[strong] == "True" for row in rows]),
    )


def recovered(order: NDArray[np.int64], weak: Bools, strong: Bools) -> Floats:
    """The share of the gap that is recovered when the first k of `order` go to the strong model, for k = 1, 2, ..."""
    gains = strong[order].astype(float) - weak[order]
    return np.cumsum(gains) / gains.sum()


def calls_for(order: NDArray[np.int64], weak: Bools, strong: Bools, share: float) -> float:
    """The share of strong calls from which at least this share of the gap is recovered."""
    return float(np.argmax(recovered(order, weak, strong) >= share) + 1) / len(order)


def page(ease: Floats, weak: Bools, strong: Bools, resamples: int, seed: int) -> str:
    rng = np.random.default_rng(seed)
    n = len(ease)
    halves, curves = [], []
    for _ in range(resamples):
        chosen = rng.integers(n, size=n)
        order = chosen[np.argsort(ease[chosen], kind="stable")]
        halves.append(calls_for(order, weak, strong, 0.5))
        curves.append(recovered(order, weak, strong)[[round(share * n) - 1 for share in _SHARES]])
    order = np.argsort(ease, kind="stable")
    best = np.argsort(weak.astype(int) - strong.astype(int), kind="stable")
    half = calls_for(order, weak, strong, 0.5)
    low, high = np.quantile(halves, [0.025, 0.975])
    found = recovered(order, weak, strong)
    rows = [
        [
            f"{100 * share:.0f} %",
            f"{100 * found[round(share * n) - 1]:.0f} %",
            f"{100 * a:.0f} to {100 * b:.0f} %",
            f"{100 * share:.0f} %",
            f"{100 * recovered(best, weak, strong)[round(share * n) - 1]:.0f} %",
        ]
        for share, a, b in zip(_SHARES, *np.quantile(curves, [0.025, 0.975], axis=0), strict=True)
    ]
    head = ["strong calls", "of the gap recovered", "interval", "at random", "by who knows the outcomes"]
    return "\n".join(
        [
            f"{n:,} questions; weak {weak.mean():.4f}, strong {strong.mean():.4f}, the better of both "
            f"{(weak | strong).mean():.4f}.",
            f"Half of the gap with {100 * half:.1f} % strong calls ({100 * low:.1f} to {100 * high:.1f} %, 95 %, rows "
            f"resampled); random routing needs 50 %, wanted is at most {100 * WANTED:.0f} %.",
            "",
            markdown_table(head, rows),
        ]
    )
