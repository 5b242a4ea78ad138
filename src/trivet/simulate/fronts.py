"""Caches and tables in front of a simulated worker: who is answered at once, who waits for an equal request, who goes on.

Who waits for whom, what is fresh and who may be given another's answer is decided by the server's own state machines
(`pipeline/exact_cache.py`, `pipeline/semantic/`); what an answer is kept under is the number of its input. Entries are
bounded by bytes, each as large as the measured mean.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trivet.pipeline.exact_cache import NEVER, Flights, is_fresh
from trivet.simulate.front_table import FrontTable
from trivet.simulate.record import DROPPED, Record
from trivet.simulate.semantic_outcomes import NO_HIT, WRONG, semantic_outcomes
from trivet.simulate.setup import FrontsSetup
from trivet.spec.row import CACHE_OUTCOMES

MISS: Final = CACHE_OUTCOMES.index("miss")
EXACT: Final = CACHE_OUTCOMES.index("exact")
SEMANTIC: Final = CACHE_OUTCOMES.index("semantic")
PRECOMPUTED: Final = CACHE_OUTCOMES.index("precomputed")
_URGENCY = 1  # all requests of a simulation are of one class
_ANSWER = -1  # the place of a whole answer among the stages

Ints = NDArray[np.int64]
# Over the steps and into the first queue: (place, end_by_ns, now_ns) -> when the loop is done with it.
Admit = Callable[[int, int, int], int]


class Costs:
    """Of the event loop, in ns, at one pace of the machine. answer: the part of a hit behind the lookup."""

    __slots__ = ("_means", "answer", "hit", "miss", "semantic")

    def __init__(self, table: FrontTable, answer_ns: int) -> None:
        self._means = (_mean(table.hit_ns), _mean(table.miss_ns), _mean(table.semantic_ns))
        self.keep_pace(1.0, answer_ns)

    def keep_pace(self, factor: float, answer_ns: int) -> None:
        """Everything takes so many times as long as usual. Args: answer_ns: of a request at that pace."""
        self.hit, self.miss, self.semantic = (round(factor * mean) for mean in self._means)
        self.answer = min(self.hit, answer_ns)


class SimulatedFronts:
    """Those of one worker. Args: items: which input each of its requests carries.  arrivals_ns: of them, ascending."""

    def __init__(
        self, setup: FrontsSetup, table: FrontTable, costs: Costs, items: Ints, arrivals_ns: Ints
    ) -> None:
        self._setup, self._costs = setup, costs
        self.keep_pace = costs.keep_pace
        self._keys = np.array(table.keys, np.int64)[items].tolist()
        self._tabled = np.array(setup.tabled, np.bool_)[items].tolist() if setup.tabled else None
        exact = setup.exact
        self._ttl_ns = None if exact is None else exact.ttl_ns
        self._flights = Flights[int]() if exact is not None and exact.single_flight else None
        self._stored: OrderedDict[tuple[int, int], int] = (
            OrderedDict()
        )  # (place, key) -> when it was computed
        self._most = setup.size_bytes // max(1, table.entry_bytes)
        self._semantic = _semantic(setup, table, items, arrivals_ns)
        self._end_by_ns: dict[int, int] = {}  # of those that wait
        self.has_stages = bool(setup.stages)

    def begin(self, record: Record, admit: Admit) -> None:
        self._record, self._admit = record, admit

    def know(self, keys: Sequence[int]) -> None:
        """What was asked before the run begins."""
        for key in keys:
            self._keep(_ANSWER, key, 0)

    # --- a request ----------------------------------------------------------------------------------------------

    def take(self, place: int, now_ns: int, read_ns: int, end_by_ns: int) -> int:
        """A request that the loop begins to read now. Returns: when the loop is done with it for the time being."""
        costs, record = self._costs, self._record
        if self._tabled is not None and self._tabled[place]:
            return self._answered_now(place, now_ns + costs.hit, PRECOMPUTED)
        looked_up_ns = costs.miss if self._tabled is not None else 0
        if self._setup.exact is not None:
            looked_up_ns += costs.miss
            if self._knows(_ANSWER, self._keys[place], now_ns, self._ttl_ns):
                return self._answered_now(place, now_ns + costs.hit, EXACT)
            if self._flights is not None:
                role = self._flights.arrive(_digest(self._keys[place]), place, end_by_ns, _URGENCY)
                if role == "wait":
                    self._end_by_ns[place] = end_by_ns
                    return now_ns + costs.hit - costs.answer
        if self._semantic is not None:
            looked_up_ns += costs.semantic
            outcome = self._semantic[place]
            if outcome != NO_HIT:
                record.wrong[place] = outcome == WRONG
                now = self._answered_now(place, now_ns + costs.hit + costs.semantic, SEMANTIC)
                return self._let_go(place, now)
        if self._setup.has_caches:
            record.cache[place] = MISS
        return self._admit(place, end_by_ns, now_ns + read_ns + looked_up_ns)

    def answered(self, place: int, now_ns: int) -> int:
        """The pipeline has answered a request. Returns: when the loop has answered those that waited for it."""
        if self._setup.exact is None:
            return now_ns
        if self._record.rung[place]:  # somebody stood in: not what the pipeline as declared says
            return self._let_go(place, now_ns)
        self._keep(_ANSWER, self._keys[place], now_ns)
        for waiting in [] if self._flights is None else self._flights.landed(place):
            del self._end_by_ns[waiting]
            now_ns = self._answered_now(waiting, now_ns + self._costs.answer, EXACT)
        return now_ns

    def failed(self, place: int, now_ns: int) -> int:
        """A request got no result: whoever waited for it goes on for itself."""
        return self._let_go(place, now_ns)

    def _let_go(self, place: int, now_ns: int) -> int:
        going = [] if self._flights is None else self._flights.failed(place)
        let_go = [(one, self._end_by_ns.pop(one)) for one in going]
        for one, end_by_ns in let_go:
            self._record.cache[one] = MISS
            now_ns = self._admit(one, end_by_ns, now_ns)
        return now_ns

    def wake_at_ns(self) -> int:
        """When the next of those that wait will have waited too long."""
        return NEVER if self._flights is None else self._flights.wake_at_ns()

    def expire(self, now_ns: int) -> int:
        """Those that have waited too long are told so."""
        for place in [] if self._flights is None else self._flights.expire(now_ns):
            del self._end_by_ns[place]
            now_ns += self._costs.answer
            self._record.lost(place, now_ns, DROPPED)
        return now_ns

    # --- stages -------------------------------------------------------------------------------------------------

    def skips(self, stage: int, place: int, now_ns: int) -> bool:
        """Whether the output of a stage (by its place in the pipeline) is remembered for this request."""
        return stage in self._setup.stages and self._knows(
            stage, self._keys[place], now_ns, self._setup.stage_ttl_ns
        )

    def looked_up_ns(self, stage: int) -> int:
        """What asking for a stage takes, whether it is there or not."""
        return self._costs.miss if stage in self._setup.stages else 0

    def ran(self, stage: int, place: int, now_ns: int) -> None:
        if stage in self._setup.stages:
            self._keep(stage, self._keys[place], now_ns)

    # --- the store ----------------------------------------------------------------------------------------------

    def _answered_now(self, place: int, now_ns: int, cache: int) -> int:
        self._record.cache[place] = cache
        self._record.done_ns[place] = now_ns
        return now_ns

    def _knows(self, stage: int, key: int, now_ns: int, ttl_ns: int | None) -> bool:
        stored_ns = self._stored.get((stage, key))
        if stored_ns is None:
            return False
        self._stored.move_to_end((stage, key))
        return is_fresh(stored_ns, ttl_ns, now_ns)

    def _keep(self, stage: int, key: int, now_ns: int) -> None:
        if not self._most:
            return
        self._stored[stage, key] = now_ns
        self._stored.move_to_end((stage, key))
        if len(self._stored) > self._most:
            self._stored.popitem(last=False)


def semantic_share(setup: FrontsSetup, table: FrontTable, items: Ints) -> float:
    """The share of requests, one after the other, that a semantic cache answers wrong."""
    found = _semantic(setup, table, items, np.zeros(len(items), np.int64))
    return 0.0 if not found else found.count(WRONG) / len(found)


def _semantic(setup: FrontsSetup, table: FrontTable, items: Ints, arrivals_ns: Ints) -> list[int] | None:
    """What the semantic cache does with each request; None: there is none."""
    if setup.semantic is None or table.semantic is None:
        return None
    is_asked = np.ones(len(items), np.bool_)
    if setup.tabled:
        is_asked &= ~np.array(setup.tabled, np.bool_)[items]
    if setup.exact is not None:
        keys = np.array(table.keys, np.int64)[items].tolist()
        is_asked &= _is_new(keys, setup.size_bytes // max(1, table.entry_bytes))
    outcomes = semantic_outcomes(table.semantic, setup.semantic, items, is_asked, arrivals_ns)
    found: list[int] = outcomes.tolist()
    return found


def _is_new(keys: Sequence[int], most: int) -> NDArray[np.bool_]:
    """Which requests an exact cache of so many entries does not know, one after the other."""
    known: OrderedDict[int, None] = OrderedDict()
    found = np.ones(len(keys), np.bool_)
    for place, key in enumerate(keys):
        found[place] = key not in known
        known[key] = None
        known.move_to_end(key)
        if len(known) > most:
            known.popitem(last=False)
    return found


def _digest(key: int) -> bytes:
    return key.to_bytes(8, "little")


def _mean(values: Sequence[int]) -> float:
    return sum(values) / len(values) if values else 0.0
