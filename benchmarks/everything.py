"""All of the server's questions, one after the other, then the page. A step that fails does not stop the others."""

import argparse
import importlib
import shutil
import sys
import time
import traceback
from collections.abc import Sequence

from benchmarks import page
from benchmarks._plan import STEPS, Step
from benchmarks._records import OUT

QUESTION = "All of the server's questions, one after the other; then the page of their answers is made."
SHORT = False


def main(args: Sequence[str] = ()) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks everything --",
        description=f"{QUESTION} About an hour with peers, half of it without.",
    )
    parser.add_argument("--peers", metavar="DIR", help="a virtual environment for each peer, and the models")
    parser.add_argument(
        "--blocks", type=int, help="of each; a quick look, whose page goes to out/benchmarks/server.md"
    )
    parser.add_argument("--seconds", type=float, help="of each side and block; a quick look, too")
    parser.add_argument("--resume", action="store_true", help="go on with records of the same settings")
    names = [step.record for step in STEPS]
    parser.add_argument(
        "--only", nargs="*", choices=names, default=names, metavar="RECORD", help=", ".join(names)
    )
    options = parser.parse_args(args)
    if not options.resume:  # profiles of a noisier day would decide what the servers do today
        shutil.rmtree(OUT / "cache", ignore_errors=True)
    overrides = ["--resume"] if options.resume else []
    for name in ("blocks", "seconds"):
        value = getattr(options, name)
        overrides += [] if value is None else [f"--{name}", str(value)]
    failed = [
        step.record
        for step in STEPS
        if step.record in options.only and not _run(step, [*step.args(options.peers), *overrides])
    ]
    is_quick = options.blocks is not None or options.seconds is not None
    quick = ["--output", str(OUT / "server.md"), "--min-blocks", "1"]
    page.main(quick if is_quick else [])
    if failed:
        sys.stderr.write(f"failed: {', '.join(failed)}\n")
    return 1 if failed else 0


def _run(step: Step, args: Sequence[str]) -> bool:
    """Whether the step came to its end; its report goes to stdout, an error to stderr."""
    print(f"\n# {step.title}\n", flush=True)
    begun_s = time.monotonic()
    try:
        importlib.import_module(f"benchmarks.{step.benchmark}").main(args)
    except (Exception, SystemExit):  # the other questions have answers, too
        traceback.print_exc()
        return False
    print(f"\n{time.monotonic() - begun_s:.0f} s", flush=True)
    return True
