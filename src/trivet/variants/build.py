"""Builds the variants of models: what is in the store is not built again, and what cannot be built is on record, too."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from trivet import host
from trivet.engine.contract import Engine
from trivet.engine.onnx import OnnxEngine
from trivet.engine.openvino import OpenVinoEngine
from trivet.errors import EngineError, SpecError, TrivetError
from trivet.judge.equality import compare_answers
from trivet.load.inputs.random_rows import random_rows
from trivet.spec.canonical import canonical_json
from trivet.spec.fields import FieldError, nearest
from trivet.spec.signature import Signature
from trivet.variants._models import rows_digest, versions
from trivet.variants.builder import Builder, Built
from trivet.variants.builders import BUILDERS, builder_of
from trivet.variants.errors import StoreError, VariantError
from trivet.variants.source import Arrays, Source
from trivet.variants.store import VariantStore
from trivet.variants.variant import BuildFailure, Variant

Say = Callable[[str], None]
OnProgress = Callable[[str, str, int, int], None]

_FORMAT = 1  # of what is kept; a change builds everything again
_NUM_CHECKED = 8


def build_variants(
    sources: Sequence[Source],
    wanted: Sequence[str] | None,
    store: VariantStore,
    *,
    exclude: Sequence[str] = (),
    rebuild: bool = False,
    on_progress: OnProgress = lambda model, name, done, total: None,
    say: Say = lambda text: None,
) -> list[Variant | BuildFailure]:
    """One after the other, in the order of the builders for each model; nothing that fails stops the others.

    Args: wanted: names; None: all that there are.  rebuild: also what is in the store.
    on_progress: is given the model, the variant's name, and how many of all are done.
    Raises: FieldError: an unknown name, or an option that a variant does not have.  StoreError: the store cannot be written.
    """
    _check_names([*(wanted or ()), *exclude])
    jobs = [
        (source, name, builder_of(name, source.options.get(name, {})))
        for source in sources
        for name in (BUILDERS if wanted is None else wanted)
        if name not in exclude
    ]
    for source in sources:
        _check_names(source.options, ("variants",))
    found = []
    for done, (source, name, builder) in enumerate(jobs):
        on_progress(source.model, name, done, len(jobs))
        found.append(_found_or_built(source, builder, store, rebuild, say))
    if jobs:
        on_progress(jobs[-1][0].model, jobs[-1][1], len(jobs), len(jobs))
    return found


def original_of(source: Source) -> Variant:
    """The model as it is, as if it had been built; its file stays where it is."""
    digest = _digest(source.path)
    return Variant(
        name="original",
        model=source.model,
        digest=digest,
        files=(source.path.name,),
        size_bytes=source.path.stat().st_size,
        engine=source.declared.engine,
        built_from=digest,
        answers_change=False,
    )


def load_variant(path: Path, engine: str, threads: int = 1) -> Engine:
    """The engine of a variant's model file. Raises: SpecError: it cannot be loaded.  ExtraMissingError."""
    return (
        OpenVinoEngine(path, threads=threads) if engine == "openvino" else OnnxEngine(path, threads=threads)
    )


def _found_or_built(
    source: Source, builder: Builder, store: VariantStore, rebuild: bool, say: Say
) -> Variant | BuildFailure:
    settings = _settings(source, builder)
    built_from = _digest(source.path)
    key = hashlib.sha256(
        canonical_json([_FORMAT, built_from, source.model, builder.name, settings])
    ).hexdigest()
    reason = _missing(builder, source)
    is_tried = not reason
    if is_tried:
        kept = None if rebuild else store.find(built_from, key)
        if isinstance(kept, Variant) or (kept is not None and kept.tried):
            return kept
        say(f"building {builder.name} of {source.model}")
        try:
            return _built(source, builder, store, key, settings, built_from, say)
        except StoreError:
            raise
        except TrivetError as error:
            reason = str(error)
        except Exception as error:
            # Builders call libraries on graphs that those have never seen: one that fails is a result like any other.
            reason = f"{type(error).__name__}: {error}"
    failure = BuildFailure(
        name=builder.name,
        model=source.model,
        reason=reason,
        built_from=built_from,
        settings=settings,
        tried=is_tried,
    )
    store.put_failure(key, failure)
    return failure


