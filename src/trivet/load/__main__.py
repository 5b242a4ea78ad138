"""The load generator as a process of its own, so that it can have a core of its own.

`python -m trivet.load [--core N] [--progress FD] < job.json > result.msgpack`

Ctrl-C and SIGTERM end the run: the result holds what was measured so far. Ends with 2 where the job is wrong, with
3 where nothing answers at the target; with `--progress` it writes a line of JSON to that descriptor twice a second.
"""

import argparse
import os
import signal
import sys
import threading

import msgspec

from trivet.errors import UserError
from trivet.load.connection import TargetError
from trivet.load.interrupt import wish_to_stop
from trivet.load.job import Job
from trivet.load.offer import offer
from trivet.load.progress import OnProgress, Progress

BAD_JOB, NO_TARGET = 2, 3


class _Wish:
    """To stop: somebody said so, or nobody is left to read the result."""

    def __init__(self, said: threading.Event) -> None:
        self._said, self._parent = said, os.getppid()

    def is_set(self) -> bool:
        return self._said.is_set() or os.getppid() != self._parent


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m trivet.load", description="offer the load of a job (JSON on stdin)"
    )
    parser.add_argument("--core", type=int, help="run on this core only")
    parser.add_argument("--progress", type=int, metavar="FD", help="tell of it there, twice a second")
    options = parser.parse_args()
    try:
        if options.core is not None:
            os.sched_setaffinity(0, {options.core})
        on_progress = None if options.progress is None else _teller(options.progress)
        if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
            # As a shell starts what runs in the background: here it is how our parent asks us to end.
            signal.signal(signal.SIGINT, signal.default_int_handler)
        with wish_to_stop(signal.SIGINT, signal.SIGTERM) as said:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # process.py blocks it until here
            wish = _Wish(said)
            job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
            result = offer(job, on_progress, wish)
    except (UserError, msgspec.MsgspecError, OSError) as error:
        sys.stderr.write(f"trivet.load: {error}\n")
        return NO_TARGET if isinstance(error, TargetError) else BAD_JOB
    sys.stdout.buffer.write(msgspec.msgpack.encode(result))
    return 0


def _teller(descriptor: int) -> OnProgress:
    os.set_blocking(descriptor, False)  # whoever does not read misses some; no send waits for them

    def tell(progress: Progress) -> None:
        try:
            os.write(descriptor, msgspec.json.encode(progress) + b"\n")
        except BlockingIOError:
            return

    return tell


if __name__ == "__main__":
    sys.exit(main())
