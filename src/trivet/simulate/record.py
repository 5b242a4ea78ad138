"""What happened to each request and each batch of a simulated worker, and the same as arrays for a whole server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trivet.simulate.auditing import SimulatedAudits
from trivet.simulate.remote import NOTHING_TOLD, Told
from trivet.simulate.stages import StageUse
from trivet.spec.row import CACHE_OUTCOMES

OK: Final = 0
REFUSED: Final = 1  # at arrival, or early while it waited
DROPPED: Final = 2  # its time was over before a batch had it
FAILED: Final = 3  # its batch ended after its deadline
UNANSWERED: Final = 4  # nothing came of it: no scheduler of ours does that
UPSTREAM: Final = 5  # the server that was to answer failed
UNAVAILABLE: Final = 6  # no upstream is asked now, or it refused

Ints = NDArray[np.int64]


class Record:
    """Lists that a worker fills in: one entry a request, in order of arrival, and one a batch."""

    __slots__ = (
        "batch_of",
        "batches",
        "cache",
        "calls",
        "done_ns",
        "left",
        "offered_ns",
        "outcome",
        "rung",
        "wrong",
    )

    def __init__(self, num: int) -> None:
        self.done_ns = [-1] * num
        self.offered_ns = [-1] * num
        self.outcome = bytearray(num)
        self.batch_of = [-1] * num  # the last one that it was part of
        self.rung = bytearray(num)  # of the ladder that ran it last; 0: the model as declared
        self.cache = bytearray(num)  # place in spec/row.py's CACHE_OUTCOMES
        self.wrong = bytearray(num)  # whether a semantic cache gave an answer that the pipeline would not
        self.batches: list[tuple[int, int, int]] = []  # began, ended, rows
        self.left: list[int] | None = None  # the place of the model behind which each was answered
        self.calls: dict[int, Told] = {}  # by place: of those that were to be answered by another server

    def tell(self, place: int, told: Told) -> None:
        """Of a request's call, beside those before it."""
        self.calls[place] = self.calls.get(place, NOTHING_TOLD).then(told)

    def lost(self, place: int, now_ns: int, outcome: int) -> None:
        """A request that gets no result is told so at `now_ns`."""
        self.done_ns[place] = now_ns
        self.outcome[place] = outcome


@dataclass(frozen=True, slots=True)
class Simulated:
    """A whole run: arrays of shape (n,), one entry a request in order of arrival; instants in ns.

    batch_*: of the last batch it was part of; -1 where it never was.  busy_ns: core time of loops and engines.
    rung: who ran it last, 0 for the model as declared, n for the n-th that stands in for it.
    cache: who answered before the pipeline, as a place in CACHE_OUTCOMES.  wrong: not what the pipeline would have said.
    left: the place of the model behind which it is answered; None: the service has neither exits nor a route.
    calls: by request, of those that were to be answered by another server.  guards: of a certified cascade, by worker.
    used: what is paid of each model, by worker.
    """

    intended_ns: Ints
    done_ns: Ints
    outcome: NDArray[np.uint8]
    offered_ns: Ints
    batch_began_ns: Ints
    batch_ended_ns: Ints
    batch_rows: Ints
    busy_ns: float
    end_ns: int
    rung: NDArray[np.uint8]
    cache: NDArray[np.uint8]
    wrong: NDArray[np.bool_]
    left: Ints | None = None
    calls: Mapping[int, Told] = field(default_factory=dict)
    guards: Sequence[SimulatedAudits] = ()
    used: Sequence[StageUse] = ()

    def latency_ns(self) -> Ints:
        return self.done_ns - self.intended_ns

    def is_hit(self) -> NDArray[np.bool_]:
        """Which requests were answered before the pipeline."""
        return np.asarray(self.cache > CACHE_OUTCOMES.index("miss"))

    def is_ok(self) -> NDArray[np.bool_]:
        """Which requests got a result."""
        return np.asarray(self.outcome == OK)


def gathered(
    intended_ns: Ints, records: Sequence[Record], workers: int, travel_ns: int, busy_ns: float
) -> Simulated:
    """The records of workers that got requests in turn, as one run."""
    num = len(intended_ns)
    done, offered = np.full(num, -1, np.int64), np.full(num, -1, np.int64)
    outcome = np.full(num, UNANSWERED, np.uint8)
    rung, cache, wrong = np.zeros(num, np.uint8), np.zeros(num, np.uint8), np.zeros(num, np.bool_)
    left = np.full(num, -1, np.int64)
    of_batch = np.full((3, num), -1, np.int64)
    for worker, record in enumerate(records):
        mine = slice(worker, None, workers)
        own = np.array(record.done_ns, np.int64)
        done[mine] = np.where(own >= 0, own + travel_ns, own)
        offered[mine] = record.offered_ns
        outcome[mine] = np.where(own >= 0, np.frombuffer(record.outcome, np.uint8), UNANSWERED)
        rung[mine] = np.frombuffer(record.rung, np.uint8)
        if record.left is not None:
            left[mine] = record.left
        cache[mine] = np.frombuffer(record.cache, np.uint8)
        wrong[mine] = np.frombuffer(record.wrong, np.bool_)
        # The last one stands for no batch.
        table = np.array([*record.batches, (-1, -1, -1)], np.int64)
        of_batch[:, mine] = table[np.array(record.batch_of, np.int64)].T
    began, ended, rows = of_batch
    return Simulated(
        intended_ns,
        np.where(outcome == UNANSWERED, intended_ns, done),
        outcome,
        offered,
        began,
        ended,
        rows,
        busy_ns,
        int(done.max()) if num else 0,
        rung,
        cache,
        wrong,
        left=left if any(record.left is not None for record in records) else None,
        calls={
            worker + place * workers: told
            for worker, record in enumerate(records)
            for place, told in record.calls.items()
        },
    )
