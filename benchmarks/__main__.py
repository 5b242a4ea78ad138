"""`python -m benchmarks`: list and run the benchmarks, one file for each question.

A benchmark is a file of this folder with a constant QUESTION (one line of text) and a function main(args), which
prints Markdown and returns an exit code. With SHORT = True it takes under a minute and runs by default.
"""

import argparse
import ast
import contextlib
import importlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from trivet.host import awake

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Benchmark:
    name: str
    question: str
    is_short: bool

    def run(self, args: Sequence[str]) -> int:
        module = importlib.import_module(f"{__package__}.{self.name}")
        return module.main(list(args)) or 0


def find(folder: Path = HERE) -> dict[str, Benchmark]:
    """All benchmarks by name. Files are read, not imported: a benchmark may need what is not installed."""
    found = {}
    for path in sorted(folder.glob("[!_]*.py")):
        constants = _constants(ast.parse(path.read_text(), path.name))
        if "QUESTION" in constants:
            found[path.stem] = Benchmark(
                path.stem, str(constants["QUESTION"]), constants.get("SHORT") is True
            )
    return found


def main(args: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Runs the named benchmarks, or the short ones. Options after `--` go to a single benchmark.",
    )
    parser.add_argument("question", nargs="*", help="names, as --list shows them")
    parser.add_argument("--list", action="store_true", help="names and questions; * runs by default")
    parser.add_argument(
        "--asleep",
        action="store_true",
        help="let idle cores sleep: else they are held awake where that is allowed",
    )
    own, _, passed_on = _split(list(args))
    options = parser.parse_args(own)
    benchmarks = find()
    if options.list:
        for benchmark in benchmarks.values():
            print(f"{'*' if benchmark.is_short else ' '} {benchmark.name:24} {benchmark.question}")
        return 0
    if unknown := [name for name in options.question if name not in benchmarks]:
        parser.error(f"no benchmark named {', '.join(unknown)}; known: {', '.join(benchmarks)}")
    if passed_on and len(options.question) != 1:
        parser.error("options after `--` need exactly one named benchmark")
    chosen = [benchmarks[name] for name in options.question]
    chosen = chosen or [benchmark for benchmark in benchmarks.values() if benchmark.is_short]
    with contextlib.nullcontext() if options.asleep else _awake():
        return max((benchmark.run(passed_on) for benchmark in chosen), default=0)


@contextlib.contextmanager
def _awake() -> Iterator[None]:
    """What is measured is not how soon the host wakes a core. Records say whether that was had."""
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(awake())
        except OSError as error:
            print(f"idle cores may sleep, which lengthens tails: {error}", file=sys.stderr)
        yield


def _split(args: list[str]) -> tuple[list[str], str, list[str]]:
    at = args.index("--") if "--" in args else len(args)
    return args[:at], "--", args[at + 1 :]


def _constants(module: ast.Module) -> dict[str, object]:
    """Constants assigned at the top of a file, where they are written as literals."""
    constants: dict[str, object] = {}
    for node in module.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                constants[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:
                continue  # computed, not a literal
    return constants


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
