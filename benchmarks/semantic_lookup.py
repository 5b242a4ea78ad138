"""What a lookup in a full semantic cache costs the worker, with and without the hashed encoder, and what it finds."""

import argparse
import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks._semantic_streams import kept
from benchmarks._tables import markdown_table
from trivet.pipeline.semantic.looking import NUM_NEIGHBOURS, Entry, look
from trivet.pipeline.semantic.policy import Policy
from trivet.pipeline.semantic.wording import read
from trivet.runtime.semantic import hashed
from trivet.runtime.semantic.index import UsearchIndex
from trivet.runtime.semantic.scope import Scopes
from trivet.stats.proportion import proportion_interval

QUESTION = (
    "What does a lookup among 100,000 entries of the semantic cache cost, and does it find the nearest?"
)
SHORT = False
GOAL_US = 300
_WORDS = "card account transfer top up limit refund cash abroad fee exchange rate pending wrong amount lost stolen pin"
_SCOPE = ("", b"")
_NUM_HELD = 600  # requests whose true neighbours are computed


def texts(num: int, seed: int) -> list[str]:
    """Questions of 5 to 14 words, some of them of nobody else."""
    rng = np.random.default_rng(seed)
    words = [*_WORDS.split(), *(f"w{number}" for number in range(3_000))]
    weights = 1 / np.arange(1, len(words) + 1)
    drawn = rng.choice(len(words), size=(num, 14), p=weights / weights.sum())
    return [" ".join(words[one] for one in row[: rng.integers(5, 15)]) for row in drawn]


def microseconds(call: Callable[[int], object], num: int) -> tuple[float, float, float]:
    """Median, p99 and mean of processor time over calls with 0, 1, 2, ..."""
    spent = []
    for number in range(num):
        begun = time.thread_time_ns()
        call(number)
        spent.append(time.thread_time_ns() - begun)
    times = np.array(spent) / 1000
    return float(np.median(times)), float(np.percentile(times, 99)), float(times.mean())


def index_row(name: str, vectors: NDArray[np.float32]) -> list[str]:
    """What an index of all but the last vectors finds for these, and what a search and an insertion take."""
    held, asked = vectors[:-_NUM_HELD], vectors[-_NUM_HELD:]
    index = UsearchIndex(vectors.shape[1])
    added = microseconds(lambda place: index.add(place, held[place]), len(held))
    searched = microseconds(lambda place: index.search(asked[place], NUM_NEIGHBOURS), _NUM_HELD)
    nearest = np.argsort(-(asked @ held.T), axis=1)[:, :NUM_NEIGHBOURS]
    num_first = num_all = 0
    for vector, truth in zip(asked, nearest.tolist(), strict=True):
        found = {key for _, key in index.search(vector, NUM_NEIGHBOURS)}
        num_first += truth[0] in found
        num_all += len(found.intersection(truth))
    first = proportion_interval(num_first, len(asked))
    return [
        name,
        f"{len(held):,}",
        f"{first.estimate:.1%} [{first.low:.1%}, {first.high:.1%}]",
        f"{num_all / nearest.size:.1%}",
        f"{searched[0]:.0f}",
        f"{added[2]:.0f}",
    ]


def main(args: Sequence[str] = ()) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks semantic_lookup --", description=QUESTION)
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--lookups", type=int, default=5_000)
    options = parser.parse_args(args)
    scopes = Scopes(options.entries, None, lambda: UsearchIndex(hashed.SIZE))
    for number, text in enumerate(texts(options.entries, 1)):
        scopes.add(_SCOPE, hashed.encode(text), Entry(0, read(text), number % 500, 0))
    policy = Policy(0.01, 0.03)
    asked = texts(options.lookups, 2)
    vectors = [hashed.encode(text) for text in asked]
    wordings = [read(text) for text in asked]
    found = [scopes.search(_SCOPE, vector, text, 0) for vector, text in zip(vectors, asked, strict=True)]
    steps: dict[str, Callable[[int], object]] = {
        "hashed encoder": lambda place: hashed.encode(asked[place]),
        "wording": lambda place: read(asked[place]),
        "index": lambda place: scopes.search(_SCOPE, vectors[place], asked[place], 0),
        "decision": lambda place: policy.decide(look(wordings[place], found[place], policy.records)),
    }
    rows, total = [], 0.0
    for name, step in steps.items():
        median, tail, mean = microseconds(step, options.lookups)
        rows.append([name, f"{median:.0f}", f"{tail:.0f}", f"{mean:.0f}"])
        total += median if name != "hashed encoder" else 0
    print(
        f"# {QUESTION}\n\nProcessor time in µs, {options.lookups:,} lookups; the goal is {GOAL_US} without the encoder.\n"
    )
    print(markdown_table(["step", "median", "p99", "mean"], rows))
    print(f"\nWithout the encoder: {total:.0f} µs: {'met' if total <= GOAL_US else 'not met'}.")
    drawn = np.array([hashed.encode(text) for text in texts(options.entries + _NUM_HELD, 1)])
    found = [index_row("drawn", drawn)]
    for name, stream in kept().items():
        different = np.unique(stream.vectors, axis=0)
        found.append(index_row(name, np.random.default_rng(3).permutation(different)))
    heads = ["texts", "entries", "nearest found [95 %]", "of sixteen", "search, µs", "insertion, µs"]
    print(f"\nOf {_NUM_HELD} other texts (hashed):\n")
    print(markdown_table(heads, found))
    return 0
