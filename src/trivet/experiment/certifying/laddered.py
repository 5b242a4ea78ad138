"""Variants of a model before the model itself: a service and what was built of it become a cascade to certify.

What is written is a service file like any other: the variants' files are copied beside it, for their store may be emptied.
"""

import contextlib
import hashlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from numpy.typing import NDArray

from trivet.errors import UserError
from trivet.experiment.model_rows import sources_of
from trivet.spec.configuration import Configuration
from trivet.spec.exit import Exit
from trivet.spec.fields import nearest
from trivet.spec.levers import Levers
from trivet.spec.service import Model, Service, Stage
from trivet.spec.service_file import load_configuration, load_service
from trivet.spec.validation import validate
from trivet.spec.yaml_text import service_yaml
from trivet.variants.build import load_variant
from trivet.variants.learned.answers import answers_of
from trivet.variants.learned.outputs import outputs_of
from trivet.variants.source import Source
from trivet.variants.store import VariantStore
from trivet.variants.variant import Variant

FILE_NAME = "cascade.yaml"
FILES_FOLDER = "cascade-files"
_ROWS = 64  # that show which output has the scores of classes, and of what kind they are


def write_ladder(service_file: Path, names: Sequence[str], max_loss: float, store: VariantStore) -> Path:
    """Write `cascade.yaml` beside a service: its pipeline, with variants of the last model before it, each with an exit.

    Args: names: of variants, the cheapest first.  max_loss: that all exits may have together.
    Returns: the path; `certify` takes it from there.
    Raises: UserError: such a variant was not built, or the model's answers have no scores of classes.
    """
    service = load_service(service_file)
    if any(stage.exit is not None for stage in service.pipeline) or service.route is not None:
        raise UserError(
            f"{service_file} has exits or a route already: run `trivet certify {service_file.name}` alone, or leave them out"
        )
    base = load_configuration(service_file)
    place = service.last_model
    model = service.pipeline[place].model or ""
    variants = [_chosen(base, model, name, store) for name in names]
    rule = _exit_rule(base, model, max_loss)
    models: dict[str, Model] = {}
    for variant in variants:
        copied = _copied(variant, store, service_file.parent)
        # Its levers are found anew: those of the model were chosen for a model of another size.
        models[_free_name(variant.name, service)] = msgspec.structs.replace(
            service.models[model], file=copied, engine=variant.engine, levers=Levers()
        )
    early = tuple(Stage(model=name, inputs=service.pipeline[place].inputs, exit=rule) for name in models)
    laddered = msgspec.structs.replace(
        service,
        models={**models, **service.models},
        pipeline=(*service.pipeline[:place], *early, *service.pipeline[place:]),
        variants={},
        tune=None,
    )
    validate(laddered)
    path = service_file.with_name(FILE_NAME)
    path.write_text(
        f"# {' and '.join(names)} before {model}, from {service_file.name}; written by trivet certify\n"
        + service_yaml(laddered)
    )
    return path


@contextlib.contextmanager
def ladder(service_file: Path, names: Sequence[str], max_loss: float, store: VariantStore) -> Iterator[Path]:
    """As `write_ladder`, for whoever certifies it: where that fails, what stood there before is back."""
    path = service_file.with_name(FILE_NAME)
    before = path.read_text() if path.is_file() else None
    try:
        yield write_ladder(service_file, names, max_loss, store)
    except BaseException:
        path.unlink(missing_ok=True)
        if before is not None:
            path.write_text(before)
        raise


def _chosen(base: Configuration, model: str, name: str, store: VariantStore) -> Variant:
    file = base.service.models[model].file
    if file is None:
        raise UserError(
            f"model {model!r} is not a model file: nothing is built of it that could stand before it"
        )
    digest = _sha256(base.model_path(model))
    built = {one.name: one for one in store.family(digest) if isinstance(one, Variant)}
    found = built.get(name)
    if found is None:
        known = f"there are {', '.join(built)}" if built else "nothing was built of it yet"
        raise UserError(
            f"no variant {name!r} of model {model!r} in {store.folder}: {known}{nearest(name, built)}; `trivet variants` "
            "builds them"
        )
    if found.stages is not None:
        raise UserError(f"variant {name!r} is an exit by itself, in stages: it cannot stand before the model")
    if any(_sha256(store.path(found, one)) == digest for one in found.files):
        raise UserError(f"the service runs variant {name!r} already: name one that is cheaper")
    return found


def _exit_rule(base: Configuration, model: str, max_loss: float) -> Exit:
    """The exit on the output that has scores of classes, as the model's own answers to rows of the data show."""
    (source,) = (one for one in sources_of(base, max_rows=_ROWS) if one.model == model)
    if not source.rows:
        raise UserError(
            "a cascade is certified on rows: declare `data:` with a `label`, `decode:` and `metric:`"
        )
    targets = outputs_of(source, range(len(source.rows)), _answers(source)).targets
    kinds = {one.name: one.kind for one in targets if one.kind in ("scores", "probabilities")}
    declared = base.service.decode
    wanted = declared.output if declared is not None and declared.output in kinds else next(iter(kinds), None)
    if wanted is None:
        raise UserError(
            f"no output of model {model!r} has scores of classes: how sure its variants are cannot be told; write the "
            "cascade by hand, with models that give some (docs/cascades.md)"
        )
    are_probabilities = kinds[wanted] == "probabilities"
    return Exit(output=wanted, scores="probabilities" if are_probabilities else "logits", max_loss=max_loss)


def _answers(source: Source) -> list[dict[str, NDArray[Any]]]:
    engine = load_variant(source.path, source.declared.engine)
    try:
        return answers_of(engine, source.rows)
    finally:
        engine.close()


def _copied(variant: Variant, store: VariantStore, folder: Path) -> str:
    """The variant's files beside the service file; its model file's name from there."""
    beside = Path(FILES_FOLDER, variant.short_digest)
    for file in variant.files:
        target = folder / beside / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(store.path(variant, file), target)
    return str(beside / variant.files[0])


def _free_name(name: str, service: Service) -> str:
    return name if name not in service.models else f"{name}-variant"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
