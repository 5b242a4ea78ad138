"""Servers under measurement, and what else runs in a process of its own on a core of its own."""

import subprocess
import sys
from collections.abc import Sequence

import msgspec

from trivet.experiment.processes import (
    Memory,
    Server,
    StartError,
    affinity,
    ask,
    free_port,
    free_ports,
    tree,
    wait_for_answer,
)
from trivet.load.job import Job
from trivet.load.result import Result

__all__ = [
    "Memory",
    "Server",
    "StartError",
    "ask",
    "free_port",
    "free_ports",
    "offer_from",
    "run_on_core",
    "tree",
    "wait_for_answer",
]


def offer_from(core: int | None, job: Job) -> Result:
    """Run the load generator in a process of its own, on `core`."""
    command = [sys.executable, "-m", "trivet.load", *([] if core is None else ["--core", str(core)])]
    done = subprocess.run(command, input=msgspec.json.encode(job), capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.decode(errors="replace"))
    return msgspec.msgpack.decode(done.stdout, type=Result)


def run_on_core(command: Sequence[str], core: int) -> str:
    """What a command prints that runs on one core only; its errors go to ours."""
    with affinity([core]):
        return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
