"""`python -m trivet.catalog.speed_probe CORE`: times pieces of work on a core, fifty a second, until stdin ends.

It runs only while nobody else wants the core, and counts its own processor time: what it finds is how fast the core is,
not how busy. A byte goes to stdout when it is on its core; at the end all it found, as native int64: the instants of
time.monotonic_ns, then the ns of each kind of piece, one array behind the other.
"""

import os
import random
import select
import signal
import sys
import time
from array import array
from collections.abc import Callable

# The matrices are a few KB: more threads than this one would only disturb. Read by the library when it is loaded.
os.environ |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

import numpy as np

from trivet.catalog.noise import integer_work

# Between pieces: drawn, so that no load keeps step with them. A request right behind a piece finds the caches cold.
PERIODS_S = (0.01, 0.03)
# Of a piece: 20 to 30 us, long beside a reading of the clock; both are 0.2 % of the core.
NUM_STEPS = 200
MATRIX, NUM_PRODUCTS = 48, 2


def main(core: int) -> None:
    os.sched_setaffinity(0, {core})
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: the end comes from who started it
    kinds = (_integers, _products())
    instants, pieces = array("q"), [array("q") for _ in kinds]
    out = sys.stdout.buffer
    out.write(b"+")
    out.flush()
    while not select.select([0], [], [], random.uniform(*PERIODS_S))[0]:
        instants.append(time.monotonic_ns())
        before = time.thread_time_ns()
        for kind, found in zip(kinds, pieces, strict=True):
            kind()
            after = time.thread_time_ns()
            found.append(after - before)
            before = after
    out.write(b"".join(found.tobytes() for found in (instants, *pieces)))
    out.flush()


def _integers() -> None:
    """Waits for nothing but the core's integer units and its decoder."""
    integer_work(NUM_STEPS)


def _products() -> Callable[[], None]:
    """Vector units and the nearest cache: what models are made of."""
    factor = np.random.default_rng(0).random((MATRIX, MATRIX)).astype(np.float32)
    product = np.empty_like(factor)

    def multiply() -> None:
        for _ in range(NUM_PRODUCTS):
            np.matmul(factor, factor, product)

    return multiply


if __name__ == "__main__":
    main(int(sys.argv[1]))
