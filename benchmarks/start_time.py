"""How soon the server is ready, what it holds then, and what the commands cost before they do anything."""

import compileall
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

import trivet
from benchmarks._harness import (
    OUT,
    Comparison,
    Measurement,
    compare,
    comparison_table,
    server_and_client_core,
)
from benchmarks._options import parser
from benchmarks._payloads import payloads
from benchmarks._processes import Memory, run_on_core
from benchmarks._records import mean_interval
from benchmarks._sides import as_m, model_file
from benchmarks._tables import Goal, Report, markdown_table
from benchmarks._trivet import Trivet

QUESTION = (
    "How soon is the server ready, how much memory does it hold, what do `import trivet` and `--help` cost?"
)
SHORT = False
_FIRST, _CACHED = "first start", "profile cached"
_BARE, _IMPORT, _HELP = "bare python", "import trivet", "trivet --help"
_COMMANDS = {
    _BARE: [sys.executable, "-c", "pass"],
    _IMPORT: [sys.executable, "-c", "import trivet"],
    _HELP: [sys.executable, "-m", "trivet.cli.main", "--help"],
}
_NS_PER_MS = 1e6
_PSS_OF = "pss_mib of "


def main(args: Sequence[str] = ()) -> int:
    made = parser("start_time", QUESTION)
    made.add_argument("--repeats", type=int, default=5, help="of each command, in each block [5]")
    options = made.parse_args(args)
    core, _ = server_and_client_core()
    # As pip does when it installs: an environment in which Python keeps no bytecode would time the compiler.
    compileall.compile_dir(Path(trivet.__file__).parent, quiet=1)
    model = as_m(model_file("tiny", None), "start_time")

    def started(*, is_cached: bool) -> Callable[[int], Measurement]:
        return lambda _seed: _start(model, core, is_cached=is_cached)

    def timed(command: Sequence[str]) -> Callable[[int], Measurement]:
        return lambda _seed: Measurement(values={"wall_ns": _median_ns(command, core, options.repeats)})

    comparison = compare(
        "start_time",
        {
            _FIRST: started(is_cached=False),
            _CACHED: started(is_cached=True),
            **{name: timed(command) for name, command in _COMMANDS.items()},
        },
        num_blocks=options.blocks,
        seed=options.seed,
        settings={
            "commands": f"median of {options.repeats} in each block",
            "bytecode": "compiled, as installed",
        },
        resume=options.resume,
    )
    print(report(comparison))
    return 0


def report(comparison: Comparison) -> Report:
    tables = [comparison_table(comparison, "wall_ns", _BARE, unit="ms", scale=_NS_PER_MS)]
    if comparison.is_empty():
        return Report(comparison, tables, [])
    tables.append(_memory_table(comparison))
    added = [
        (with_import - bare) / _NS_PER_MS
        for with_import, bare in zip(
            comparison.values(_IMPORT, "wall_ns"), comparison.values(_BARE, "wall_ns"), strict=True
        )
    ]
    return Report(
        comparison,
        tables,
        [
            Goal("ready, profile cached", comparison.mean(_CACHED, "wall_ns", 1e9), at_most=0.6, unit="s"),
            Goal("ready, first start", comparison.mean(_FIRST, "wall_ns", 1e9), at_most=1.5, unit="s"),
            Goal(
                "memory of all processes (PSS)", comparison.mean(_CACHED, "pss_mib"), at_most=160, unit="MiB"
            ),
            Goal("`import trivet` over bare Python", mean_interval(added), at_most=100, unit="ms"),
            Goal("`trivet --help`", comparison.mean(_HELP, "wall_ns", _NS_PER_MS), at_most=200, unit="ms"),
        ],
    )


def _start(model: Path, core: int, *, is_cached: bool) -> Measurement:
    """From the command to the first 200 on the health endpoint and the first inference; then the memory."""
    cache = OUT / "sides" / "start_time" / "cache"
    if not is_cached:
        shutil.rmtree(cache, ignore_errors=True)
    elif not cache.exists():
        _serve(model, core, cache).stop()
    begun_ns = time.monotonic_ns()
    server = _serve(model, core, cache)
    wall_ns = time.monotonic_ns() - begun_ns
    with server:
        processes = server.memory()
    values = {"wall_ns": wall_ns, "pss_mib": sum(one.pss_bytes for one in processes) / 2**20}
    for process in processes:
        role = _PSS_OF + _role(process, server.pid)
        values[role] = values.get(role, 0) + process.pss_bytes / 2**20
    return Measurement(values=values)


def _serve(model: Path, core: int, cache: Path) -> Trivet:
    return Trivet.serve(
        "start_time",
        [model],
        cores=[core],
        first=payloads("tiny", "v2")[0],
        environment={"TRIVET_CACHE": str(cache)},
    )


def _role(process: Memory, supervisor: int) -> str:
    """What a process is for: the module it runs."""
    if process.pid == supervisor:
        return "supervisor"
    words = process.command.split()
    module = words[words.index("-m") + 1] if "-m" in words[:-1] else words[0]
    return module.removeprefix("trivet.")


def _memory_table(comparison: Comparison) -> str:
    measured = comparison.measured(_CACHED)
    roles = [name for name in measured[0].values if name.startswith(_PSS_OF)]
    rows = [
        [name.removeprefix(_PSS_OF), f"{np.median([one.values[name] for one in measured]):.1f}"]
        for name in roles
    ]
    return markdown_table(["memory after the first answer, by process", "PSS, MiB (median)"], rows)


def _median_ns(command: Sequence[str], core: int, repeats: int) -> float:
    walls = []
    for _ in range(repeats):
        begun_ns = time.monotonic_ns()
        run_on_core(command, core)
        walls.append(time.monotonic_ns() - begun_ns)
    return float(np.median(walls))
