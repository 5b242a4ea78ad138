"""The process that measures engines alone: started once on the server's cores, and asked again for each visit.

Starting Python and loading a model takes longer than many a measurement: an engine that was loaded stays until the end.
"""

import subprocess
import sys
import tempfile
from typing import Self

import msgspec

from trivet.errors import UserError
from trivet.experiment.placement import Placement
from trivet.experiment.simulating.engine_points import EngineJob, EngineTimes
from trivet.host import affinity

_MOST_TOLD = 2000  # characters of what a process says before it ends
_STOP_S = 10.0


class ProfilingError(UserError):
    """A point could not be measured; the message is that of the process that tried."""


class EngineProcess:
    """A context manager; the process starts with the first job."""

    def __init__(self, placement: Placement) -> None:
        self._cores = () if placement.invalid else placement.server
        self._process: subprocess.Popen[bytes] | None = None
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the process

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        process = self._process
        if process is not None:
            process.kill()
            process.wait(_STOP_S)
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
        self._said.close()

    def measure(self, job: EngineJob) -> EngineTimes:
        """Raises: ProfilingError: the configuration cannot be served, or the process died."""
        process = self._process or self._started()
        assert process.stdin is not None  # both are pipes
        assert process.stdout is not None
        try:
            process.stdin.write(msgspec.json.encode(job) + b"\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = b""
        if not line:
            process.wait()
            self._said.seek(0)
            told = self._said.read().decode(errors="replace").strip()[-_MOST_TOLD:]
            raise ProfilingError(told or f"the process that measures engines ended with {process.returncode}")
        return msgspec.json.decode(line, type=EngineTimes)

    def _started(self) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "trivet.experiment.simulating.engine_points"]
        with affinity(self._cores):
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said
            )
        return self._process
