"""What does tuning gain on real models, and how good are the defaults alone? Live: needs a quiet machine."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from benchmarks import _tuning_page
from benchmarks._live_services import Prepared, live_study, prepared, real_services
from benchmarks._records import OUT
from trivet.catalog.records import Figure
from trivet.catalog.study import Study
from trivet.errors import UserError
from trivet.spec.tuning import Tuning
from trivet.tune.legs import ratio_of

QUESTION = (
    "How much does tuning gain over the defaults, with the same answers and with others, on 5 real models?"
)
SHORT = False
Record = dict[str, Any]


def main(args: Sequence[str] = ()) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks tune_gains --", description=QUESTION)
    parser.add_argument("--only", help="names of models, with commas between")
    parser.add_argument("--budget", type=float, default=300.0, help="seconds of each of the two tunes [300]")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--packages", type=Path, help="folder with the sentence encoder's package")
    parser.add_argument("--again", action="store_true", help="measure again what is on record")
    parser.add_argument("--write", type=Path, help="draw the page of all tuning benchmarks")
    options = parser.parse_args(args)
    makers = real_services(options.packages)
    wanted = options.only.split(",") if options.only else list(makers)
    folder = OUT / "tuning"
    for name in wanted:
        path = folder / f"gains-{name}.json"
        if path.is_file() and not options.again:
            continue
        try:
            found = prepared(name, makers[name], folder / "services")
        except UserError as error:
            sys.stderr.write(f"{name} is left out: {error}\n")
            continue
        record = gain_of(name, found, options.budget, options.seed, folder / f"profile-{name}.json")
        path.write_text(json.dumps(record, indent=1))
    print(_tuning_page.gains_section(_tuning_page.kept("gains-*.json")))
    if options.write:
        options.write.write_text(_tuning_page.page())
    return 0


def gain_of(name: str, found: Prepared, budget_s: float, seed: int, profile_path: Path) -> Record:
    """Two tunes: with variants that keep the answers alone, then with all."""
    same = tuple(one.variant.name for one in found.judged if not one.variant.answers_change and one.in_search)
    kept = tuple(dict.fromkeys(("original", *same)))
    unchanged = live_study(found, Tuning(variants=kept), budget_s, seed, profile_path)
    changed = live_study(found, Tuning(), budget_s, seed, profile_path)
    return {
        "model": name,
        "slo_ms": found.goal.slo_latency_ns / 1e6,
        "floor": found.goal.accuracy_floor,
        "machine": unchanged.environment.processor.model,
        "same answers": _side(unchanged),
        "all": _side(changed),
    }


def _side(study: Study) -> Record:
    """The default and the choice of one study, and how many times the one is the other."""
    default = study.trials[0].measured
    chosen = study.recommendation
    trial = next((one for one in study.trials if chosen is not None and one.id == chosen.trial), None)
    if trial is None or "max_rate_rps" not in default or "max_rate_rps" not in trial.measured:
        return {"why": chosen.binding if chosen is not None else "; ".join(study.notes)}
    ratio = ratio_of(trial.measured, default, "max_rate_rps")
    if trial.id == study.trials[0].id:
        ratio = Figure(estimate=1.0, low=1.0, high=1.0, unit="times")
    return {
        "default": msgspec.to_builtins(default["max_rate_rps"]),
        "chosen": msgspec.to_builtins(trial.measured["max_rate_rps"]),
        "ratio": msgspec.to_builtins(ratio),
        "levers": {
            name: value for name, value in trial.levers.items() if value != study.trials[0].levers[name]
        },
        "accuracy": msgspec.to_builtins(trial.measured.get("accuracy")),
        "default_accuracy": msgspec.to_builtins(default.get("accuracy")),
        "meets": chosen is not None and chosen.meets,
        "live_trials": sum(bool(one.blocks) for one in study.trials),
        "spent_s": sum(study.spent_ns.values()) / 1e9,
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
