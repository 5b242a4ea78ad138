"""How fast cores were while a load was offered: a machine that is shared has moods, and a run remembers its own.

Where the other thread of a physical core belongs to somebody else, a core runs at one of two speeds 1.7 times apart, and
changes from one millisecond to the next as from one minute to the next. What was measured then and what is measured now
can be compared only if each says how fast its cores were.
"""

import contextlib
import io
import os
import subprocess
import sys
import zipfile
from collections.abc import Collection, Iterator, Mapping

import msgspec
import numpy as np
from numpy.typing import NDArray

from trivet.errors import UserError

CORE_SPEED = "core_speed"  # the name of what a run keeps of it


class CoreSpeed(msgspec.Struct, frozen=True):
    """Of one core: when pieces of work were begun, and how long they took of the processor's time; shape (n,) each.

    instants_ns: of time.monotonic_ns.
    """

    instants_ns: NDArray[np.int64]
    pieces_ns: NDArray[np.int64]


@contextlib.contextmanager
def watching(cores: Collection[int]) -> Iterator[dict[int, CoreSpeed]]:
    """Times a fixed piece of work on each core, ten times a second, while nobody else wants it. Filled at the end.

    Raises: UserError: a core that this process may not use.
    """
    found: dict[int, CoreSpeed] = {}
    with contextlib.ExitStack() as stack:
        probes = {core: stack.enter_context(_probe(core)) for core in sorted(cores)}
        for core, probe in probes.items():
            assert probe.stdout is not None
            if probe.stdout.read(1) != b"+":
                why = probe.communicate()[1].decode(errors="replace").strip().rpartition("\n")[2]
                raise UserError(
                    f"core {core}: its speed cannot be probed: {why}; --no-record measures without that"
                )
        try:
            yield found
        finally:
            for core, probe in probes.items():
                # It runs only while nobody else wants its core: it may be long before it could end there.
                with contextlib.suppress(ProcessLookupError):
                    os.sched_setaffinity(probe.pid, {core, *os.sched_getaffinity(0)})
                found[core] = _found(probe.communicate()[0])


@contextlib.contextmanager
def _probe(core: int) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "trivet.catalog.speed_probe", str(core)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as probe:
        yield probe


def _found(output: bytes) -> CoreSpeed:
    """Nothing of a probe that died: then it wrote nothing, or not all."""
    whole = len(output) % (2 * np.dtype(np.int64).itemsize) == 0
    return _of_rows(np.frombuffer(output if whole else b"", np.int64).reshape(2, -1))


def encode(speeds: Mapping[int, CoreSpeed]) -> bytes:
    """As an .npz file."""
    file = io.BytesIO()
    arrays = {str(core): np.vstack([speed.instants_ns, speed.pieces_ns]) for core, speed in speeds.items()}
    np.savez_compressed(file, allow_pickle=False, **arrays)
    return file.getvalue()


def decode(content: bytes) -> dict[int, CoreSpeed]:
    """The inverse of `encode`. Raises: ValueError: not such a file."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return {int(core): _of_rows(arrays[core]) for core in arrays}
    except (OSError, EOFError, ValueError, IndexError, zipfile.BadZipFile) as error:
        raise ValueError(f"no record of cores' speed: {error}") from None


def _of_rows(rows: NDArray[np.int64]) -> CoreSpeed:
    instants_ns, pieces_ns = rows
    return CoreSpeed(instants_ns, pieces_ns)