def _missing(builder: Builder, source: Source) -> str:
    try:
        return builder.applies(source)
    except TrivetError as error:
        return str(error)


def _built(
    source: Source,
    builder: Builder,
    store: VariantStore,
    key: str,
    settings: dict[str, Any],
    built_from: str,
    say: Say,
) -> Variant:
    with store.draft() as folder:
        built = builder.build(source, folder, say)
        if built.stages is None:
            check_built(source, built, folder, builder.answers_change)
        record = Variant(
            name=builder.name,
            model=source.model,
            digest="",
            files=built.files,
            size_bytes=0,
            engine=built.engine,
            built_from=built_from,
            settings=settings | built.settings,
            answers_change=builder.answers_change,
            notes=built.notes,
            stages=built.stages,
        )
        return store.put(folder, key, built, record)


def check_built(source: Source, built: Built, folder: Path, answers_change: bool) -> None:
    """What was built loads, takes and gives what the original does, and answers.

    Raises: VariantError: it does not, or it promised the same answers and gives others.
    """
    try:
        variant = load_variant(folder / built.files[0], built.engine)
        original = load_variant(source.path, source.declared.engine)
    except SpecError as error:
        reason = str(error).replace(f"{folder}/", "")
        raise VariantError(f"the variant cannot be loaded: {reason}") from None
    try:
        _check_signature(variant.signature, original.signature)
        rows = source.rows[:_NUM_CHECKED] or random_rows(
            source.signature, _NUM_CHECKED, np.random.default_rng(source.seed)
        )
        for row in rows:
            try:
                reference = original.run(row)
            except EngineError:  # random rows have free dimensions of 1, which some models cannot take
                continue
            _check_answers(variant.run(row), reference, answers_change)
    finally:
        variant.close()
        original.close()


def _check_signature(variant: Signature, original: Signature) -> None:
    for side, ours, theirs in (
        ("inputs", variant.inputs, original.inputs),
        ("outputs", variant.outputs, original.outputs),
    ):
        found, wanted = ({s.name: (s.datatype, len(s.shape)) for s in specs} for specs in (ours, theirs))
        if found != wanted:
            raise VariantError(
                f"its {side} are {found}, the original's {wanted}: it would be another service"
            )


def _check_answers(answer: Arrays, reference: Arrays, answers_change: bool) -> None:
    if not answers_change:
        equality = compare_answers(answer, reference)
        if not equality.same:
            raise VariantError(f"it promises the original's answers and gives others: {equality}")
    for name, array in answer.items():
        if _is_finite(reference[name]) and not _is_finite(array):
            raise VariantError(
                f"output {name!r} holds infinities or no numbers where the original's are finite"
            )


def _is_finite(array: NDArray[Any]) -> bool:
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())


def _settings(source: Source, builder: Builder) -> dict[str, Any]:
    """What the build depends on, beside the original's bytes."""
    options = msgspec.to_builtins(builder) if isinstance(builder, msgspec.Struct) else {}
    parts = [*source.calibration, *source.certification]
    return {
        "options": options,
        "seed": source.seed,
        "rows": rows_digest(source, parts),
        "parts": [len(source.calibration), len(source.certification)],
        "versions": versions(),
        "processor": host.processor(),
    }


def _check_names(names: Sequence[str] | Mapping[str, Any], path: tuple[str, ...] = ()) -> None:
    for name in names:
        if name not in BUILDERS:
            raise FieldError((*path, name), f"there is no variant {name!r}{nearest(name, BUILDERS)}")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
