"""What spans several fields of a service: references, and settings that contradict each other.

Each check raises FieldError with the path of the setting to change.
"""

from trivet.spec._check_model import check_model
from trivet.spec._check_pipeline import check_pipeline, check_signature_places
from trivet.spec.cache import Cache
from trivet.spec.fields import FieldError, FieldPath, close, nearest
from trivet.spec.service import DECODERS, METRICS, Data, Model, Service
from trivet.spec.signature import Signature, TensorSpec
from trivet.spec.sources import is_target
from trivet.spec.units import format_duration
from trivet.spec.variants import check_variants

_MAX_NAME = 200
_MOST_SHARED = (
    0.5  # what is promised to every class cannot be given to whoever is most urgent (schedule/shares.py)
)
_BOUNDED_METRICS = {"accuracy": (0, 1), "f1": (0, 1), "auc": (0, 1), "cosine": (-1, 1)}


def validate(service: Service) -> None:
    """Check a service as a whole.

    Raises: FieldError: the first contradiction, unknown name or missing part.
    """
    _check_name(service.name, ("name",))
    if not service.models:
        raise FieldError(("models",), "a service needs at least one model")
    for name, model in service.models.items():
        _check_name(name, ("models", name))
        check_model(model, ("models", name))
    check_pipeline(service)
    check_signature_places(service)
    _check_promises(service)
    _check_judging(service)
    check_variants(service.variants)
    if service.cache is not None:
        _check_cache(service.cache, service)


def check_signature(name: str, model: Model, signature: Signature) -> None:
    """Check what is declared about a model against what its engine found in it.

    Raises: FieldError: an unknown input or output, an axis that it does not have, or batching without a
        batch axis.
    """
    path: FieldPath = ("models", name)
    inputs = {spec.name: spec for spec in signature.inputs}
    outputs = {spec.name: spec for spec in signature.outputs}
    for tensor, ragged in model.ragged.items():
        _check_axis(inputs, tensor, ragged.axis, "input", (*path, "ragged", tensor))
    for tensor, cut in model.cut.items():
        _check_axis(outputs, tensor, cut.axis, "output", (*path, "cut", tensor))
    if model.batching == "on" and not signature.batch_axis and model.batch_axis is not True:
        raise FieldError(
            (*path, "batching"), "batching is on, but the model has no batch axis; declare `batch_axis: true`"
        )


def _check_axis(specs: dict[str, TensorSpec], name: str, axis: int, kind: str, path: FieldPath) -> None:
    if name not in specs:
        raise FieldError(path, f"the model has no {kind} {name!r}{nearest(name, specs)}")
    shape = specs[name].shape
    if axis >= len(shape):
        raise FieldError(path, f"{kind} {name!r} has {len(shape)} axes (shape {list(shape)}): no axis {axis}")
    if shape[axis] >= 0:
        raise FieldError(
            path, f"axis {axis} of {kind} {name!r} is always {shape[axis]} long: nothing to pad or cut"
        )


def _check_name(name: str, path: FieldPath) -> None:
    if name.startswith(".") or "/" in name or "\\" in name or not name.isprintable() or len(name) > _MAX_NAME:
        raise FieldError(
            path,
            f"{name!r} cannot be a name: printable, no slash, no dot first, at most {_MAX_NAME} characters",
        )


def _check_promises(service: Service) -> None:
    slo, priorities = service.slo, service.priorities
    if slo.latency_ns == 0:
        raise FieldError(("slo", "latency"), "no request is answered in 0 ms")
    if slo.deadline_ns != "auto":
        deadline = format_duration(slo.deadline_ns)
        if slo.deadline_ns < (slo.latency_ns or 1):
            latency = format_duration(slo.latency_ns or 0)
            raise FieldError(
                ("slo", "deadline"), f"the deadline {deadline} is shorter than the latency {latency}"
            )
        for name, model in service.models.items():
            for key, value in (("deferral", model.levers.deferral_ns), ("queue", model.levers.queue_ns)):
                if value != "auto" and value >= slo.deadline_ns:
                    path = ("models", name, "levers", key)
                    message = f"{key} {format_duration(value)} leaves nothing of the deadline {deadline}"
                    raise FieldError(path, message)
    if priorities.default > priorities.levels:
        message = f"default {priorities.default} is not one of the {priorities.levels} levels"
        raise FieldError(("priorities", "default"), message)
    if priorities.min_share * priorities.levels > _MOST_SHARED:
        share = priorities.min_share
        message = f"{priorities.levels} classes cannot each keep a share of {share:g}; at most {_MOST_SHARED:g} together"
        raise FieldError(("priorities", "min_share"), message)


def _check_judging(service: Service) -> None:
    metric, decode, accuracy = service.metric, service.decode, service.slo.accuracy
    if metric is not None:
        _check_word(metric, METRICS, ("metric",))
    if decode is not None:
        _check_word(decode.by, DECODERS, ("decode",))
        if decode.by != "threshold" and decode.threshold != 0.5:
            raise FieldError(
                ("decode", "threshold"), f"a threshold belongs to `by: threshold`, not to {decode.by}"
            )
    if service.data is not None:
        _check_data(service.data, service.inputs)
    if accuracy is None:
        return
    if service.data is None or metric is None:
        missing = "data" if service.data is None else "metric"
        raise FieldError(
            ("slo", "accuracy"), f"an accuracy can be held only where it is measured; add `{missing}:`"
        )
    low, high = _BOUNDED_METRICS.get(metric, (float("-inf"), float("inf")))
    if not low <= accuracy <= high:
        raise FieldError(("slo", "accuracy"), f"{metric} lies between {low} and {high}, got {accuracy:g}")


def _check_cache(cache: Cache, service: Service) -> None:
    if cache.exact is None and not cache.stages:
        raise FieldError(("cache",), "nothing is remembered: add `exact: {}` for whole answers, or `stages:`")
    if cache.exact is not None and cache.exact.ttl_ns == 0:
        raise FieldError(
            ("cache", "exact", "ttl"), "an answer that is old at once is never given again; leave it out"
        )
    known = [stage.target for stage in service.pipeline]
    for index, name in enumerate(cache.stages):
        path: FieldPath = ("cache", "stages", index)
        if name not in known:
            raise FieldError(path, f"no stage of the pipeline is called {name!r}{nearest(name, known)}")
        if name in cache.stages[:index]:
            raise FieldError(path, f"stage {name!r} is named twice")


def _check_data(data: Data, inputs: tuple[TensorSpec, ...] | None) -> None:
    for name, columns in data.columns.items():
        if inputs is not None and name not in {spec.name for spec in inputs}:
            hint = nearest(name, [spec.name for spec in inputs])
            raise FieldError(("data", "columns", name), f"the service has no input {name!r}{hint}")
        if data.label is not None and data.label in ((columns,) if isinstance(columns, str) else columns):
            message = f"column {data.label!r} is the label and cannot also feed the input {name!r}"
            raise FieldError(("data", "columns", name), message)


def _check_word(word: str, known: tuple[str, ...], path: FieldPath) -> None:
    if word not in known and not is_target(word):
        raise FieldError(
            path,
            f"{path[-1]} {word!r} is neither {', '.join(known)} nor module:function{close(word, known)}",
        )
