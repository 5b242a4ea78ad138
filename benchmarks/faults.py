"""What the neighbours of a failing model feel: the small model's tail while another one hangs, aborts, errs or loads."""

import contextlib
import itertools
import json
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from benchmarks import _open_loop as open_loop
from benchmarks._harness import (
    NS_PER_S,
    OUT,
    Comparison,
    Measurement,
    compare,
    comparison_table,
    measure_server,
    server_and_client_core,
)
from benchmarks._options import parser
from benchmarks._payloads import payloads
from benchmarks._pooled import pooled_p99_ms
from benchmarks._processes import ask
from benchmarks._sides import model_file
from benchmarks._tables import Goal, Report, count_goal
from benchmarks._trivet import Trivet, whole
from trivet.load.job import HttpRequest

QUESTION = (
    "What does the small model at 1,000/s feel of a model beside it that fails, and of one being loaded?"
)
SHORT = False
NOTHING, LOADING = "nothing", "loading text.onnx"
# What the python engine does with a request, by its number in the service's code below.
FAULTS = {
    "hangs, holding the GIL": 1,
    "hangs in a regular expression": 2,
    "calls os.abort()": 3,
    "raises": 4,
    "returns a wrong shape": 5,
}
# What such a request is answered: 504 at its deadline, 500 for its batch, 200 for a model that was loaded.
_STATUS = {1: 504, 2: 504, 3: 500, 4: 500, 5: 500}
_LOADED = 200
# Latency counts from the intended send, so that a late client makes the server look worse, never better.
_MAX_SEND_LAG_NS = 5 * NS_PER_S // 1000
_PAUSE_S = 0.25  # between a fault's answer and the next one
_PATIENCE_US = 300_000
_CODE = """import ctypes, os, re


def faulty(inputs):
    x = inputs["x"]
    match int(x[0, 0]) - 100:  # far from what a profile sends
        case 1:
            ctypes.PyDLL(None).pause()
        case 2:
            re.match("(a+)+b", "a" * 64)  # the interpreter lock and the core, for longer than anyone waits
        case 3:
            os.abort()
        case 4:
            raise ValueError("on purpose")
        case 5:
            return {"y": x[:, :1]}
    return {"y": x}


faulty.inputs = [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}]
faulty.outputs = [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}]
"""
_SERVICE = "name: faulty\nmodels:\n  faulty: {python: 'faulty.py:faulty'}\n"

Disturbance = Callable[[Trivet], int]  # disturbs once; the status it was answered with


def main(args: Sequence[str] = ()) -> int:
    made = parser("faults", QUESTION, blocks=5, seconds=6, peers=True)
    made.add_argument(
        "--rate", type=float, default=1000.0, help="of the small model, requests a second [1000]"
    )
    options = made.parse_args(args)
    server_core, client_core = server_and_client_core()
    requests = payloads("tiny", "v2")
    arrivals = open_loop.poisson(options.rate, options.seconds)

    def measured(name: str) -> Callable[[int], Measurement]:
        def measure(seed: int) -> Measurement:
            folder = OUT / "sides" / "faults"
            services, environment, disturb = _prepared(name, folder, options.peers)
            with Trivet.serve(
                "faults",
                services,
                cores=[server_core],
                first=requests[0],
                options=["--enable-load-unload"],
                environment=environment,
            ) as server:
                if name == LOADING:
                    _add_text(folder, options.peers)
                job = open_loop.job(server.target, requests, arrivals, seed, _MAX_SEND_LAG_NS)
                with _disturbed(server, disturb) as statuses:
                    found = measure_server(server, job, client_core, keep_latencies=True)
            expected = _LOADED if name == LOADING else _STATUS.get(FAULTS.get(name, 0), 0)
            found.values["num_disturbances"] = statuses.count(expected)
            if statuses and expected not in statuses and not found.invalid:
                invalid = f"no fault was answered with {expected}; statuses: {sorted(set(statuses))}"
                return msgspec.structs.replace(found, invalid=invalid)
            return found

        return measure

    comparison = compare(
        "faults",
        {name: measured(name) for name in (NOTHING, *FAULTS, LOADING)},
        num_blocks=options.blocks,
        seed=options.seed,
        settings=open_loop.settings(f"{options.rate:g}/s to the small model", options.seconds),
        resume=options.resume,
    )
    print(report(comparison))
    return 0


