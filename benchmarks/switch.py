"""Live configurations changed under load: what fails, and what the tail is while a switch is under way."""

import threading
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import _open_loop as open_loop
from benchmarks import models
from benchmarks._harness import (
    NS_PER_S,
    OUT,
    Comparison,
    Measurement,
    compare,
    comparison_table,
    measurement_of,
    server_and_client_core,
)
from benchmarks._options import parser
from benchmarks._payloads import payloads
from benchmarks._pooled import pooled_p99_ms, pooled_p99_ratio
from benchmarks._processes import offer_from
from benchmarks._sides import model_file
from benchmarks._tables import Goal, Report, count_goal, markdown_table
from benchmarks._trivet import Trivet
from trivet.load.result import Result

QUESTION = (
    "What does switching two configurations (90/10) 20 times under load do to failures and to the tail?"
)
SHORT = False
_SIDE = "trivet"
# Latency counts from the intended send, so that a late client makes the server look worse, never better.
_MAX_SEND_LAG_NS = 2 * NS_PER_S // 1000
_PERIOD_NS = NS_PER_S // 2  # from the start of one switch to the next
_AFTER_NS = (
    NS_PER_S // 10
)  # a switch's effects last a little longer than its answer takes: the old one drains

Window = tuple[int, int]  # instants in ns of the machine's monotonic clock


def main(args: Sequence[str] = ()) -> int:
    made = parser("switch", QUESTION, blocks=5)
    made.add_argument("--rate", type=float, default=1000.0, help="requests a second [1000]")
    made.add_argument("--switches", type=int, default=20, help="in each block [20]")
    options = made.parse_args(args)
    server_core, client_core = server_and_client_core()
    requests = payloads("tiny", "v2")
    before_ns = int(options.seconds * NS_PER_S)

    def measure(seed: int) -> Measurement:
        rotation = _three_models(OUT / "sides" / "switch")
        switching_ns = options.switches * _PERIOD_NS + 2 * NS_PER_S
        arrivals = open_loop.poisson(options.rate, options.seconds + switching_ns / NS_PER_S)
        with Trivet.serve("switch", rotation[:1], cores=[server_core], first=requests[0]) as server:
            _set_live(server, rotation, 0)
            job = open_loop.job(server.target, requests, arrivals, seed, _MAX_SEND_LAG_NS)
            results: list[Result] = []
            offering = threading.Thread(target=lambda: results.append(offer_from(client_core, job)))
            offering.start()
            # Besides the warm-up and what is measured before: the client takes a moment to start.
            time.sleep((open_loop.WARM_UP_NS + before_ns + NS_PER_S) / NS_PER_S)
            windows = _switch(server, rotation, options.switches)
            offering.join()
        if not results:
            raise RuntimeError("the load generator failed; its message is above")
        return _measured(results[0], windows)

    comparison = compare(
        "switch",
        {_SIDE: measure},
        num_blocks=options.blocks,
        seed=options.seed,
        settings={
            "offered": f"{options.rate:g}/s",
            "warm-up": "1 s",
            "before": f"{options.seconds:g} s",
            "switches": f"{options.switches} a block, every {_PERIOD_NS / NS_PER_S:g} s",
        },
        resume=options.resume,
    )
    print(report(comparison))
    return 0


def report(comparison: Comparison) -> Report:
    if comparison.is_empty():
        return Report(comparison, [], [])
    before, during = (comparison.samples(_SIDE, name) for name in ("before_ns", "during_ns"))
    rows = [
        [name, sum(map(len, runs)), f"{pooled_p99_ms(runs).estimate:.3f}"]
        for name, runs in (("before", before), ("during a switch", during))
    ]
    tables = [
        markdown_table(["pooled over blocks", "requests", "p99, ms"], rows),
        comparison_table(comparison, "switch_ns", "", unit="ms, the median switch of a block", scale=1e6),
    ]
    goals = [
        count_goal("failed requests", comparison.values(_SIDE, "num_failed")),
        Goal(
            "p99 during a switch / before, pooled over blocks",
            pooled_p99_ratio(during, before),
            at_most=1.2,
        ),
    ]
    return Report(comparison, tables, goals)


def _three_models(folder: Path) -> list[Path]:
    """The small model with different trees: three configurations of one service."""
    first = folder / "0" / "m.onnx"
    first.parent.mkdir(parents=True, exist_ok=True)
    first.write_bytes(model_file("tiny", None).read_bytes())
    return [first, *(models.write(models.tiny(seed), folder / str(seed) / "m.onnx") for seed in (1, 2))]


def _set_live(server: Trivet, rotation: Sequence[Path], step: int) -> None:
    """As releases follow each other: the one that had 10 has 90, the next has 10, and the one before is gone."""
    most, least = (rotation[i % len(rotation)] for i in (step, step + 1))
    server.set_live("m", [{"path": str(most), "share": 90}, {"path": str(least), "share": 10}])


def _switch(server: Trivet, rotation: Sequence[Path], count: int) -> list[Window]:
    """Go on by one configuration `count` times; when each switch was under way."""
    windows = []
    next_s = time.monotonic()
    for step in range(1, count + 1):
        begun_ns = time.monotonic_ns()
        _set_live(server, rotation, step)
        windows.append((begun_ns, time.monotonic_ns()))
        next_s += _PERIOD_NS / NS_PER_S
        time.sleep(max(0.0, next_s - time.monotonic()))
    return windows


def _measured(result: Result, windows: Sequence[Window]) -> Measurement:
    """The usual figures, and the latencies of requests intended before the first switch and during each."""
    found = measurement_of(result)
    rows = result.measured()
    intended, latency = rows["intended_ns"], rows.latency_ns()
    answered = rows.words["outcome"].equal("ok", "late")
    during = answered & False
    for begun_ns, ended_ns in windows:
        during |= answered & (intended >= begun_ns) & (intended < ended_ns + _AFTER_NS)
    durations = sorted(ended_ns - begun_ns for begun_ns, ended_ns in windows)
    found.values["switch_ns"] = durations[len(durations) // 2]
    found.samples["before_ns"] = latency[answered & (intended < windows[0][0])].tolist()
    found.samples["during_ns"] = latency[during].tolist()
    if windows[-1][1] > int(intended.max()) and not found.invalid:
        return Measurement(
            values=found.values, samples=found.samples, invalid="the load ended before the last switch"
        )
    return found
