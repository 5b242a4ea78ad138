"""Fallbacks at load: models that answer only where another has failed, and whether they can."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trivet.errors import EngineError
from trivet.runtime.fallbacks import kept_keys
from trivet.spec.dtypes import NUMPY_OF_DATATYPE
from trivet.spec.failures import Fallback
from trivet.spec.fields import FieldError, FieldPath
from trivet.spec.service import Service
from trivet.spec.signature import VARIABLE, Signature, TensorSpec

if TYPE_CHECKING:
    from trivet.runtime.preparing.preparing import PreparedModel
    from trivet.runtime.steps import StepStage

Stages = Sequence["PreparedModel | StepStage"]


def check_fallbacks(service: Service, stages: Stages, stand_ins: "Mapping[str, PreparedModel]") -> None:
    """Raises: FieldError: a fallback gives other tensors than the stage, or takes what that does not."""
    for index, stage in enumerate(service.pipeline):
        if stage.failures is None:
            continue
        failing: PreparedModel = stages[index]  # type: ignore[assignment]  # failures belong to models
        for place, one in enumerate(stage.failures.fallback):
            path: FieldPath = ("pipeline", index, "failures", "fallback", place)
            if one.model is not None:
                _check_model(service, stages, index, one.model, stand_ins.get(one.model), (*path, "model"))
            elif one.answer is not None:
                fixed_rows(one, failing.signature, (*path, "answer"))


def _check_model(
    service: Service,
    stages: Stages,
    index: int,
    name: str,
    stand_in: "PreparedModel | None",
    path: FieldPath,
) -> None:
    failing: PreparedModel = stages[index]  # type: ignore[assignment]  # failures belong to models
    if stand_in is None:
        place = place_of(service, name, index)
        if place is None:
            raise FieldError(path, f"{name!r} stands behind {failing.name!r}: nothing of it is there yet")
        stand_in = stages[place]  # type: ignore[assignment]  # the place of a model
        assert stand_in is not None
    else:
        _check_given(
            stand_in.signature.inputs, failing.signature.inputs, f"{name!r} takes", failing.name, path
        )
        if stand_in.streams != failing.streams:
            raise FieldError(
                path, f"one of {name!r} and {failing.name!r} answers in chunks, the other does not"
            )
    _check_given(failing.signature.outputs, stand_in.signature.outputs, f"{failing.name!r} gives", name, path)
    if stand_in.signature.batch_axis != failing.signature.batch_axis:
        raise FieldError(
            path,
            f"rows share a batch in one of {name!r} and {failing.name!r} only; declare `batch_axis:` of both",
        )


def _check_given(
    wanted: Sequence[TensorSpec], given: Sequence[TensorSpec], who: str, other: str, path: FieldPath
) -> None:
    kinds = {spec.name: spec for spec in given}
    for spec in wanted:
        found = kinds.get(spec.name)
        if found is None or found.datatype != spec.datatype or not _may_equal(found.shape, spec.shape):
            there = (
                "has nothing of that name" if found is None else f"has {found.datatype} {list(found.shape)}"
            )
            raise FieldError(
                path, f"{who} {spec.name!r} {spec.datatype} {list(spec.shape)}; {other!r} {there}"
            )


def _may_equal(shape: Sequence[int], other: Sequence[int]) -> bool:
    return len(shape) == len(other) and all(
        a == b or VARIABLE in (a, b) for a, b in zip(shape, other, strict=True)
    )


def place_of(service: Service, name: str, before: int) -> int | None:
    """The place of the first stage of a model, in front of another stage."""
    return next((i for i, stage in enumerate(service.pipeline[:before]) if stage.model == name), None)


def fixed_rows(fallback: Fallback, signature: Signature, path: FieldPath) -> dict[str, NDArray[Any]]:
    """A fixed answer as one row of each output (without a batch axis: the whole).

    Raises: FieldError: an output is missing or unknown, or its values do not fit.
    """
    values = fallback.answer or {}
    names = [spec.name for spec in signature.outputs]
    if sorted(values) != sorted(names):
        raise FieldError(path, f"the stage gives {', '.join(names)}; the answer has {', '.join(values)}")
    rows: dict[str, NDArray[Any]] = {}
    for spec in signature.outputs:
        shape = spec.shape[1:] if signature.batch_axis else spec.shape
        try:
            rows[spec.name] = _array(spec.datatype, values[spec.name]).reshape(shape)
        except (ValueError, OverflowError, EngineError) as error:
            raise FieldError(
                (*path, spec.name),
                f"{list(values[spec.name])} is no row of {spec.datatype} {list(shape)}: {error}",
            ) from None
    return rows


def _array(datatype: str, values: Sequence[int | float | str | bool]) -> NDArray[Any]:
    if datatype == "BYTES":
        array = np.empty(len(values), object)
        array[:] = [str(value).encode() for value in values]
        return array
    if any(isinstance(value, str) for value in values):
        raise ValueError("it holds text")
    return np.array(values).astype(NUMPY_OF_DATATYPE[datatype], casting="same_kind")


def kept_places(service: Service, stages: Stages) -> dict[int, dict[str, str]]:
    """What requests carry on for fallbacks: place of a model -> its output -> the name that it is carried under."""
    found: dict[int, dict[str, str]] = {}
    for index, stage in enumerate(service.pipeline):
        for one in stage.failures.fallback if stage.failures else ():
            place = None if one.model is None else place_of(service, one.model, index)
            if place is not None and one.model is not None:
                failing: PreparedModel = stages[index]  # type: ignore[assignment]  # as above
                outputs = [spec.name for spec in failing.signature.outputs]
                found.setdefault(place, {}).update(kept_keys(one.model, outputs))
    return found
