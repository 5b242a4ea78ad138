"""The load generator as a process of its own, so that it can have a core of its own.

`python -m trivet.load [--core N] [--progress FD] < jobs.json > results.msgpack`: a list of jobs, and of their results.

Ctrl-C and SIGTERM end the run: the result holds what was measured so far. Ends with 2 where the job is wrong, with
3 where nothing answers at the target; with `--progress` it writes lines of JSON to that descriptor twice a second: the
place of a job, and its progress.
"""

import argparse
import os
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial

import msgspec

from trivet.errors import UserError
from trivet.load.connection import TargetError
from trivet.load.interrupt import wish_to_stop
from trivet.load.job import Job
from trivet.load.offer import offer_together
from trivet.load.progress import Progress

BAD_JOB, NO_TARGET = 2, 3


class _Wish:
    """To stop: somebody said so, or nobody is left to read the result."""

    def __init__(self, said: threading.Event) -> None:
        self._said, self._parent = said, os.getppid()

    def is_set(self) -> bool:
        return self._said.is_set() or os.getppid() != self._parent


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m trivet.load", description="offer the loads of jobs (a JSON list on stdin)"
    )
    parser.add_argument("--core", type=int, help="run on this core only")
    parser.add_argument("--progress", type=int, metavar="FD", help="tell of it there, twice a second")
    options = parser.parse_args()
    try:
        if options.core is not None:
            os.sched_setaffinity(0, {options.core})
        if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
            # As a shell starts what runs in the background: here it is how our parent asks us to end.
            signal.signal(signal.SIGINT, signal.default_int_handler)
        with wish_to_stop(signal.SIGINT, signal.SIGTERM) as said:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # process.py blocks it until here
            wish = _Wish(said)
            jobs = msgspec.json.decode(sys.stdin.buffer.read(), type=list[Job])
            tell = None if options.progress is None else _teller(options.progress)
            results = offer_together(
                jobs, [tell and partial(tell, place) for place in range(len(jobs))], wish
            )
    except (UserError, msgspec.MsgspecError, OSError) as error:
        sys.stderr.write(f"trivet.load: {error}\n")
        return NO_TARGET if isinstance(error, TargetError) else BAD_JOB
    sys.stdout.buffer.write(msgspec.msgpack.encode(results))
    return 0


def _teller(descriptor: int) -> Callable[[int, Progress], None]:
    os.set_blocking(descriptor, False)  # whoever does not read misses some; no send waits for them

    def tell(place: int, progress: Progress) -> None:
        try:
            os.write(descriptor, msgspec.json.encode((place, progress)) + b"\n")
        except BlockingIOError:
            return

    return tell


if __name__ == "__main__":
    sys.exit(main())
