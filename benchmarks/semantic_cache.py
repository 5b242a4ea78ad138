"""How many requests a semantic cache answers inside its budget of wrong answers, beside vCache's rule."""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks._semantic_streams import KINDS, Stream, drawn, kept, replayed, shuffled
from benchmarks._tables import markdown_table
from benchmarks._vcache_rule import VCacheRule
from trivet.pipeline.semantic.looking import NUM_NEIGHBOURS, Entry, look
from trivet.pipeline.semantic.policy import Policy

QUESTION = (
    "How many requests does the semantic cache answer inside its budget, and how often does it keep it?"
)
SHORT = False
_BLOCK = 500  # requests whose similarities are computed at once
_SETTLED = 500  # requests from which the share of wrong answers is looked at after each
_AUDIT_SHARE = 0.03


@dataclass(frozen=True, slots=True)
class Outcome:
    """Shares of all requests. worst: the largest share of wrong answers after any request. exact: repeated bit by bit."""

    hits: float
    wrong: float
    worst: float = 0.0
    exact: float = 0.0
    num_alarms: int = 0


def similarities(stream: Stream) -> Iterator[NDArray[np.float32]]:
    """For each request those to all before it."""
    for start in range(0, len(stream), _BLOCK):
        end = min(len(stream), start + _BLOCK)
        block = stream.vectors[start:end] @ stream.vectors[:end].T
        for place in range(start, end):
            yield np.minimum(block[place - start, :place], 1.0)


def pooled(stream: Stream, budget: float, seed: int, *, has_exact: bool = False) -> Outcome:
    """The policy as the server runs it. Args: has_exact: an exact cache stands before it."""
    policy = Policy(budget, _AUDIT_SHARE, seed)
    entries: list[Entry | None] = [None] * len(stream)
    is_kept = np.zeros(len(stream), np.bool_)
    answered: set[int] = set()
    hits = wrong = exact = 0
    worst = 0.0
    for place, row in enumerate(similarities(stream)):
        if has_exact and int(stream.texts[place]) in answered:
            exact += 1
            continue
        found = _nearest(row, is_kept, entries)
        seen = look(stream.wordings[place], found, policy.records)
        decision = policy.decide(seen)
        answer = int(stream.answers[place])
        if decision.is_hit and seen is not None:
            hits += 1
            wrong += seen.answer != answer
        else:
            answered.add(int(stream.texts[place]))
            if policy.learn(decision, seen is not None and seen.answer == answer):
                is_kept[:] = False
            if (fitting := policy.due()) is not None:
                policy.adopt(fitting.run())
            entries[place] = Entry(place, stream.wordings[place], answer, 0)
            is_kept[place] = True
            for similarity, entry in found:
                if similarity >= 0.9999 and entry.answer != answer:
                    is_kept[entry.key] = False
        if place >= _SETTLED:
            worst = max(worst, wrong / (place + 1))
    num = len(stream)
    return Outcome((hits + exact) / num, wrong / num, worst, exact / num, policy.num_alarms)


def _nearest(
    row: NDArray[np.float32], is_kept: NDArray[np.bool_], entries: Sequence[Entry | None]
) -> list[tuple[float, Entry]]:
    places = np.flatnonzero(is_kept[: len(row)])
    close = row[places]
    if len(places) > NUM_NEIGHBOURS:
        best = np.argpartition(-close, NUM_NEIGHBOURS - 1)[:NUM_NEIGHBOURS]
        places, close = places[best], close[best]
    order = np.argsort(-close, kind="stable")
    pairs = [(float(close[one]), entries[places[one]]) for one in order]
    return [(similarity, entry) for similarity, entry in pairs if entry is not None]


