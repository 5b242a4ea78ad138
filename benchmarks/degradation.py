"""What a ladder of cheaper models is worth under overload: answers within the SLO, and the accuracy that they cost."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks._classifiers import WINDOW, Classifiers, classifiers
from benchmarks._harness import (
    NS_PER_S,
    OUT,
    Comparison,
    Measurement,
    Sides,
    compare,
    comparison_table,
    server_and_client_core,
)
from benchmarks._measurement import measurement_of
from benchmarks._options import parser
from benchmarks._processes import offer_from
from benchmarks._tables import Goal, Report
from benchmarks._trivet import Trivet
from trivet.load.arrivals import Poisson
from trivet.load.job import ClosedLoop, Job, OpenLoop
from trivet.load.result import Result
from trivet.pipeline.degrading import DEGRADED

QUESTION = "Under 3 times the full model's capacity, how many are answered in time by a ladder, and at what accuracy?"
SHORT = False
REFUSAL = "refusal alone"
CAPACITY = "capacity of the full model, requests/s"
_WARM_UP_NS = 2 * NS_PER_S
_NUM_USERS = 8
_PATIENCE_NS = 10 * NS_PER_S


def main(args: Sequence[str] = ()) -> int:
    options = parsed(args)
    server_core, client_core = server_and_client_core()
    deadline_ns = int(options.deadline_ms * 1e6)
    folder = OUT / "sides" / "degradation"
    found = classifiers(folder, options.packages)
    budgets = {f"{points:g} points": points for points in options.max_loss}

    def start(max_loss: float | None) -> Trivet:
        path = found.service(max_loss, deadline_ns)
        return Trivet.serve("degradation", [path], cores=[server_core], first=found.requests(_PATIENCE_NS)[0])

    def capacity() -> dict[str, Any]:
        """Of the full model behind its steps in the server: users who wait for their answers."""
        job = Job(
            target="",
            requests=found.requests(_PATIENCE_NS),
            load=ClosedLoop(num_users=_NUM_USERS, duration_ns=_WARM_UP_NS + 4 * NS_PER_S),
            seed=options.seed,
            warmup_ns=_WARM_UP_NS,
        )
        with start(None) as server:
            measured = measurement_of(
                offer_from(client_core, msgspec.structs.replace(job, target=server.target))
            )
        return {CAPACITY: round(measured.values["throughput_rps"], 1)}

    def sides(calibrated: Mapping[str, Any]) -> Sides:
        arrivals = Poisson(
            rate_rps=options.load * calibrated[CAPACITY],
            duration_ns=_WARM_UP_NS + int(options.seconds * NS_PER_S),
        )

        def measure(max_loss: float | None, seed: int) -> Measurement:
            with start(max_loss) as server:
                job = Job(
                    target=server.target,
                    requests=found.requests(deadline_ns),
                    load=OpenLoop(arrivals=arrivals),
                    seed=seed,
                    warmup_ns=_WARM_UP_NS,
                    deadline_ns=deadline_ns,
                    max_connections=1024,
                    max_send_lag_ns=deadline_ns // 20,
                    keep_answers=True,
                )
                result = offer_from(client_core, job)
            return told(measurement_of(result), result, found)

        return {
            REFUSAL: partial(measure, None),
            **{name: partial(measure, points) for name, points in budgets.items()},
        }

    comparison = compare(
        "degradation",
        sides,
        num_blocks=options.blocks,
        seed=options.seed,
        settings=settings(options, found),
        calibrate=capacity,
        resume=options.resume,
    )
    print(report(comparison))
    return 0


def parsed(args: Sequence[str]) -> argparse.Namespace:
    made = parser("degradation", QUESTION, blocks=8, seconds=6)
    made.add_argument("--packages", type=Path, help="the folder with the packages of both encoders")
    made.add_argument("--load", type=float, default=3, help="times the full model's capacity [3]")
    made.add_argument("--deadline-ms", type=float, default=100)
    made.add_argument("--max-loss", type=float, nargs="*", default=[1, 5], metavar="POINTS")
    return made.parse_args(args)


def settings(options: argparse.Namespace, found: Classifiers) -> Mapping[str, Any]:
    return {
        "data": found.told,
        "losses declared, points": {name: round(100 * loss, 2) for name, loss in found.losses.items()},
        "offered": f"{options.load:g} x the full model's capacity",
        "deadline": f"{options.deadline_ms:g} ms",
        "warm-up": "2 s",
        "measured": f"{options.seconds:g} s",
        "budgets, points": options.max_loss,
    }


def told(measured: Measurement, result: Result, found: Classifiers) -> Measurement:
    """With the share of requests that were answered within the SLO, by whom, and how often they were right."""
    rows = result.measured()
    is_ok = rows.words["outcome"].equal("ok")
    values = {**measured.values, "attainment": float(is_ok.mean())}
    items = rows["item"][is_ok]
    answers = [json.loads(rows.blobs["answer"][place]) for place in np.flatnonzero(is_ok)]
    if answers:
        given = np.array([np.argmax(one["outputs"][0]["data"]) for one in answers])
        truth, full = found.labels[items], found.full[items]
        values["num_answered"] = len(answers)
        values["accuracy"] = float((given == truth).mean())
        values["accuracy_paid_points"] = 100 * float((full == truth).mean() - (given == truth).mean())
        who = [one["parameters"].get("instead", "").removeprefix(DEGRADED) or "full" for one in answers]
        losses = [found.losses[name] for name in who]
        values["declared_loss_points"] = 100 * float(np.mean(losses))
        values |= {f"share_{name}": who.count(name) / len(who) for name in found.losses}
    return msgspec.structs.replace(measured, values=values)


def report(comparison: Comparison) -> Report:
    tables, goals = [comparison_table(comparison, "attainment", REFUSAL, unit="of requests")], []
    if comparison.is_empty():
        return Report(comparison, tables, [])
    for metric, unit, scale in (
        ("accuracy", "of answers", 1.0),
        ("accuracy_paid_points", "points", 1.0),
        ("declared_loss_points", "points", 1.0),
        ("p99_ns", "ms", 1e6),
        ("error_share", "of requests", 1.0),
    ):
        tables.append(comparison_table(comparison, metric, "", unit=unit, scale=scale))
    for side in comparison.sides():
        if side == REFUSAL:
            continue
        ratio = comparison.ratio(side, REFUSAL, "attainment")
        goals.append(Goal(f"attainment with {side} / {REFUSAL}", ratio, at_least=2))
        paid = comparison.mean(side, "declared_loss_points", 1.0)
        least = min(comparison.values(side, "num_answered"))
        bound = float(side.split()[0]) * (1 + WINDOW / least)
        goals.append(Goal(f"declared loss of an answer with {side}", paid, at_most=bound, unit="points"))
    return Report(comparison, tables, goals)
