"""What may answer before the pipeline, as levers: the exact cache, whose answers are the pipeline's, and the semantic one.

What they gain follows from how often inputs repeat. Where nobody says so (`tune: {popularity: zipf:1.0}`) any number could
come out: then they stay as declared.
"""

from collections.abc import Iterator
from dataclasses import replace

import msgspec

from trivet.catalog.study import LeftOut
from trivet.experiment.simulating.fronts import why_not_semantic, with_fronts
from trivet.load.popularity import exponent_of
from trivet.simulate.profile import ServiceProfile
from trivet.spec.cache import Cache, ExactCache
from trivet.spec.configuration import Configuration, with_service
from trivet.spec.service import Service
from trivet.spec.units import format_size, parse_size
from trivet.tune.choice import Choice, Value
from trivet.tune.lever import CACHE, OFF, SEMANTIC_CACHE, Lever

UNKNOWN = "nothing says how often inputs repeat: tune: {popularity: zipf:1.0} does"
_LARGER = 4  # times the declared size, where that is too small for all inputs


def zipf_of(service: Service) -> float:
    """The exponent of the popularity that the service's inputs are said to have; 0: even.

    Raises: SpecError: no popularity.
    """
    return 0.0 if service.tune is None else exponent_of(service.tune.popularity)


def front_levers(configuration: Configuration, left_out: list[LeftOut]) -> Iterator[Lever]:
    """The declared value first. Those without another value go to `left_out`, but keep their value."""
    service = configuration.service
    repeats = bool(zipf_of(service))
    default = _cache_value(service)
    if default != OFF or repeats:
        other = format_size(ExactCache().size_bytes) if default == OFF else OFF
        if not repeats:
            left_out.append(LeftOut(name=CACHE, why=UNKNOWN))
        values: tuple[Value, ...] = (default, other) if repeats else (default,)
        yield Lever(name=CACHE, lever=CACHE, model="", values=values, default=default)
    declared = service.semantic_cache
    if declared is not None:
        why = why_not_semantic(configuration) or ("" if repeats else UNKNOWN)
        if why:
            left_out.append(LeftOut(name=SEMANTIC_CACHE, why=why))
        most = declared.max_wrong
        values = (most,) if why else (most, OFF, most / 2)
        yield Lever(
            name=SEMANTIC_CACHE, lever=SEMANTIC_CACHE, model="", values=values, default=most, kind="answers"
        )


def with_front_levers(configuration: Configuration, choice: Choice) -> Configuration:
    """The caches as a choice has them; as declared where they are no levers."""
    service = configuration.service
    size, most = choice.get(CACHE), choice.get(SEMANTIC_CACHE)
    cache, semantic = service.cache, service.semantic_cache
    if size is not None and size != _cache_value(service):
        known = cache or Cache()
        exact = None
        if size != OFF:
            exact = msgspec.structs.replace(known.exact or ExactCache(), size_bytes=parse_size(size))
        cache = Cache(exact=exact, stages=known.stages) if exact or known.stages else None
    if semantic is not None and most is not None and most != semantic.max_wrong:
        semantic = None if most == OFF else msgspec.structs.replace(semantic, max_wrong=float(most))
    if (cache, semantic) == (service.cache, service.semantic_cache):
        return configuration
    return with_service(configuration, msgspec.structs.replace(service, cache=cache, semantic_cache=semantic))


def profiled_fronts(configuration: Configuration, *, is_searched: bool) -> Configuration:
    """What is measured of caches: those as declared, and an exact one where that is a lever."""
    cache = configuration.service.cache
    if not is_searched or (cache is not None and cache.exact is not None):
        return configuration
    stages = () if cache is None else cache.stages
    kept = configuration.service.semantic_cache
    return with_fronts(configuration, cache=Cache(exact=ExactCache(), stages=stages), semantic_cache=kept)


def with_sizes(lever: Lever, profile: ServiceProfile) -> Lever:
    """The lever of the exact cache with a larger one, where the bytes of the one that there is bind."""
    sizes = [value for value in lever.values if value != OFF]
    if lever.lever != CACHE or profile.fronts is None or len(sizes) != 1 or len(lever.values) == 1:
        return lever
    (size,) = sizes
    if profile.fronts.all_bytes <= parse_size(size):
        return lever
    return replace(lever, values=(*lever.values, format_size(_LARGER * parse_size(size))))


def _cache_value(service: Service) -> str:
    """As service.yaml would say it: a size, or off."""
    exact = None if service.cache is None else service.cache.exact
    return OFF if exact is None else format_size(exact.size_bytes)
