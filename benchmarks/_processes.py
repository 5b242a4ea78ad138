"""Servers under measurement, and what else runs in a process of its own on a core of its own."""

import subprocess
from collections.abc import Sequence

from trivet.experiment.processes import (
    Memory,
    Server,
    StartError,
    ask,
    free_port,
    free_ports,
    tree,
    wait_for_answer,
)
from trivet.host import affinity
from trivet.load.process import offer_from

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


def run_on_core(command: Sequence[str], core: int) -> str:
    """What a command prints that runs on one core only; its errors go to ours."""
    with affinity([core]):
        return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