def by_vcache(stream: Stream, budget: float, seed: int) -> Outcome:
    rule = VCacheRule(budget, seed)
    is_kept = np.zeros(len(stream), np.bool_)
    hits = wrong = 0
    for place, row in enumerate(similarities(stream)):
        places = np.flatnonzero(is_kept[:place])
        if len(places):
            nearest = int(places[row[places].argmax()])
            similarity = float(row[nearest])
            is_right = bool(stream.answers[nearest] == stream.answers[place])
            if rule.is_hit(nearest, similarity):
                hits += 1
                wrong += not is_right
                continue
            rule.observe(nearest, similarity, is_right)
            if is_right:
                continue
        is_kept[place] = True
        rule.begin(place)
    return Outcome(hits / len(stream), wrong / len(stream))


def compared(name: str, make: Callable[[int], Stream], budget: float, seeds: range) -> list[str]:
    ours, theirs = [], []
    for seed in seeds:
        stream = make(seed)
        ours.append(pooled(stream, budget, seed))
        theirs.append(by_vcache(stream, budget, seed))
    hits, rival = np.mean([one.hits for one in ours]), np.mean([one.hits for one in theirs])
    return [
        name,
        f"{budget:.0%}",
        f"{hits:.1%}",
        f"{np.mean([one.wrong for one in ours]):.2%}",
        f"{max(one.wrong for one in ours):.2%}",
        f"{sum(one.wrong <= budget for one in ours)} of {len(ours)}",
        f"{sum(one.worst <= budget for one in ours)} of {len(ours)}",
        f"{rival:.1%}",
        f"{np.mean([one.wrong for one in theirs]):.2%}",
        f"{sum(one.wrong <= budget for one in theirs)} of {len(theirs)}",
        f"{hits / rival:.1f}" if rival else "-",
    ]


def replay(name: str, stream: Stream, num: int, budget: float, seeds: range) -> list[str]:
    outcomes = [pooled(replayed(stream, num, seed), budget, seed, has_exact=True) for seed in seeds]
    return [
        name,
        f"{budget:.0%}",
        f"{np.mean([one.hits for one in outcomes]):.1%}",
        f"{np.mean([one.exact for one in outcomes]):.1%}",
        f"{np.mean([one.wrong for one in outcomes]):.2%}",
        f"{sum(one.wrong <= budget for one in outcomes)} of {len(outcomes)}",
    ]


def main(args: Sequence[str] = ()) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks semantic_cache --", description=QUESTION)
    parser.add_argument("--shuffles", type=int, default=50)
    parser.add_argument("--requests", type=int, default=8_000)
    parser.add_argument("--budget", type=float, nargs="*", default=[0.01, 0.02])
    parser.add_argument(
        "--vectors", type=Path, help="a folder with NAME.npy of another encoder for each stream"
    )
    parser.add_argument("--streams", nargs="*", help="names; by default all")
    options = parser.parse_args(args)
    seeds = range(options.shuffles)
    texts = kept(options.vectors)
    makers: dict[str, Callable[[int], Stream]] = {
        name: (lambda seed, stream=stream: shuffled(stream, options.requests, seed))
        for name, stream in texts.items()
    } | {kind: (lambda seed, kind=kind: drawn(kind, options.requests, seed)) for kind in KINDS}
    chosen = {name: make for name, make in makers.items() if not options.streams or name in options.streams}
    print(f"# {QUESTION}\n\n{options.requests:,} requests, {options.shuffles} shuffles or seeds each.\n")
    heads = ["stream", "budget", "hits", "wrong", "most wrong", "kept", "kept at all times"]
    heads += ["vCache's hits", "wrong", "kept", "hits, times"]
    rows = []
    for name, make in chosen.items():
        for budget in options.budget:
            rows.append(compared(name, make, budget, seeds))
            print(" | ".join(rows[-1]), flush=True)
    print(f"\n{markdown_table(heads, rows)}\n")
    replays = {name: stream for name, stream in texts.items() if name in chosen}
    if replays:
        lines = [replay(name, stream, options.requests, 0.01, seeds) for name, stream in replays.items()]
        heads = ["stream", "budget", "hits", "of them exact", "wrong", "kept"]
        print(f"Zipf's law, behind an exact cache:\n\n{markdown_table(heads, lines)}")
    return 0
