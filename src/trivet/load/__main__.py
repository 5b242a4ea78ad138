"""The load generator as a process of its own, so that it can have a core of its own.

`python -m trivet.load [--core N] < job.json > result.msgpack`
"""

import argparse
import os
import sys

import msgspec

from trivet.errors import UserError
from trivet.load.job import Job
from trivet.load.offer import offer


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m trivet.load", description="offer the load of a job (JSON on stdin)"
    )
    parser.add_argument("--core", type=int, help="run on this core only")
    options = parser.parse_args()
    try:
        if options.core is not None:
            os.sched_setaffinity(0, {options.core})
        result = offer(msgspec.json.decode(sys.stdin.buffer.read(), type=Job))
    except (UserError, msgspec.MsgspecError, OSError) as error:
        sys.stderr.write(f"trivet.load: {error}\n")
        return 2
    sys.stdout.buffer.write(msgspec.msgpack.encode(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
