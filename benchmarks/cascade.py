"""Is a certified cascade as good as certified, and what does it save? Banking77, resplit a hundred times."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks._cascade_services import cpu_per_request, write_service
from benchmarks._harness import server_and_client_core
from benchmarks._ladder import NAMES, Ladder, ladder
from benchmarks._records import OUT
from benchmarks._tables import markdown_table
from trivet.experiment.certifying.cascade_points import Recorded, Thresholds, certified, outcome, proposed
from trivet.host import affinity
from trivet.pipeline.exits import confidences
from trivet.spec.exit import Exit

QUESTION = (
    "Does a certified cascade keep to its budget, and how much processor time does it save (Banking77)?"
)
SHORT = False
FOLDER = OUT / "cascade"
RUNGS = ("linear", "int8", "full")
BUDGET = 0.005
_PROPOSING = 1500
_ROWS_LIVE = 300
# Of one request, end to end in one thread, where nothing was measured in the server: ms.
_ASSUMED_MS = {"linear": 0.12, "small": 1.1, "int8": 1.8, "full": 3.7}


@dataclass(frozen=True, slots=True)
class Split:
    """One resplit. loss: on the rows that nothing was chosen by, net.  saving: against the last model, and against the
    cheapest single rung that the same rows certify."""

    thresholds: Thresholds
    loss: float
    saving: float
    saving_single: float
    single: str


def main(args: Sequence[str] = ()) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks cascade --", description=QUESTION)
    parser.add_argument("--packages", type=Path, help="folder with both MiniLM packages; once")
    parser.add_argument("--folder", type=Path, default=FOLDER / "ladder", help="the ladder is kept there")
    parser.add_argument("--resplits", type=int, default=100)
    parser.add_argument("--rows", type=int, default=6000, help="that certify [6000]")
    parser.add_argument("--confidence", type=float, default=0.95)
    parser.add_argument("--rungs", default=",".join(RUNGS), help=f"from {', '.join(NAMES)}")
    parser.add_argument(
        "--blocks", type=int, default=0, help="measure in the server, so many blocks [0: not]"
    )
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(args)
    found = ladder(options.packages or Path("packages"), options.folder)
    rungs = tuple(options.rungs.split(","))
    costs = (
        _measured(found, rungs, options.blocks, options.seed)
        if options.blocks
        else _kept_costs(options.folder)
    )
    splits = resplits(found, rungs, costs, options.rows, options.resplits, options.confidence, options.seed)
    print(_page(found, rungs, costs, splits))
    if options.blocks:
        print(_live(found, rungs, splits, options.blocks, options.seed))
    return 0


def resplits(
    found: Ladder,
    rungs: Sequence[str],
    costs: dict[str, float],
    num_rows: int,
    times: int,
    confidence: float,
    seed: int,
) -> list[Split]:
    """Rows dealt anew each time: some to propose, `num_rows` to certify, the others to test."""
    whole = recorded_of(found, rungs, costs)
    rng = np.random.default_rng(seed)
    splits = []
    for _ in range(times):
        order = rng.permutation(whole.num_rows)
        certifying = whole.part(order[_PROPOSING : _PROPOSING + num_rows])
        test = whole.part(order[_PROPOSING + num_rows :])
        settings = proposed(whole.part(order[:_PROPOSING]), BUDGET)
        points = certified(certifying, settings, max_loss=BUDGET, confidence=confidence)
        if points:
            splits.append(_split(points[-1].thresholds, certifying, test, rungs, costs, confidence))
        else:
            splits.append(Split((), 0.0, 0.0, 0.0, rungs[-1]))
    return splits


def recorded_of(found: Ladder, rungs: Sequence[str], costs: dict[str, float]) -> Recorded:
    """Args: costs: of a request that is answered at each rung, and `alone`, at the last one without any before it."""
    chosen = [NAMES.index(rung) for rung in rungs]
    rule = Exit(output="logits", at_least=1.0)
    said = found.scores[chosen].argmax(axis=2)
    reached = [costs[rung] for rung in rungs]
    return Recorded(
        np.array([confidences(rule, found.scores[place]) for place in chosen[:-1]]),
        said == found.labels,
        said.astype(np.int64),
        np.diff([0.0, *reached]),
        costs["alone"],
    )


def _split(
    thresholds: Thresholds,
    certifying: Recorded,
    test: Recorded,
    rungs: Sequence[str],
    costs: dict[str, float],
    confidence: float,
) -> Split:
    tested = outcome(test, thresholds)
    single, single_cost = rungs[-1], costs["alone"]
    for place, rung in enumerate(rungs[:-1]):
        alone = tuple(0.0 if i == place else 2.0 for i in range(len(rungs) - 1))
        cost = costs[f"{rung} alone"]
        if cost < single_cost and certified(certifying, [alone], max_loss=BUDGET, confidence=confidence):
            single, single_cost = rung, cost
    return Split(
        thresholds, tested.net_loss, 1 - tested.cost / costs["alone"], 1 - tested.cost / single_cost, single
    )


# --- in the server --------------------------------------------------------------------------------------------------


def _services(found: Ladder, rungs: Sequence[str]) -> dict[str, Path]:
    """One in which every row is answered at each rung, and each rung alone."""
    services = {}
    for place, rung in enumerate(rungs):
        chain = {
            one: (0.0 if i == place else 1.0) if i < len(rungs) - 1 else None for i, one in enumerate(rungs)
        }
        services[f"to-{rung}"] = write_service(found, chain, f"to-{rung}")
        services[f"{rung}-alone"] = write_service(found, {rung: None}, f"{rung}-alone")
    return services


def _rows_live(found: Ladder, seed: int) -> list[int]:
    unseen = np.flatnonzero(found.folds == 0)
    return np.random.default_rng(seed).permutation(unseen)[:_ROWS_LIVE].tolist()


def _measured(found: Ladder, rungs: Sequence[str], blocks: int, seed: int) -> dict[str, float]:
    """Processor time of a request in the server, ms, by where it is answered; kept beside the ladder."""
    server_core, client_core = server_and_client_core()
    with affinity([client_core]):
        spent = cpu_per_request(
            found,
            _services(found, rungs),
            _rows_live(found, seed),
            core=server_core,
            blocks=blocks,
            seed=seed,
        )
    costs = {rung: float(np.median(spent[f"to-{rung}"])) for rung in rungs}
    costs |= {f"{rung} alone": float(np.median(spent[f"{rung}-alone"])) for rung in rungs}
    costs["alone"] = costs[f"{rungs[-1]} alone"]
    (found.folder / "costs.json").write_text(json.dumps({"ms": costs, "blocks": spent}, indent=1))
    return costs


def _kept_costs(folder: Path) -> dict[str, float]:
    """Of the last time that they were measured; else assumed."""
    path = folder / "costs.json"
    if path.exists():
        kept: dict[str, float] = json.loads(path.read_text())["ms"]
        return kept
    sums = np.cumsum(list(_ASSUMED_MS.values()))
    reached = {name: _ASSUMED_MS[name] for name in NAMES}
    reached["small"], reached["int8"] = float(sums[1]), _ASSUMED_MS["linear"] + _ASSUMED_MS["int8"]
    reached["full"] = _ASSUMED_MS["linear"] + _ASSUMED_MS["int8"] + _ASSUMED_MS["full"]
    alone = {f"{name} alone": value for name, value in _ASSUMED_MS.items()}
    return reached | alone | {"alone": _ASSUMED_MS["full"], "assumed": 1.0}


def _live(found: Ladder, rungs: Sequence[str], splits: Sequence[Split], blocks: int, seed: int) -> str:
    """The certified cascade of the resplit with the median saving, beside each rung alone, on the same requests."""
    ordered = sorted(splits, key=lambda one: one.saving)
    median = ordered[len(ordered) // 2]
    chain = dict(zip(rungs, (*median.thresholds, None), strict=True))
    services = {"cascade": write_service(found, chain, "cascade")}
    services |= {f"{rung}-alone": write_service(found, {rung: None}, f"{rung}-alone") for rung in rungs[1:]}
    server_core, client_core = server_and_client_core()
    with affinity([client_core]):
        spent = cpu_per_request(
            found, services, _rows_live(found, seed + 1), core=server_core, blocks=blocks, seed=seed
        )
    middle = {name: float(np.median(values)) for name, values in spent.items()}
    rows = [
        [
            name,
            f"{middle[name]:.3f}",
            f"{min(values):.3f} to {max(values):.3f}",
            f"{100 * (1 - middle['cascade'] / middle[name]):.0f} %" if name != "cascade" else "",
        ]
        for name, values in spent.items()
    ]
    head = ["served", "processor time a request, ms", f"in {blocks} blocks", "saved by the cascade"]
    return "\nThe median resplit's cascade, measured in the server:\n\n" + markdown_table(head, rows)


# --- the page -------------------------------------------------------------------------------------------------------


def _page(found: Ladder, rungs: Sequence[str], costs: dict[str, float], splits: Sequence[Split]) -> str:
    losses = 100 * np.array([one.loss for one in splits])
    exceed = float((losses > 100 * BUDGET).mean())
    allowed = 0.05 + 2 * (0.05 * 0.95 / len(splits)) ** 0.5
    accuracy = (found.scores.argmax(axis=2) == found.labels).mean(axis=1)
    singles = {
        name: sum(one.single == name for one in splits)
        for name in dict.fromkeys(one.single for one in splits)
    }
    told = "assumed" if "assumed" in costs else "measured in the server"
    lines = [
        f"Accuracy out of fold: {', '.join(f'{n} {100 * a:.2f} %' for n, a in zip(NAMES, accuracy.tolist(), strict=True))}.",
        f"Processor time a request ({told}), ms: {', '.join(f'{n} {v:.3f}' for n, v in costs.items() if n != 'assumed')}.",
        "",
        markdown_table(
            ["over the resplits", "value", "wanted"],
            [
                ["resplits", str(len(splits)), "100"],
                [
                    "exceed 0.5 points on the rows left",
                    f"{100 * exceed:.0f} %",
                    f"at most {100 * allowed:.1f} %",
                ],
                ["loss on the rows left, median", f"{np.median(losses):.2f} points", ""],
                ["saved against the last model, median", _percent([one.saving for one in splits]), "50 %"],
                [
                    "saved against the best single rung, median",
                    _percent([o.saving_single for o in splits]),
                    "25 %",
                ],
                ["best single rung", ", ".join(f"{name} {count}" for name, count in singles.items()), ""],
                ["not certified", str(sum(not one.thresholds for one in splits)), "0"],
            ],
        ),
    ]
    return "\n".join(lines)


def _percent(values: Sequence[float] | NDArray[np.float64]) -> str:
    low, middle, high = np.quantile(np.asarray(values), [0.05, 0.5, 0.95])
    return f"{100 * middle:.0f} % ({100 * low:.0f} to {100 * high:.0f} in nine of ten)"
