"""What stands before a pipeline, in configurations and in setups: put there, taken away, resolved for the simulator."""

from typing import Any

import msgspec

from trivet.runtime.preparing.caches import cached_stages
from trivet.simulate.profile import ServiceProfile
from trivet.simulate.setup import ExactSetup, FrontsSetup, SemanticSetup
from trivet.spec.cache import Cache, ExactCache
from trivet.spec.configuration import Configuration, with_service
from trivet.spec.semantic import HASHED
from trivet.spec.service import Service


def has_fronts(service: Service) -> bool:
    return service.cache is not None or service.semantic_cache is not None or service.precomputed is not None


def without_fronts(configuration: Configuration) -> Configuration:
    """The same pipeline with nothing before it, and nothing remembered within."""
    return with_fronts(configuration)


def with_fronts(configuration: Configuration, **fronts: Any) -> Configuration:
    """The same pipeline with these fronts and no others: `cache`, `semantic_cache`, as the service has them."""
    service = configuration.service
    bare = {"cache": None, "semantic_cache": None, "precomputed": None}
    changed = msgspec.structs.replace(service, **{**bare, **fronts})
    unused = set() if service.semantic_cache is None else {service.semantic_cache.encoder_model}
    if changed.semantic_cache is None:  # a model that only its encoder is
        in_pipeline = {stage.model for stage in service.pipeline}
        models = {
            name: one for name, one in service.models.items() if name not in unused or name in in_pipeline
        }
        changed = msgspec.structs.replace(changed, models=models)
    return with_service(configuration, changed)


def fronts_setup(configuration: Configuration, profile: ServiceProfile) -> FrontsSetup | None:
    """What the server would put before the pipeline; None: nothing, so that nothing of it is simulated."""
    service = configuration.service
    if not has_fronts(service):
        return None
    cache, semantic = service.cache or Cache(), service.semantic_cache
    rules = cache.exact or ExactCache()  # as runtime/fronts/making.py: stages have the default room
    tabled: tuple[bool, ...] = ()
    if service.precomputed is not None and profile.fronts is not None:
        tabled = tuple(profile.fronts.tabled.get(configuration.hash, ()))
    return FrontsSetup(
        exact=None
        if cache.exact is None
        else ExactSetup(_ttl_ns(cache.exact.ttl_ns), cache.exact.single_flight),
        semantic=None
        if semantic is None
        else SemanticSetup(
            semantic.max_wrong, semantic.audit, semantic.seed, semantic.size, _ttl_ns(semantic.ttl_ns)
        ),
        stages=tuple(cached_stages(service)),
        stage_ttl_ns=_ttl_ns(rules.ttl_ns),
        size_bytes=rules.size_bytes,
        tabled=tabled,
    )


def why_not_semantic(configuration: Configuration) -> str:
    """Why a semantic cache of the service cannot be simulated; empty: it can."""
    declared = configuration.service.semantic_cache
    if declared is None:
        return "none is declared"
    if declared.encoder != HASHED:
        return f"its encoder {declared.encoder!r} runs beside the event loop, which is not simulated; {HASHED} is"
    data = configuration.service.data
    if data is None or not data.columns:
        return "no data says which texts are asked: declare data with columns"
    return ""


def _ttl_ns(declared: int | str) -> int | None:
    return declared if isinstance(declared, int) else None
