"""What may stand in for the last model: whether it is there, and in an order that makes sense."""

from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec

from trivet.spec.degrade import Degrade, Rung
from trivet.spec.fields import FieldError, FieldPath, nearest

if TYPE_CHECKING:
    from trivet.spec.service import Model, Service


def with_rung_files(service: "Service") -> tuple["dict[str, Model]", Degrade] | None:
    """The models and the ladder where each file of a variant is a model like the last one; None: there is no such file."""
    degrade, last = service.degrade, _last_model(service)
    if degrade is None or last is None or all(rung.file is None for rung in degrade.to):
        return None
    models, rungs = dict(service.models), []
    for place, rung in enumerate(degrade.to):
        if rung.file is None:
            rungs.append(rung)
            continue
        name = rung.file.rpartition("/")[2].rpartition(".")[0] or rung.file
        if name in models:
            message = (
                f"the file would be called {name!r}, and there is such a model; name it with `model: {name}`"
            )
            raise FieldError(("degrade", "to", place, "file"), message)
        models[name] = _like(last, rung.file)
        rungs.append(Rung(model=name, loss=rung.loss, inputs=rung.inputs))
    return models, msgspec.structs.replace(degrade, to=tuple(rungs))


def check_degrade(service: "Service") -> None:
    """Raises: FieldError: no such model, one that is used already, or a ladder out of order."""
    degrade = service.degrade
    if degrade is None:
        return
    if service.pipeline and service.last_model < 0:
        raise FieldError(("degrade",), "the pipeline has no model that another could stand in for")
    used = {stage.model for stage in service.pipeline}
    for place, name in enumerate(degrade.names):
        path: FieldPath = ("degrade", "to", place, "model")
        if name not in service.models:
            raise FieldError(path, f"no model named {name!r} under models{nearest(name, service.models)}")
        if name in used:
            raise FieldError(
                path, f"{name!r} is a stage of the pipeline; to stand in it needs a name of its own"
            )
        if name in degrade.names[:place]:
            raise FieldError(path, f"{name!r} is named twice")
    for place, (better, worse) in enumerate(pairwise(degrade.to)):
        if worse.share < better.share:
            message = (
                f"{worse.model!r} loses less than {better.model!r} before it: the most accurate comes first"
            )
            raise FieldError(("degrade", "to", place + 1), message)


def _last_model(service: "Service") -> "Model | None":
    place = service.last_model
    return None if place < 0 else service.models.get(service.pipeline[place].model or "")


def _like(model: "Model", file: str) -> "Model":
    engine = "openvino" if file.endswith(".xml") else model.engine if model.file else "onnxruntime"
    return msgspec.structs.replace(model, file=file, python=None, engine=engine)
