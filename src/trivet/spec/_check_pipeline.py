"""The pipeline of a service: what its stages refer to, their order, and where their tensors are declared."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from trivet.spec._check_failures import check_failures
from trivet.spec.fields import FieldError, FieldPath, nearest
from trivet.spec.service import Service, Stage
from trivet.spec.signature import TensorSpec
from trivet.spec.sources import check_target
from trivet.spec.taking import check_taken


def check_pipeline(service: Service) -> None:
    if not service.pipeline:
        names = ", ".join(service.models)
        raise FieldError(("pipeline",), f"with several models ({names}), the pipeline says which runs when")
    used = set()
    for index, stage in enumerate(service.pipeline):
        path: FieldPath = ("pipeline", index)
        if stage.features is not None:
            _check_features(stage, path)
            continue
        if stage.model is None:
            check_target(stage.target, (*path, stage.kind))
            continue
        used.add(stage.model)
        if stage.model not in service.models:
            hint = nearest(stage.model, service.models)
            raise FieldError((*path, "model"), f"no model named {stage.model!r} under models{hint}")
        if stage.files:
            raise FieldError((*path, "files"), f"files of a model stand under models.{stage.model}.files")
        if stage.execution != "auto":
            raise FieldError(
                (*path, "execution"), f"this lever stands under models.{stage.model}.levers.execution"
            )
    for index, stage in enumerate(service.pipeline):
        if stage.failures is not None:
            check_failures(service, index, stage.failures)
    for name in service.models:
        if name not in used and name not in service.stand_ins:
            raise FieldError(("models", name), f"no stage of the pipeline uses the model {name!r}")
    _check_order(service.pipeline)
    _check_exits(service)


def _check_features(stage: Stage, path: FieldPath) -> None:
    for key, default in (("inputs", None), ("outputs", None), ("files", ()), ("execution", "auto")):
        if getattr(stage, key) != default:
            raise FieldError(
                (*path, key),
                f"a features stage says under `features:` what it takes and gives; leave {key} out",
            )


def _check_exits(service: Service) -> None:
    for index, stage in enumerate(service.pipeline):
        if stage.exit is None:
            continue
        if stage.model is None:
            raise FieldError(("pipeline", index, "exit"), "an exit stands behind a model, not behind a step")
        if index == service.last_model:
            raise FieldError(
                ("pipeline", index, "exit"),
                f"no model follows {stage.model!r}: every row is answered there anyway; leave the exit out",
            )


def _check_order(stages: Sequence[Stage]) -> None:
    for index, (stage, following) in enumerate(pairwise(stages)):
        if stage.kind == "postprocess" and following.kind == "preprocess":
            raise FieldError(
                ("pipeline", index + 1), "a preprocess stage stands before a model, not after postprocess"
            )
    if stages[0].kind == "postprocess":
        raise FieldError(("pipeline", 0), "a postprocess stage stands after a model")
    if stages[-1].kind in ("preprocess", "features"):
        message = f"a {stages[-1].kind} stage stands before a model"
        raise FieldError(("pipeline", len(stages) - 1), message)


def _is_code(service: Service, stage: Stage) -> bool:
    return stage.model is None or service.models[stage.model].engine == "python"


def check_signature_places(service: Service) -> None:
    """Each signature is said in one place: the model file, the top of the file, or a stage in between."""
    first, last = service.pipeline[0], service.pipeline[-1]
    for key, stage, specs in (("inputs", first, service.inputs), ("outputs", last, service.outputs)):
        if specs is not None and not _is_code(service, stage):
            raise FieldError((key,), f"the model file of {stage.target!r} has its own {key}; leave them out")
    if first.inputs is not None:
        raise FieldError(("pipeline", 0, "inputs"), "the first stage's inputs stand at the top of the file")
    if last.outputs is not None:
        where: FieldPath = ("pipeline", len(service.pipeline) - 1, "outputs")
        raise FieldError(where, "the last stage's outputs stand at the top of the file")
    for index, stage in enumerate(service.pipeline):
        declared = isinstance(stage.inputs, tuple)
        if not _is_code(service, stage) and (declared or stage.outputs is not None):
            key = "inputs" if declared else "outputs"
            raise FieldError(
                ("pipeline", index, key), f"the model file of {stage.target!r} has its own {key}"
            )
        if stage.inputs is not None and not stage.inputs:
            raise FieldError(
                ("pipeline", index, "inputs"), "inputs is empty; leave it out or name the tensors"
            )
    _check_sources(service)
    for path, specs in _declared(service):
        names = [spec.name for spec in specs]
        if not names:
            raise FieldError(path, f"{path[-1]} is empty; leave it out or name the tensors")
        for index, name in enumerate(names):
            if name in names[:index]:
                raise FieldError((*path, index), f"tensor {name!r} is declared twice")


def _declared(service: Service) -> Iterator[tuple[FieldPath, tuple[TensorSpec, ...]]]:
    for key in ("inputs", "outputs"):
        if (specs := getattr(service, key)) is not None:
            yield (key,), specs
        for index, stage in enumerate(service.pipeline):
            if isinstance(specs := getattr(stage, key), tuple):
                yield ("pipeline", index, key), specs


def _check_sources(service: Service) -> None:
    """Inputs that no earlier stage gives, as far as the file itself tells what they give."""
    given: set[str] = {spec.name for spec in service.inputs or ()}
    known = service.inputs is not None
    for index, stage in enumerate(service.pipeline):
        if known:
            check_taken(stage, index, given)
        if stage.features is not None:
            given |= stage.features.tensors.keys()
            continue
        known = known and stage.outputs is not None
        given |= {spec.name for spec in stage.outputs or ()}
