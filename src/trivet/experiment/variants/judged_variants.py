"""Variants judged: answers through the server, times of the engine alone, and a plain verdict on each."""

import hashlib
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from trivet import host
from trivet.catalog.records import Figure
from trivet.errors import UserError
from trivet.experiment.data_parts import data_parts, why_no_data
from trivet.experiment.model_rows import sources_of
from trivet.experiment.placement import Placement
from trivet.experiment.variants.judged_answers import JudgedAnswers, difference, judged_answers
from trivet.experiment.variants.timed_variants import timed_variants
from trivet.experiment.variants.variant_times import Times
from trivet.experiment.variants.variant_verdict import Speed, speed, verdict
from trivet.judge.metric import smaller_is_better
from trivet.spec.canonical import canonical_json
from trivet.spec.configuration import Configuration
from trivet.spec.data import LabelledRows, sample_digest
from trivet.spec.signature import Signature
from trivet.stats.interval import Ratio
from trivet.variants.apply import with_variant
from trivet.variants.build import original_of
from trivet.variants.source import Source
from trivet.variants.store import VariantStore
from trivet.variants.variant import ORIGINAL, BuildFailure, Variant

VariantVerdict = Literal["original", "faster", "no gain", "worse", "failed"]
OnProgress = Callable[[str, int, int], None]

MAX_JUDGED = 2000
TIMES_NS = 3_000_000_000  # of each variant
_FORMAT = 1  # of what is kept
_FAILED = "failed: "  # before the reason of a variant that could not be asked
NS_PER_MS = 1e6


