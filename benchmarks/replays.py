"""Do replays say `reproduced` of what is unchanged, and `differs` with the right name of what was changed?"""

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from benchmarks._changing_service import Changing, library, trivet
from benchmarks._harness import OUT, Comparison, Measurement, compare, markdown_table
from benchmarks._options import parser

QUESTION = "Are unchanged runs reproduced, and changed ones found and named?"
VERDICTS = ("reproduced", "differs", "cannot tell")
UNCHANGED, CHANGED = KINDS = ("unchanged", "changed")
ROUNDS = 40  # of the service's arithmetic: half a millisecond and more
MORE_WORK = "1.15"  # times the arithmetic, which is two thirds of the engine's time: 10 % of that
HOME = OUT / "replays"  # with what each replay said

Change = Callable[
    [Changing, argparse.Namespace], Mapping[str, str]
]  # makes the change; variables of the replay


def slower_engine(service: Changing, options: argparse.Namespace) -> Mapping[str, str]:
    return {"WORK_FACTOR": MORE_WORK}


def one_weight(service: Changing, options: argparse.Namespace) -> Mapping[str, str]:
    service.changed(weight=1e-3)
    return {}


def batch_limit(service: Changing, options: argparse.Namespace) -> Mapping[str, str]:
    service.changed(max_batch_size=4)
    return {}


def library_version(service: Changing, options: argparse.Namespace) -> Mapping[str, str]:
    with library(options.library, HOME / "library") as variables:
        return variables


def threads(service: Changing, options: argparse.Namespace) -> Mapping[str, str]:
    return {"OMP_NUM_THREADS": "2"}


# What a verdict must name, in any of its changes.
CHANGES: Mapping[str, tuple[Change, str]] = {
    "engine 10 % slower": (slower_engine, "engine time"),
    "one weight": (one_weight, "file weights.npy"),
    "batch limit": (batch_limit, "lever max_batch_size"),
    "library version": (library_version, "library "),
    "threads": (threads, "threads OMP_NUM_THREADS"),
}


def main(args: Sequence[str] = ()) -> int:
    made = parser("replays", QUESTION, blocks=4, seconds=60)
    made.add_argument("--starts", type=int, default=10, help="of the service, and of the yardstick [10]")
    made.add_argument("--rate", type=float, default=400, help="requests a second [400]")
    made.add_argument(
        "--library", default="prometheus-client==0.21.0", help="another version than the installed one"
    )
    options = made.parse_args(args)
    comparison = compare(
        "replays",
        {name: partial(measure, name, options=options) for name in CHANGES},
        num_blocks=options.blocks,
        seed=options.seed,
        settings={
            "rate": options.rate,
            "seconds": options.seconds,
            "starts": options.starts,
            "engine": f"{ROUNDS} rounds",
            "slower": MORE_WORK,
        },
        resume=options.resume,
    )
    print(f"# {QUESTION}\n\n{comparison.preface()}\n\n{table(comparison)}\n{summary(comparison)}")
    return 0


def measure(name: str, seed: int, *, options: argparse.Namespace) -> Measurement:
    """One recorded run and two replays of it, in drawn order: of the service as it was, and with the change."""
    service = Changing(HOME / "service", rounds=ROUNDS).write()
    catalog = HOME / "catalog"
    load = [
        "--rate",
        f"{options.rate:g}",
        "--duration",
        f"{options.seconds:g}s",
        "--seed",
        str(seed),
        "--yardstick",
    ]
    load += ["--blocks", str(options.starts), "--starts", str(options.starts)]
    began = time.monotonic()
    code, recorded = trivet(["bench", str(service.path), *load], catalog)
    values = {"run_seconds": time.monotonic() - began}
    if code:
        return Measurement(values={}, invalid=f"the recorded run ended with {code}")
    change, named = CHANGES[name]
    for kind in random.Random(f"{seed} {name}").sample(KINDS, len(KINDS)):
        service.write()
        variables = change(service, options) if kind == CHANGED else {}
        began = time.monotonic()
        try:
            _, found = trivet(["replay", recorded["run"]], catalog, variables)
        except RuntimeError as error:
            return Measurement(values={}, invalid=f"the replay did not begin: {error}")
        values |= {f"{kind} {verdict}": float(found["verdict"] == verdict) for verdict in VERDICTS}
        values[f"{kind} named"] = float(any(text.startswith(named) for text in found["differs"]))
        values[f"{kind} seconds"] = time.monotonic() - began
        (HOME / f"{seed}-{name}-{kind}.json").write_text(json.dumps(found, indent=1))
    return Measurement(values=values)


def table(comparison: Comparison) -> str:
    rows = [
        _row(UNCHANGED, [record for name in CHANGES for record in _measured(comparison, name)], UNCHANGED)
    ]
    rows += [_row(name, _measured(comparison, name), CHANGED) for name in CHANGES]
    return markdown_table(
        ["what changed", "replays", *VERDICTS, "named", "longest, of the run's length"], rows
    )


def _row(name: str, measured: Sequence[Mapping[str, float]], kind: str) -> list[object]:
    counts = [f"{sum(values[f'{kind} {verdict}'] for values in measured):.0f}" for verdict in VERDICTS]
    named = f"{sum(values[f'{kind} named'] for values in measured):.0f}" if kind == CHANGED else ""
    longest = max((values[f"{kind} seconds"] / values["run_seconds"] for values in measured), default=0.0)
    return [name, len(measured), *counts, named, f"{longest:.2f}"]


def summary(comparison: Comparison) -> str:
    """Beside the goals: at least 16 of 20 reproduced and none different; 18 of 20 different and named, none reproduced."""
    measured = [values for name in CHANGES for values in _measured(comparison, name)]

    def count(what: str) -> int:
        return round(sum(values[what] for values in measured))

    found = sum(bool(values[f"{CHANGED} differs"] and values[f"{CHANGED} named"]) for values in measured)
    return (
        f"\nUnchanged: {count(f'{UNCHANGED} reproduced')} of {len(measured)} reproduced, "
        f"{count(f'{UNCHANGED} differs')} differ. Changed: {found} of {len(measured)} differ and are named, "
        f"{count(f'{CHANGED} reproduced')} reproduced.\n"
    )


def _measured(comparison: Comparison, name: str) -> list[Mapping[str, float]]:
    """Of every record, as each stands for itself: these are no pairs."""
    return [
        record.measurement.values
        for record in comparison.records
        if record.side == name and not record.measurement.invalid
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