def report(comparison: Comparison) -> Report:
    tables = [
        comparison_table(comparison, "p99_ns", NOTHING, unit="ms", scale=1e6),
        comparison_table(comparison, "num_disturbances", "", unit="in a run"),
    ]
    goals: list[Goal] = []
    if comparison.is_empty():
        return Report(comparison, tables, goals)
    for side in (NOTHING, *FAULTS, LOADING):
        p99 = pooled_p99_ms(comparison.samples(side, "latency_ns"))
        goals.append(Goal(f"p99 of the small model, other one: {side}", p99, at_most=5, unit="ms"))
        goals.append(
            count_goal(f"failed requests of the small model: {side}", comparison.values(side, "num_failed"))
        )
    return Report(comparison, tables, goals)


def _prepared(
    name: str, folder: Path, peers: Path | None
) -> tuple[list[Path], dict[str, str], Disturbance | None]:
    """What is served, in which environment, and how it is disturbed."""
    repository = folder / "repository"
    shutil.rmtree(repository, ignore_errors=True)
    served = repository / "m" / "1" / "model.onnx"
    served.parent.mkdir(parents=True)
    shutil.copyfile(model_file("tiny", peers), served)
    (folder / "faulty.py").write_text(_CODE)
    (folder / "service.yaml").write_text(_SERVICE)
    if name == LOADING:
        shutil.rmtree(folder / "cache", ignore_errors=True)  # a first load: it is profiled
        return [repository], {"TRIVET_CACHE": str(folder / "cache")}, _load_and_unload()
    disturb = None if name == NOTHING else _fault(FAULTS[name])
    return [repository, folder / "service.yaml"], {}, disturb


def _add_text(folder: Path, peers: Path | None) -> None:
    """Into the repository of a server that runs: it is there to be loaded, and is not yet."""
    added = folder / "repository" / "text" / "1" / "model.onnx"
    added.parent.mkdir(parents=True)
    shutil.copyfile(model_file("text", peers), added)


def _fault(code: int) -> Disturbance:
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [100 + code, 0]}
    body = json.dumps({"inputs": [tensor], "parameters": {"timeout": _PATIENCE_US}}).encode()
    request = HttpRequest(path="/v2/models/faulty/infer", headers={"Connection": "close"}, body=body)
    return lambda server: ask(server.target, whole(request, server.target), timeout_s=30)[0]


def _load_and_unload() -> Disturbance:
    verbs = itertools.cycle(["load", "unload"])

    def disturb(server: Trivet) -> int:
        path = f"/v2/repository/models/text/{next(verbs)}"
        request = HttpRequest(path=path, headers={"Connection": "close"}, body=b"{}")
        status, answer = ask(server.target, whole(request, server.target), timeout_s=60)
        if status != 200:
            raise RuntimeError(f"POST {path}: {status} {answer.decode(errors='replace')}")
        return status

    return disturb


@contextlib.contextmanager
def _disturbed(server: Trivet, disturb: Disturbance | None) -> Iterator[list[int]]:
    """Disturb again and again until the block ends; the statuses of the answers.

    Raises: what a disturbance raised, at the end; RuntimeError: there was none.
    """
    statuses: list[int] = []
    errors: list[Exception] = []
    over = threading.Event()

    def run(once: Disturbance) -> None:
        try:
            while not over.wait(_PAUSE_S):
                statuses.append(once(server))
        except Exception as error:  # shown where the measurement ends
            errors.append(error)

    if disturb is None:
        yield statuses
        return
    thread = threading.Thread(target=run, args=[disturb])
    thread.start()
    try:
        yield statuses
    finally:
        over.set()
        thread.join()
    if errors:
        raise errors[0]
    if not statuses:
        raise RuntimeError("nothing was disturbed while the load ran")