class JudgedVariant(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a variant on one machine. Records accept unknown fields; each new one has a default.

    accuracy, cohorts, calibration_error: None, or empty, where nothing was judged; `reason` says why.
    difference: the variant's accuracy minus the original's on the same rows.
    times_ns: of the engine alone: length (0: no free dimension) -> rows of a batch -> service times in ns.
    one_ms, best_ms: medians at the usual length: of a batch of one, and of one row of a batch of `best_batch`.
    speedup, speedup_best: how many times as fast as the original, one row alone, and each at its own best batch.
    in_search: False: it stays on record, and no tuner tries it.
    """

    variant: Variant
    accuracy: Figure | None = None
    cohorts: dict[str, Figure] = {}
    difference: Figure | None = None
    calibration_error: Figure | None = None
    times_ns: dict[int, dict[int, list[int]]] = {}
    verdict: VariantVerdict
    reason: str
    in_search: bool
    speedup: Figure | None = None
    speedup_best: Figure | None = None
    best_batch: int = 1
    one_ms: float | None = None
    best_ms: float | None = None


def judge_variants(
    configuration: Configuration,
    variants: Sequence[Variant | BuildFailure],
    store: VariantStore,
    *,
    placement: Placement,
    sources: Sequence[Source] | None = None,
    on_progress: OnProgress = lambda what, done, total: None,
    max_judged: int = MAX_JUDGED,
    times_ns: int = TIMES_NS,
    seed: int = 0,
    now_ns: Callable[[], int] = time.monotonic_ns,
) -> list[JudgedVariant]:
    """The original of each model, and its variants, in the order given; kept for `kept_judgements`.

    Answers come through a server of each variant, on rows that none was fitted, chosen or certified by. Times are of the
    engines in this process, on the server's core, in turn with the original's. Failures to build are passed over.
    Args: sources: as `sources_of` gave them, with the same seed; None: it is asked.  times_ns: for each engine's times.
    Raises: UserError: the original cannot be served or judged.
    """
    found = sources_of(configuration, seed=seed) if sources is None else sources
    rows = _judged_rows(configuration, found, max_judged, seed)
    groups = [[original_of(source), *_of_model(variants, source.model)] for source in found]
    total = sum(map(len, groups))
    judged: list[JudgedVariant] = []
    on_progress("judging the original", 0, total)
    original = _answers(configuration, groups[0][0], store, placement, rows) if groups else ""
    for source, group in zip(found, groups, strict=True):
        answers = {ORIGINAL: original}
        for variant in group[1:]:
            on_progress(f"judging {variant.name} of {source.model}", len(judged) + len(answers), total)
            answers[variant.name] = _answers(configuration, variant, store, placement, rows)
        on_progress(f"timing {len(group)} engines of {source.model} in turn", len(judged) + len(group), total)
        times, failed = timed_variants(configuration, source, group, store, placement, now_ns, times_ns, seed)
        judged += [_judged(configuration, variant, answers, times, failed) for variant in group]
    keep_judgements(configuration, store, judged)
    return judged


def kept_judgements(configuration: Configuration, store: VariantStore) -> list[JudgedVariant]:
    """The last that were made of this configuration with this data on this machine; none where there are none."""
    try:
        return msgspec.json.decode(_path(configuration, store).read_bytes(), type=list[JudgedVariant])
    except (OSError, msgspec.MsgspecError):
        return []


def _judged_rows(
    configuration: Configuration, sources: Sequence[Source], max_judged: int, seed: int
) -> LabelledRows | str:
    """The rows to judge by, or why there are none."""
    service = configuration.service
    missing = why_no_data(configuration)
    if missing or service.data is None or service.data.label is None or service.metric is None:
        return missing or ("no metric is declared" if service.metric is None else "the data has no labels")
    rows = data_parts(configuration, _request_signature(configuration, sources), seed).judged_rows(max_judged)
    return rows if rows.inputs else "no rows are left for judging"


def _request_signature(configuration: Configuration, sources: Sequence[Source]) -> Signature:
    service = configuration.service
    first = [source.signature for source in sources if source.model == service.pipeline[0].model]
    return first[0] if first else Signature(service.inputs or (), (), False)


def _of_model(variants: Sequence[Variant | BuildFailure], model: str) -> list[Variant]:
    return [variant for variant in variants if isinstance(variant, Variant) and variant.model == model]


def _answers(
    configuration: Configuration,
    variant: Variant,
    store: VariantStore,
    placement: Placement,
    rows: LabelledRows | str,
) -> JudgedAnswers | str:
    """What it answers, or why that is not judged. Raises: UserError: the original cannot be judged."""
    if isinstance(rows, str):
        return rows
    try:
        return judged_answers(with_variant(configuration, variant, store), rows, placement)
    except UserError as error:
        if variant.name == ORIGINAL:
            raise
        return f"{_FAILED}{error}"


def _judged(
    configuration: Configuration,
    variant: Variant,
    answers: Mapping[str, JudgedAnswers | str],
    times: Mapping[str, Times],
    failed: Mapping[str, str],
) -> JudgedVariant:
    own, original = answers[variant.name], answers[ORIGINAL]
    known = JudgedVariant(variant=variant, verdict="original", reason="", in_search=True)
    if isinstance(own, JudgedAnswers):
        known = msgspec.structs.replace(
            known,
            accuracy=own.figures["accuracy"],
            cohorts=own.cohorts,
            calibration_error=own.figures.get("calibration_error"),
        )
    elif own.startswith(_FAILED):
        reason = own.removeprefix(_FAILED)
        return msgspec.structs.replace(known, verdict="failed", reason=reason, in_search=False)
    if variant.name in failed:
        return msgspec.structs.replace(known, verdict="failed", reason=failed[variant.name], in_search=False)
    made = speed(times[ORIGINAL], times[variant.name]) if variant.name in times else None
    if made is not None:
        known = _with_times(known, made, times[variant.name])
    if variant.name == ORIGINAL:
        return msgspec.structs.replace(known, reason=own if isinstance(own, str) else "")
    if isinstance(own, JudgedAnswers) and isinstance(original, JudgedAnswers):
        known = msgspec.structs.replace(known, difference=difference(original.judgement, own.judgement))
    return _with_verdict(configuration, known, made)


def _with_times(known: JudgedVariant, made: Speed, times: Times) -> JudgedVariant:
    is_original = known.variant.name == ORIGINAL
    return msgspec.structs.replace(
        known,
        times_ns=times,
        speedup=None if is_original else _figure(made.at_one),
        speedup_best=None if is_original else _figure(made.at_best),
        best_batch=made.best_batch,
        one_ms=made.one_ns / NS_PER_MS,
        best_ms=made.best_ns / NS_PER_MS,
    )


def _with_verdict(configuration: Configuration, known: JudgedVariant, made: Speed | None) -> JudgedVariant:
    service = configuration.service
    found = verdict(
        made,
        accuracy=known.accuracy,
        difference=known.difference,
        floor=service.slo.accuracy,
        drop=service.slo.most_drop,
        answers_change=known.variant.answers_change,
        smaller_is_better=service.metric is not None and smaller_is_better(service.metric),
    )
    return msgspec.structs.replace(known, verdict=found.word, reason=found.reason, in_search=found.in_search)


def _figure(ratio: Ratio) -> Figure:
    return Figure(estimate=ratio.estimate, low=ratio.low, high=ratio.high, unit="times")


def _path(configuration: Configuration, store: VariantStore) -> Path:
    """Where judgements are kept: by all that they depend on, but the day."""
    data, slo = configuration.service.data, configuration.service.slo
    digest = (
        "" if why_no_data(configuration) or data is None else sample_digest(data, Path(configuration.root))
    )
    key = canonical_json([_FORMAT, configuration.hash, digest, host.digest(), slo.accuracy, slo.most_drop])
    return store.folder / "judged" / f"{hashlib.sha256(key).hexdigest()}.json"


def keep_judgements(
    configuration: Configuration, store: VariantStore, judged: Sequence[JudgedVariant]
) -> None:
    """Raises: UserError: the store cannot be written."""
    path = _path(configuration, store)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as draft:
            draft.write(msgspec.json.encode(judged))
        Path(draft.name).replace(path)
    except OSError as error:
        raise UserError(f"judgements cannot be kept in {path.parent}: {error.strerror}") from None
