"""Engines of a model and its variants, loaded as the server loads them and timed in turn on the server's core."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from trivet import host
from trivet.engine.contract import Engine
from trivet.errors import TrivetError
from trivet.experiment.placement import Placement
from trivet.experiment.simulating.parted_engine import can_be_timed, load_parts, together
from trivet.experiment.variants.variant_times import Times, interleaved_times
from trivet.runtime.preparing.engines import load_engine, num_threads, wanted_batch_size
from trivet.runtime.preparing.profile_inputs import ProfileInputs, data_profile, random_profile
from trivet.runtime.preparing.profiling import single_rows
from trivet.spec.configuration import Configuration
from trivet.variants.apply import with_variant
from trivet.variants.source import Source
from trivet.variants.store import VariantStore
from trivet.variants.variant import ORIGINAL, Variant

_PROFILED_ROWS = 256


def timed_variants(
    configuration: Configuration,
    source: Source,
    group: Sequence[Variant],
    store: VariantStore,
    placement: Placement,
    now_ns: Callable[[], int],
    times_ns: int,
    seed: int,
) -> tuple[dict[str, Times], dict[str, str]]:
    """Of the variants that are one engine, or two with an exit between them: times by name, and why some have none.

    Raises: TrivetError: the original cannot be loaded, or fails.
    """
    engines: dict[str, Engine] = {}
    failed: dict[str, str] = {}
    inputs = _inputs(source)
    with host.affinity(placement.server):
        try:
            for variant in group:
                if variant.stages is None or can_be_timed(variant):
                    _load(configuration, variant, store, engines, failed)
            times = interleaved_times(
                engines,
                inputs.batches,
                wanted_batch_size(source.declared) if source.signature.batch_axis else 1,
                now_ns=now_ns,
                budget_ns=times_ns * len(engines),
                seed=seed,
                timer_ns=time.thread_time_ns if _compute_here(source, group) else None,
            )
        finally:
            for engine in engines.values():
                engine.close()
    for variant in group:
        if variant.stages is not None and variant.name not in failed and can_be_timed(variant):
            times[variant.name] = together(variant, times)
    return times, failed


def _compute_here(source: Source, group: Sequence[Variant]) -> bool:
    """Whether all engines compute in the thread that asks them, and in no other."""
    return num_threads(source.declared) == 1 and all(variant.engine == "onnxruntime" for variant in group)


def _load(
    configuration: Configuration,
    variant: Variant,
    store: VariantStore,
    engines: dict[str, Engine],
    failed: dict[str, str],
) -> None:
    """As the server loads it: with its levers."""
    try:
        changed = with_variant(configuration, variant, store)
        if variant.stages is not None:
            engines |= load_parts(changed, variant)
            return
        model = changed.service.models[variant.model]
        engines[variant.name] = load_engine(model, Path(changed.root), None)
    except TrivetError as error:
        if variant.name == ORIGINAL:
            raise
        failed[variant.name] = str(error)


def _inputs(source: Source) -> ProfileInputs:
    if not source.rows:
        return random_profile(source.signature, source.declared)
    rows = single_rows(source.rows[:_PROFILED_ROWS], source.model, source.signature)
    return data_profile(source.signature, source.declared, rows)
