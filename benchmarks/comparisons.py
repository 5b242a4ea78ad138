"""Do comparisons keep their promises, and what do they find? Simulated, so that the truth is known."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy

from benchmarks import _histories, _other_ways, _paired_queues
from benchmarks._comparisons_page import page
from benchmarks._paired_queues import FIGURES, Floats, Pairs, Rng, coin
from benchmarks._promises import promises
from trivet.stats._sign_bets import log_evidence
from trivet.stats.family import PairedFamily
from trivet.stats.multiple import closed_e_values
from trivet.stats.student_t import quantile

QUESTION = "Do comparisons keep their promises under continuous looking, and what do they find?"
SHORT = False

ALPHA, ALPHA_EQUIVALENT, MAX_PAIRS, MARGIN = 0.01, 0.05, 64, 0.05
LOADS, CVS = (0.5, 0.8), (0.05, 0.1)
POOL = 20_000  # pairs simulated for each load
ARM_PAIRS, SLOWDOWN = 20, 1.02  # 20 blocks of 1,000 requests an arm
_SYNTHETIC: dict[str, Callable[[Rng, tuple[int, ...]], Floats]] = {
    "Student t, 3 degrees": _paired_queues.student_t3,
    "difference of two lognormals": _paired_queues.skewed,
    "hiccup in 1 pair of 20": _paired_queues.hiccups,
    "second side 1 % slower": _paired_queues.order_effect,
    "random walk of the machine": _paired_queues.drift,
    "no coin, skewed (not promised)": _paired_queues.skewed_fixed_order,
}
Record = dict[str, Any]


def main(args: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks comparisons --", description=QUESTION)
    parser.add_argument(
        "--comparisons", type=int, default=10_000, help="of alike sides, for each noise [10000]"
    )
    parser.add_argument(
        "--found", type=int, default=400, help="comparisons of a slowdown, for each cell [400]"
    )
    parser.add_argument(
        "--histories", type=int, default=1_000, help="of each kind, and trials of other promises [1000]"
    )
    parser.add_argument("--seed", type=int, default=20_261)
    parser.add_argument("--json", type=Path, help="write the record")
    parser.add_argument("--from-json", type=Path, help="draw the page from a record, run nothing")
    parser.add_argument("--write", type=Path, help="write the page")
    options = parser.parse_args(args)
    record = json.loads(options.from_json.read_text()) if options.from_json else measure(options)
    if options.json:
        options.json.write_text(json.dumps(record, indent=1))
    text = page(record)
    if options.write:
        options.write.write_text(text)
    print(text)
    return 0


def measure(options: argparse.Namespace, pool: int = POOL) -> Record:
    arms, looks, histories, trials = np.random.default_rng(options.seed).spawn(4)
    alike = pools(arms, pool)
    return {
        "machine": f"CPython {platform.python_version()}, numpy {np.__version__}, scipy {scipy.__version__}",
        "seed": options.seed,
        "comparisons": options.comparisons,
        "alarms": false_alarms(looks, alike, options.comparisons),
        "equivalence": equivalence(looks, alike, options.comparisons),
        "found_of": options.found,
        "found": [slowdown(arms, Pairs(load, cv), options.found) for load in LOADS for cv in CVS],
        "histories": options.histories,
        "gate": gate(histories, options.histories),
        "promises": promises(trials, options.histories),
    }


def pools(rng: Rng, num: int) -> dict[float, dict[str, Floats]]:
    """Pairs of alike sides at each load: what comparisons are drawn from."""
    return {load: Pairs(load, 0.1).log_ratios(rng, (num,)) for load in LOADS}


def drawn(rng: Rng, pool: dict[str, Floats], shape: tuple[int, ...]) -> dict[str, Floats]:
    """Pairs from a pool, all figures of a pair together, with a coin for which side is the baseline."""
    chosen, sign = rng.integers(len(next(iter(pool.values()))), size=shape), coin(rng, shape)
    return {name: sign * values[chosen] for name, values in pool.items()}


def false_alarms(rng: Rng, alike: dict[float, dict[str, Floats]], num: int) -> list[Record]:
    """Comparisons of alike sides that a look at any number of pairs calls better or worse."""
    rows: list[Record] = []
    for load, pool in alike.items():
        figures = drawn(rng, pool, (num, MAX_PAIRS))
        rows += [
            _alarm_row(f"queue, load {load}, {name}", differences) for name, differences in figures.items()
        ]
        rows.append({"noise": f"queue, load {load}, any of the three", "ours": family_alarms(figures)})
    for name, draw in _SYNTHETIC.items():
        rows.append(_alarm_row(name, draw(rng, (num, MAX_PAIRS))))
    return rows


def _alarm_row(noise: str, differences: Floats) -> Record:
    return {
        "noise": noise,
        "ours": alarms(differences),
        "t test": int(_other_ways.t_test_at_every_look(differences, ALPHA).sum()),
        "asymptotic": int(_other_ways.asymptotic_sequence(differences, ALPHA).sum()),
    }


def alarms(differences: Floats) -> int:
    """How many rows `PairedSequence` calls better or worse at any look, were it never to stop at equivalent."""
    evidence = np.maximum(log_evidence(differences), log_evidence(-differences))
    return int((evidence.max(axis=1) >= np.log(2 / ALPHA)).sum())


def family_alarms(figures: dict[str, Floats]) -> int:
    """The same of `PairedFamily`, in any of its figures."""
    evidence = [
        np.maximum(log_evidence(values), log_evidence(-values)) - np.log(2) for values in figures.values()
    ]
    adjusted = closed_e_values(np.exp(np.stack(evidence, axis=-1)))
    return int((adjusted.max(axis=(1, 2)) >= 1 / ALPHA).sum())


def equivalence(rng: Rng, alike: dict[float, dict[str, Floats]], num: int) -> list[Record]:
    """How often sides exactly a margin apart are called equivalent, and how soon alike ones are."""
    noises = {
        f"queue, load {load}, {name}": values
        for load, pool in alike.items()
        for name, values in drawn(rng, pool, (num, MAX_PAIRS)).items()
    }
    noises |= {name: _SYNTHETIC[name](rng, (num, MAX_PAIRS)) for name in list(_SYNTHETIC)[:5]}
    return [_equivalence_row(name, values) for name, values in noises.items()]


def _equivalence_row(noise: str, differences: Floats) -> Record:
    band, enough = np.log1p(MARGIN), np.log(1 / ALPHA_EQUIVALENT)
    at_margin = np.minimum.reduce(_within(differences + band, band)).max(axis=1) >= enough
    not_below, not_above = (np.maximum.accumulate(side, axis=1) for side in _within(differences, band))
    shown = np.minimum(not_below, not_above) >= enough
    first = np.where(shown.any(axis=1), shown.argmax(axis=1) + 1, MAX_PAIRS + 1)
    ten = differences[:, :10]  # a number fixed beforehand: two one-sided t tests
    error = ten.std(axis=1, ddof=1) / np.sqrt(10) * quantile(1 - ALPHA_EQUIVALENT, 9)
    by_t = np.abs(ten.mean(axis=1) + band) + error < band
    return {
        "noise": noise,
        "false": int(at_margin.sum()),
        "false by t": int(by_t.sum()),
        "within 64": int((first <= MAX_PAIRS).sum()),
        "median": int(np.median(first)),
    }


def _within(differences: Floats, band: float) -> list[Floats]:
    return [log_evidence(differences + band), log_evidence(band - differences)]


def slowdown(rng: Rng, pairs: Pairs, num: int) -> Record:
    """A candidate whose service takes 2 % longer: how often any figure is called worse, and each of them alone."""
    figures = pairs.log_ratios(rng, (num, ARM_PAIRS), SLOWDOWN)
    ends = [_end({name: figures[name][i] for name in FIGURES}) for i in range(num)]
    alone = {
        name: int((log_evidence(values).max(axis=1) >= np.log(2 / ALPHA)).sum())
        for name, values in figures.items()
    }
    return {
        "load": pairs.load,
        "cv": pairs.cv,
        "effect": {name: float(np.exp(values.mean())) for name, values in figures.items()},
        "worse": sum(is_worse for is_worse, _ in ends),
        "requests": int(np.median([num_pairs for _, num_pairs in ends])) * pairs.requests,
        "alone": alone,
    }


def _end(figures: dict[str, Floats]) -> tuple[bool, int]:
    """Whether a family of all figures ends in "worse" for any of them, and after how many pairs."""
    family = PairedFamily(dict.fromkeys(figures, 0.01), ALPHA)
    for row in zip(*figures.values(), strict=True):
        family.add(dict(zip(figures, map(float, row), strict=True)))
        if "worse" in family.verdicts().values():
            return True, family.num_pairs
    return False, ARM_PAIRS


def gate(rng: Rng, num: int) -> Record:
    """Histories without a change and with one of 5 to 20 %: suspected, measured beside a run from before, confirmed."""
    unchanged = [_histories.outcome(rng) for _ in range(num)]
    changed = [_histories.outcome(rng, 1 + float(rng.uniform(0.05, 0.2))) for _ in range(num)]
    least = [_histories.outcome(rng, 1.05) for _ in range(num)]
    return {
        name: {
            "suspected": sum(one.suspected for one in outcomes),
            "before": sum(one.before for one in outcomes),
            "regression": sum(one.regression for one in outcomes),
            "pairs": float(np.mean([one.pairs for one in outcomes])),
        }
        for name, outcomes in (("none", unchanged), ("5 to 20 %", changed), ("5 %", least))
    }


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
