"""`python -m trivet.catalog.speed_probe CORE`: times a piece of work on a core, ten a second, until stdin ends.

It runs only while nobody else wants the core, and counts its own processor time: what it finds is how fast the core is,
not how busy. A byte goes to stdout when it is on its core; at the end all it found, as native int64: the instants of
time.monotonic_ns, then the ns of the pieces.
"""

import json
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

from trivet.host import give_way

# Between pieces: drawn, so that no load keeps step with them. A request right behind a piece finds the caches cold.
PERIODS_S = (0.05, 0.15)
# Of a piece: 0.2 ms where it finds the caches warm, up to 0.6 where not; the core is asked for 0.5 % of its time.
SIDE, NUM_PRODUCTS = 64, 8
NUM_ROWS = 16


def main(core: int) -> None:
    os.sched_setaffinity(0, {core})
    give_way()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: the end comes from who started it
    piece = _piece()
    instants, pieces = array("q"), array("q")
    out = sys.stdout.buffer
    out.write(b"+")
    out.flush()
    has_ended = False
    while not has_ended:
        instants.append(time.monotonic_ns())
        before = time.thread_time_ns()
        piece()
        pieces.append(time.thread_time_ns() - before)
        has_ended = bool(select.select([0], [], [], random.uniform(*PERIODS_S))[0])
    out.write(instants.tobytes() + pieces.tobytes())
    out.flush()


def _piece() -> Callable[[], None]:
    """What the requests of a small service are made of: a text is written and read, small arrays are made and multiplied.

    It has a service's size in the caches, too: what a neighbour takes of them hardly slows a loop of a few instructions.
    """
    rng = np.random.default_rng(0)
    weights = (rng.standard_normal((SIDE, SIDE)) / SIDE**0.5).astype(np.float32)
    request = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, SIDE], "data": weights[0].tolist()}]}

    def work() -> None:
        values = json.loads(json.dumps(request))["inputs"][0]["data"]
        rows = np.tile(np.array(values, np.float32), (NUM_ROWS, 1))
        for _ in range(NUM_PRODUCTS):
            rows = np.maximum(rows @ weights, 0) - rows.mean()

    return work


if __name__ == "__main__":
    main(int(sys.argv[1]))
