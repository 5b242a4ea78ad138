"""What stands before the pipeline of a configuration that is put to work, and what is remembered of its stages."""

import asyncio
from collections.abc import Callable

from trivet.runtime.fronts.exact import ExactFront
from trivet.runtime.fronts.front import Front, Fronts
from trivet.runtime.fronts.local_store import LocalStore
from trivet.runtime.fronts.redis_store import RedisStore
from trivet.runtime.fronts.shared_answers import SharedAnswers
from trivet.runtime.fronts.stage_cache import StageCache, StageCaches, remembered
from trivet.runtime.live import LiveModel, LiveService
from trivet.runtime.preparing.caches import cached_stages
from trivet.runtime.preparing.preparing import Prepared
from trivet.runtime.runtime import Runtime
from trivet.spec.cache import Cache, ExactCache


def make_fronts(
    prepared: Prepared,
    live: LiveService,
    runtime: Runtime,
    loop: asyncio.AbstractEventLoop,
    shared_store: Callable[[], RedisStore] | None = None,
) -> Fronts | None:
    """None: nothing stands before the pipeline. Quick, in the loop's thread, after `install`.

    Args: shared_store: the worker's, made when it is first wanted; None: there is none.
    """
    service = prepared.configuration.service
    fronts: list[Front] = [*live.front_list]
    stages: StageCaches | None = None
    if service.cache is not None:
        rules = service.cache.exact or ExactCache()
        local = LocalStore(rules.size_bytes)
        if service.cache.exact is not None:
            shared = SharedAnswers(shared_store(), live.counts, runtime.now_ns) if shared_store else None
            urgency = service.priorities.default
            fronts.append(ExactFront(rules, live, runtime, loop, local, urgency, shared))
        if service.cache.stages:
            stages = _stage_caches(prepared, live, runtime, local, rules)
    if prepared.semantic is not None:  # after the exact one: who asks the same again needs no guess
        from trivet.runtime.semantic.front import SemanticFront

        fronts.append(SemanticFront(prepared.semantic, loop, live.counts, runtime.now_ns))
    fronts += live.last_fronts
    if not fronts and stages is None:
        return None
    return Fronts(fronts, runtime, live.counts, stages)


def wants_shared_store(cache: Cache | None) -> bool:
    return cache is not None and cache.exact is not None


def _stage_caches(
    prepared: Prepared, live: LiveService, runtime: Runtime, local: LocalStore, rules: ExactCache
) -> StageCaches:
    """Of the models; a short step looks for itself from now on."""
    models = {}
    ttl_ns = None if rules.ttl_ns == "none" else rules.ttl_ns
    for place in cached_stages(prepared.configuration.service):
        stage = live.stages[place]
        digest = prepared.configuration.stage_digest(place)
        cache = StageCache(stage.name, digest, local, ttl_ns, live.counts, runtime.now_ns)
        if isinstance(stage, LiveModel):
            models[place] = cache
        else:
            stage.call = remembered(stage.call, cache)
    return StageCaches(runtime, models)
