"""The stage that joins features: what becomes of entities that are there, stale, missing, or cannot be looked up."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from trivet.errors import BadRequestError, RequestError, UnavailableError
from trivet.runtime.counts import Count, Counts
from trivet.runtime.features.entity_key import entity_keys
from trivet.runtime.features.table import MISSING, UNAVAILABLE, FeatureRows
from trivet.spec.features import Features

LOOKUPS = "trivet_feature_lookups_total"


class FeatureSource(Protocol):
    """Where features are: a file in memory, or a store."""

    def find(self, keys: Sequence[bytes]) -> FeatureRows:
        """At once, from memory: what is not there and would have to be asked for is UNAVAILABLE."""

    def fetch(self, keys: Sequence[bytes]) -> None:
        """Before anybody is served: have these in memory; blocking."""

    def begin(self, loop: asyncio.AbstractEventLoop, counts: Counts, now_ns: Callable[[], int]) -> None:
        """From now on it belongs to the loop."""

    def close(self) -> None: ...


class FeatureJoin:
    """A step: from the tensor that names entities to their features.

    Each entity has one outcome: hit, stale, missing, unavailable (the table or the store cannot be used).
    """

    def __init__(
        self, declared: Features, source: FeatureSource, wall_s: Callable[[], float] = time.time
    ) -> None:
        self._declared = declared
        self.source = source
        self._wall_s = wall_s
        self._max_age_s = float("inf") if declared.max_age_ns is None else declared.max_age_ns / 1e9
        self._counts: Counts | None = None
        self._hits: Count | None = None

    def begin(self, loop: asyncio.AbstractEventLoop, counts: Counts, now_ns: Callable[[], int]) -> None:
        self.count(counts)
        self.source.begin(loop, counts, now_ns)

    def count(self, counts: Counts) -> None:
        """From now on lookups are counted, and nothing is fetched for them."""
        self._counts = counts
        self._hits = counts.of(LOOKUPS, table=self._declared.table, outcome="hit")

    def __call__(self, tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Raises: BadRequestError: an entity that is not there. UnavailableError: one that is stale, or cannot be looked
        up. Each only where the stage says that this is to be refused.
        """
        declared = self._declared
        keys = entity_keys(declared.key, tensors[declared.key])
        if self._counts is None:
            self.source.fetch(keys)
        rows = self.source.find(keys)
        if (
            self._declared.max_age_ns is None and min(rows.places, default=MISSING) >= 0
        ):  # nearly all requests
            if self._hits is not None:
                self._hits.value += len(keys)
            return {name: array[rows.places] for name, array in rows.tensors.items()}
        places = np.array(rows.places, np.int64)
        is_stale = self._is_stale(rows, places)
        self._count(places, is_stale)
        instead = self._by_rule(keys, places, is_stale)
        return {
            name: self._filled(name, rows.tensors.get(name), places, instead) for name in declared.tensors
        }

    def _is_stale(self, rows: FeatureRows, places: NDArray[np.int64]) -> NDArray[np.bool_]:
        if self._declared.max_age_ns is None:
            return np.zeros(len(places), np.bool_)
        since_s = self._wall_s() - self._max_age_s
        if isinstance(rows.updated_s, float):
            return (places >= 0) & (rows.updated_s < since_s)
        if not len(rows.updated_s):
            return np.zeros(len(places), np.bool_)
        return (places >= 0) & (rows.updated_s[np.maximum(places, 0)] < since_s)

    def _count(self, places: NDArray[np.int64], is_stale: NDArray[np.bool_]) -> None:
        if self._counts is None:
            return
        num_stale = int(np.count_nonzero(is_stale))
        found = {
            "hit": int(np.count_nonzero(places >= 0)) - num_stale,
            "stale": num_stale,
            "missing": int(np.count_nonzero(places == MISSING)),
            "unavailable": int(np.count_nonzero(places == UNAVAILABLE)),
        }
        for outcome, number in found.items():
            if number:
                self._counts.add(LOOKUPS, number, table=self._declared.table, outcome=outcome)

    def _by_rule(
        self, keys: Sequence[bytes], places: NDArray[np.int64], is_stale: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Which entities get the default. Raises: RequestError: the first that is refused."""
        declared = self._declared
        rules: list[tuple[NDArray[np.bool_], str, Callable[[str], RequestError]]] = [
            (
                places == UNAVAILABLE,
                declared.on_mismatch,
                lambda _key: UnavailableError(f"features cannot be looked up in {declared.table}; try again"),
            ),
            (
                places == MISSING,
                declared.on_missing,
                lambda key: BadRequestError(f"{declared.table} has no features of {declared.key} {key}"),
            ),
            (
                is_stale,
                declared.on_stale,
                lambda key: UnavailableError(
                    f"{declared.table}: the features of {declared.key} {key} are older than {self._max_age_s:g} s"
                ),
            ),
        ]
        instead = np.zeros(len(places), np.bool_)
        for which, rule, error in rules:
            if rule == "refuse" and which.any():
                raise error(repr(keys[int(np.argmax(which))].decode(errors="replace")[:80]))
            if rule == "default":
                instead |= which
        return instead

    def _filled(
        self,
        name: str,
        array: NDArray[Any] | None,
        places: NDArray[np.int64],
        instead: NDArray[np.bool_],
    ) -> NDArray[Any]:
        """Rows of a tensor, the default where `instead` says so."""
        declared = self._declared
        value: Any = declared.default.get(name, 0.0)
        if array is None or not len(array):  # there is no row that could tell type and shape
            shape = (len(declared.tensors[name]),) if declared.is_joined(name) else ()
            text = isinstance(value, str)
            array = np.zeros((1, *shape), np.object_ if text else np.float32)
        filled = array[np.maximum(places, 0)]
        if filled.dtype.kind in "biu" and value != int(value):
            filled = filled.astype(np.float32)  # 0.5 among whole numbers
        filled[instead] = value.encode() if isinstance(value, str) else value
        return filled
