"""Settings of one model that contradict each other."""

from trivet.spec.fields import FieldError, FieldPath, nearest
from trivet.spec.levers import Levers
from trivet.spec.remote import check_remote
from trivet.spec.service import Model
from trivet.spec.sources import check_target

_SUFFIXES = {"onnxruntime": (".onnx", ".ort"), "openvino": (".onnx", ".xml")}


def check_model(model: Model, path: FieldPath) -> None:
    if model.engine == "python" and model.file is not None:
        raise FieldError((*path, "engine"), "engine python runs `python: file.py:attribute`, not `file:`")
    if model.engine not in ("python", "remote") and model.python is not None:
        raise FieldError((*path, "engine"), f"engine {model.engine} runs a model `file:`, not `python:`")
    if (model.engine == "remote") != (model.remote is not None):
        raise FieldError((*path, "engine"), "engine remote and `remote:` belong together")
    if model.remote is not None:
        check_remote(model.remote, (*path, "remote"))
    elif model.python is not None:
        check_target(model.python, (*path, "python"))
    elif not model.source.endswith(_SUFFIXES[model.engine]):
        suffixes = " or ".join(_SUFFIXES[model.engine])
        raise FieldError(
            (*path, "file"), f"engine {model.engine} runs {suffixes} files, got {model.source!r}"
        )
    if model.engine != "onnxruntime" and model.providers != ("cpu",):
        raise FieldError(
            (*path, "providers"), f"providers belong to engine onnxruntime, not to {model.engine}"
        )
    if not model.providers or len(set(model.providers)) < len(model.providers):
        raise FieldError((*path, "providers"), "name each provider once, and at least one")
    _check_levers(model, (*path, "levers"))
    _check_batching(model, path)


def _check_levers(model: Model, path: FieldPath) -> None:
    levers, defaults = model.levers, Levers()
    if model.remote is not None and (levers.execution, levers.threads) != ("auto", "auto"):
        lever = "execution" if levers.execution != "auto" else "threads"
        raise FieldError((*path, lever), "a remote model runs on no core of this host; leave it out")
    native = model.engine != "python"
    if native and levers.execution == "process":
        raise FieldError(
            (*path, "execution"), "a process of its own is for Python code; use inline or thread"
        )
    if not native and levers.execution == "thread":
        raise FieldError((*path, "execution"), "Python code holds the GIL in a thread; use inline or process")
    if model.engine != "onnxruntime":
        for lever in ("graph_optimization", "spinning"):
            if getattr(levers, lever) != getattr(defaults, lever):
                raise FieldError(
                    (*path, lever), f"{lever} belongs to engine onnxruntime, not to {model.engine}"
                )
    if levers.execution == "inline" and levers.instances not in ("auto", 1):
        raise FieldError((*path, "instances"), "inline runs one batch at a time: one instance")


def _check_batching(model: Model, path: FieldPath) -> None:
    if model.batching == "on" and model.batch_axis is False:
        raise FieldError(
            (*path, "batching"), "batching is on, but `batch_axis: false` says that rows cannot be stacked"
        )
    off = (
        "batching is off"
        if model.batching == "off"
        else "there is no batch axis"
        if not model.batch_axis
        else ""
    )
    if off and model.levers.deferral_ns:
        raise FieldError((*path, "levers", "deferral"), f"{off}: there is nothing to wait for")
    if off and model.ragged:
        raise FieldError((*path, "ragged"), f"{off}: nothing is ever padded")
    if model.levers.max_batch_size == 1 and model.batching == "on":
        raise FieldError((*path, "batching"), "batching is on, but max_batch_size is 1")
    for output, cut in model.cut.items():
        if cut.like not in model.ragged:
            hint = nearest(cut.like, model.ragged)
            raise FieldError((*path, "cut", output), f"{cut.like!r} is not declared under ragged{hint}")
