"""Outputs of single stages, given again to whoever brings the same inputs: requests, and later stages of equal make.

A short step is looked up where it is called. A model is looked up before a request is offered to it: what is kept takes
the request on as if the model had just run.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trivet.errors import RequestError
from trivet.pipeline.exact_cache import is_fresh
from trivet.runtime.counts import Counts
from trivet.runtime.fronts.front import tenant_of
from trivet.runtime.fronts.kept import Kept, keep
from trivet.runtime.fronts.local_store import LocalStore
from trivet.runtime.results import Results
from trivet.runtime.steps import Step
from trivet.schedule.job import DONE
from trivet.wire.canonical import scope, tensors_digest
from trivet.wire.tensor import as_array
from trivet.wire.v2_input import InferInput

if TYPE_CHECKING:
    from trivet.runtime.live import LiveModel
    from trivet.runtime.request import Reply, Request
    from trivet.runtime.runtime import Runtime


class StageCache:
    """One stage's. Args: digest: of all that the stage is made of."""

    __slots__ = ("_hits", "_local", "_lookups", "_now_ns", "_scope", "_ttl_ns")

    def __init__(
        self,
        name: str,
        digest: str,
        local: LocalStore,
        ttl_ns: int | None,
        counts: Counts,
        now_ns: Callable[[], int],
    ) -> None:
        self._scope = lru_cache(maxsize=1024)(partial(scope, "stage", digest))  # by tenant
        self._local = local
        self._ttl_ns = ttl_ns
        self._now_ns = now_ns
        self._lookups = counts.of("trivet_stage_cache_lookups_total", stage=name)
        self._hits = counts.of("trivet_stage_cache_hits_total", stage=name)

    def key(self, inputs: Mapping[str, NDArray[Any]], tenant: str = "") -> bytes | None:
        """None: such inputs cannot be told apart, so that nothing is kept for them."""
        return tensors_digest(self._scope(tenant), inputs)

    def get(self, key: bytes) -> Kept | None:
        self._lookups.value += 1
        kept = self._local.get(key)
        if kept is None or not is_fresh(kept.stored_ns, self._ttl_ns, self._now_ns()):
            return None
        self._hits.value += 1
        return kept

    def put(self, key: bytes, outputs: Mapping[str, NDArray[Any]], rows: int) -> None:
        self._local.put(key, keep(outputs, outputs.keys(), rows, self._now_ns()))


def remembered(call: Step, cache: StageCache) -> Step:
    """A step that runs once for equal inputs, whose ever they are.

    Each caller gets arrays of its own: Python code may write to them.
    """

    def look_up(tensors: dict[str, NDArray[Any]]) -> Mapping[str, Any]:
        key = cache.key(tensors)
        if key is None:
            return call(tensors)
        kept = cache.get(key)
        if kept is not None:
            return {name: array.copy() for name, array in kept.tensors.items()}
        outputs = call(tensors)
        if isinstance(outputs, Mapping):  # anything else is an error, and for `call_step` to tell
            cache.put(key, {name: np.asarray(value) for name, value in outputs.items()}, 0)
        return outputs

    return look_up


class StageCaches:
    """Those of the models of one configuration, by their places."""

    __slots__ = ("_caches", "_runtime")

    def __init__(self, runtime: "Runtime", caches: Mapping[int, StageCache]) -> None:
        self._runtime = runtime
        self._caches = dict(caches)

    def submit(self, request: "Request") -> None:
        """Take a request that stands before a model past it, or have the model run and keep what it gives."""
        cache = self._caches.get(request.stage)
        if cache is None:
            self._runtime.submit(request)
            return
        model = request.live.models_by_place[request.stage]
        key = cache.key(_arrays(model, request.inputs), tenant_of(request))
        kept = None if key is None else cache.get(key)
        if kept is not None:
            self._pass(request, model, kept)
            return
        if key is not None:
            _Kept(self._runtime, request, model, cache, key)
        self._runtime.submit(request)

    def _pass(self, request: "Request", model: "LiveModel", kept: Kept) -> None:
        now_ns = self._runtime.now_ns()
        request.formed_ns = request.started_ns = request.ended_ns = now_ns
        request.batch_rows = 0
        request.state = DONE
        results = Results(kept.tensors, model.signature.batch_axis, kept.rows)
        self._runtime.stage_answered(request, results, 0, model)


class _Kept:
    """Stands in as a request's reply while a model runs for it; then everything is as before."""

    __slots__ = ("_answers_after", "_cache", "_key", "_model", "_reply", "_runtime")

    def __init__(
        self, runtime: "Runtime", request: "Request", model: "LiveModel", cache: StageCache, key: bytes
    ) -> None:
        self._runtime = runtime
        self._model = model
        self._cache = cache
        self._key = key
        self._reply: Reply = request.reply
        self._answers_after = request.answers_after
        request.reply = self
        request.answers_after = model

    def answer(self, request: "Request", results: Results, start: int) -> None:
        self._back(request)
        # Who stood in for the model gave another answer than it would have.
        if request.notes is None or not request.notes.instead:
            self._cache.put(self._key, results.part(start, request.rows), request.rows)
        self._runtime.stage_answered(request, results, start, self._model)

    def fail(self, request: "Request", error: RequestError) -> None:
        self._back(request)
        self._reply.fail(request, error)

    def _back(self, request: "Request") -> None:
        request.reply = self._reply
        request.answers_after = self._answers_after


def _arrays(model: "LiveModel", inputs: Sequence[InferInput]) -> dict[str, NDArray[Any]]:
    return {
        spec.name: as_array(spec.datatype, one.data, one.shape)
        for spec, one in zip(model.signature.inputs, inputs, strict=True)
    }
