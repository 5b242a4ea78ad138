"""Runs each target for a while, keeps what it found, prints how much was tried.

    python -m fuzz [--seconds 600] [target ...]

Corpora and crashing inputs are kept under out/fuzz/<target>/. To see one again: python -m fuzz._target TARGET FILE
"""

import argparse
import re
import subprocess
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from fuzz import TARGETS

_OUT = Path("out") / "fuzz"
_OPTIONS = (
    "-timeout=20",  # one input that takes longer than this is a finding
    "-rss_limit_mb=2048",
    "-max_len=4096",
    "-print_final_stats=1",
)
_EXECUTIONS = re.compile(r"stat::number_of_executed_units:\s*(\d+)")
_COVERAGE = re.compile(r"cov: (\d+) ft: (\d+) corp: (\d+)")


@dataclass(frozen=True, slots=True)
class Result:
    target: str
    executions: int
    coverage: int
    corpus: int
    findings: tuple[str, ...]
    ended_well: bool


def prepare(target: str) -> Path:
    """The target's folder with its seeds and its dictionary."""
    module = import_module(f"fuzz.{target}")
    folder = _OUT / target
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for name, data in module.SEEDS.items():
        (corpus / f"seed-{name}").write_bytes(data)
    words = ("".join(f"\\x{byte:02x}" for byte in token) for token in module.TOKENS)
    (folder / "words.dict").write_text("".join(f'"{word}"\n' for word in words))
    return folder


def run(target: str, seconds: int) -> Result:
    folder = prepare(target)
    before = set(folder.glob("*-*"))
    command = [
        *(sys.executable, "-m", "fuzz._target", target, *_OPTIONS),
        *(f"-max_total_time={seconds}", f"-dict={folder / 'words.dict'}", f"-artifact_prefix={folder}/"),
        str(folder / "corpus"),
    ]
    with (folder / "log.txt").open("w") as log:
        ended = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False)
    text = (folder / "log.txt").read_text(errors="replace")
    executions = _EXECUTIONS.findall(text)
    coverage = _COVERAGE.findall(text)
    return Result(
        target,
        executions=int(executions[-1]) if executions else 0,
        coverage=int(coverage[-1][0]) if coverage else 0,
        corpus=int(coverage[-1][2]) if coverage else 0,
        findings=tuple(sorted(str(path) for path in set(folder.glob("*-*")) - before)),
        ended_well=ended.returncode == 0,
    )


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description="fuzz what reads others' bytes")
    parser.add_argument("targets", nargs="*", metavar="target", help=f"default: all of {', '.join(TARGETS)}")
    parser.add_argument("--seconds", type=int, default=600, help="for each target (default: 600)")
    arguments = parser.parse_args(argv)
    unknown = set(arguments.targets) - set(TARGETS)
    if unknown:
        parser.error(f"unknown target {', '.join(sorted(unknown))}; known: {', '.join(TARGETS)}")
    failed = False
    _say(f"{'target':<14}{'executions':>12}{'per second':>12}{'edges':>8}{'corpus':>8}  findings")
    for target in arguments.targets or TARGETS:
        result = run(target, arguments.seconds)
        ok = result.ended_well and not result.findings and result.executions > 0
        failed = failed or not ok
        rate = result.executions // max(1, arguments.seconds)
        found = ", ".join(result.findings) or (
            "none" if ok else f"ended badly: see {_OUT / target / 'log.txt'}"
        )
        _say(
            f"{target:<14}{result.executions:>12}{rate:>12}{result.coverage:>8}{result.corpus:>8}  {found}",
        )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
