"""Do replays say `reproduced` of what is unchanged, and `differs` with the right name of what was changed?"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from benchmarks._changing_service import ROUNDS, Changing, library, trivet
from benchmarks._harness import OUT, Comparison, Measurement, compare, markdown_table
from benchmarks._options import parser
from trivet.catalog.catalog import Catalog
from trivet.catalog.records import RunFilter

QUESTION = "Are unchanged runs reproduced, and changed ones found and named?"
UNCHANGED = 5  # of each block, beside one of each change
VERDICTS = ("reproduced", "differs", "cannot tell")
HOME = OUT / "replays"

Change = Callable[
    [Changing, argparse.Namespace], Mapping[str, str]
]  # makes the change; variables of the replay


def slower_engine(service: Changing, options: argparse.Namespace) -> Mapping[str, str]:
    return {"WORK_FACTOR": "1.1"}


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
    made.add_argument("--rate", type=float, default=200, help="requests a second [200]")
    made.add_argument(
        "--library", default="prometheus-client==0.21.0", help="another version than the installed one"
    )
    options = made.parse_args(args)
    sides: dict[str, Callable[[int], Measurement]] = {
        f"unchanged {index}": partial(measure, None, "", options=options) for index in range(UNCHANGED)
    }
    sides |= {
        name: partial(measure, change, named, options=options) for name, (change, named) in CHANGES.items()
    }
    comparison = compare(
        "replays",
        sides,
        num_blocks=options.blocks,
        seed=options.seed,
        settings={"rate": options.rate, "seconds": options.seconds, "engine": f"{ROUNDS} rounds"},
        resume=options.resume,
    )
    print(f"# {QUESTION}\n\n{comparison.preface()}\n\n{table(comparison)}\n{summary(comparison)}")
    return 0


def measure(change: Change | None, named: str, seed: int, *, options: argparse.Namespace) -> Measurement:
    """One recorded run, one change, one replay."""
    service = Changing(HOME / "service").write()
    catalog = HOME / "catalog"
    load = ["--rate", f"{options.rate:g}", "--duration", f"{options.seconds:g}s", "--seed", str(seed)]
    began = time.monotonic()
    code, _ = trivet(["bench", str(service.path), *load], catalog)
    run_seconds = time.monotonic() - began
    if code:
        return Measurement(values={}, invalid=f"the recorded run ended with {code}")
    (recorded,) = Catalog.open(str(catalog)).runs(RunFilter(kind="bench", limit=1))
    variables = change(service, options) if change is not None else {}
    began = time.monotonic()
    try:
        _, found = trivet(["replay", recorded.id], catalog, variables)
    except RuntimeError as error:
        return Measurement(values={}, invalid=f"the replay did not begin: {error}")
    values = {verdict: float(found["verdict"] == verdict) for verdict in VERDICTS}
    values["named"] = float(any(text.startswith(named) for text in found["differs"])) if named else 0.0
    values |= {"run_seconds": run_seconds, "replay_seconds": time.monotonic() - began}
    return Measurement(values=values)


def table(comparison: Comparison) -> str:
    rows = []
    for kind in ("unchanged", *CHANGES):
        measured = _measured(comparison, kind)
        counts = [f"{sum(values[verdict] for values in measured):.0f}" for verdict in VERDICTS]
        named = f"{sum(values['named'] for values in measured):.0f}" if kind != "unchanged" else ""
        longest = max((values["replay_seconds"] / values["run_seconds"] for values in measured), default=0.0)
        rows.append([kind, len(measured), *counts, named, f"{longest:.2f}"])
    return markdown_table(
        ["what changed", "replays", *VERDICTS, "named", "longest, of the run's length"], rows
    )


def summary(comparison: Comparison) -> str:
    """Beside the goals: at least 16 of 20 reproduced and none different; 18 of 20 different and named, none reproduced."""
    unchanged = _measured(comparison, "unchanged")
    changed = [values for kind in CHANGES for values in _measured(comparison, kind)]
    found = sum(values["differs"] and values["named"] for values in changed)
    return (
        f"\nUnchanged: {sum(v['reproduced'] for v in unchanged):.0f} of {len(unchanged)} reproduced, "
        f"{sum(v['differs'] for v in unchanged):.0f} differ. Changed: {found:.0f} of {len(changed)} differ and are named, "
        f"{sum(v['reproduced'] for v in changed):.0f} reproduced.\n"
    )


def _measured(comparison: Comparison, kind: str) -> list[Mapping[str, float]]:
    """Of every record, as each stands for itself: these are no pairs."""
    return [
        record.measurement.values
        for record in comparison.records
        if record.side.startswith(kind) and not record.measurement.invalid
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
