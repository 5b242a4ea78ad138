"""Steps of a pipeline at load: how long they take on real data, and the signature of one in its own process."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivet.errors import RequestError, SpecError
from trivet.runtime.preparing import profile as profiles
from trivet.runtime.preparing.profile_inputs import told_rows
from trivet.runtime.preparing.resolving import StepProfile, step_profile_path
from trivet.runtime.preparing.samples import Samples
from trivet.runtime.steps import Step
from trivet.spec.configuration import Configuration
from trivet.spec.dtypes import NUMPY_OF_DATATYPE
from trivet.spec.fields import FieldError
from trivet.spec.service import Service
from trivet.spec.signature import VARIABLE, Signature, TensorSpec

_BUDGET_NS = 500_000_000
_DATATYPE_OF_NUMPY = {
    np.dtype(kind): datatype for datatype, kind in NUMPY_OF_DATATYPE.items() if datatype != "BF16"
}


def declared_signature(
    service: Service,
    index: int,
    given: tuple[TensorSpec, ...] | None,
    observed: tuple[TensorSpec, ...] | None,
) -> Signature | None:
    """The signature of Python code as the service file tells it; None: the code's own attributes do.

    Args: given: what the stages before it give, where nothing is declared.  observed: the same of its outputs.
    """
    stage, last = service.pipeline[index], len(service.pipeline) - 1
    inputs = service.inputs if index == 0 else stage.inputs if isinstance(stage.inputs, tuple) else given
    outputs = (service.outputs if index == last else stage.outputs) or observed
    if inputs is None or outputs is None:
        return None
    batch_axis = stage.model is not None and all(
        spec.shape[:1] == (VARIABLE,) for spec in (*inputs, *outputs)
    )
    return Signature(inputs, outputs, batch_axis)


def check_ends(service: Service, index: int, signature: Signature) -> None:
    """Check what the top of the service file says against what the code at that end says of itself.

    Raises: FieldError: requests would bring other tensors than the code takes, or answers lack one that is promised.
    """
    declared, found = service.inputs, signature.inputs
    if index == 0 and declared is not None and _kinds(declared) != _kinds(found):
        raise FieldError(("inputs",), f"{_kinds(declared)} here, but the code takes {_kinds(found)}")
    given = _kinds(signature.outputs)
    if index == len(service.pipeline) - 1:
        for kind in _kinds(service.outputs or ()):
            if kind not in given:
                raise FieldError(("outputs",), f"the code does not give {kind}; it gives {given}")


def _kinds(specs: Sequence[TensorSpec]) -> list[str]:
    return [f"{spec.name} {spec.datatype}" for spec in specs]


def profile_step(
    configuration: Configuration,
    index: int,
    samples: Samples,
    takes: Mapping[str, str] | None,
    call: Step,
    now_ns: Callable[[], int],
    say: Callable[[str], None],
) -> StepProfile:
    """The kept profile of a step in the loop, or a new one from rows of data.

    Raises: SpecError: it fails on every row, or gives what is no tensor.
    """
    path = step_profile_path(configuration, index, samples.digest)
    profile = profiles.read(path, StepProfile)
    if profile is None:
        name = configuration.service.pipeline[index].target
        rows = samples.inputs(takes)
        say(f"profiling step {name} on {told_rows(len(rows))}")
        profile = _measure(name, call, rows, now_ns)
        profiles.write(path, profile)
    return profile


def _measure(
    name: str, call: Step, rows: list[Mapping[str, NDArray[Any]]], now_ns: Callable[[], int]
) -> StepProfile:
    end_ns = now_ns() + _BUDGET_NS
    times: list[int] = []
    outputs: tuple[TensorSpec, ...] = ()
    first_error: Exception | None = None
    for row in [rows[0], *rows]:  # the first call may import, compile, read files: it is not like the others
        started_ns = now_ns()
        try:
            result = call(dict(row))
        except Exception as error:
            if not isinstance(error, RequestError):
                raise SpecError(
                    f"step {name!r} fails on a row of the data: {type(error).__name__}: {error}"
                ) from error
            first_error = first_error or error  # real data has rows that are refused
            continue
        times.append(now_ns() - started_ns)
        outputs = outputs or _observed(name, result)
        if now_ns() > end_ns:
            break
    if not times:
        raise SpecError(f"step {name!r} refuses every row of the data: {first_error}")
    kept = times[1:] or times
    return StepProfile(kept, outputs, told_rows(len(kept)))


def _observed(name: str, result: Any) -> tuple[TensorSpec, ...]:
    """The tensors that a step gave, every size free."""
    if not isinstance(result, Mapping):
        raise SpecError(f"step {name!r} gave {type(result).__name__}; expected a dict of name -> array")
    specs = []
    for key, value in result.items():
        array = np.asarray(value)
        kind = array.dtype if array.dtype.kind not in "SU" else np.dtype(object)
        if kind not in _DATATYPE_OF_NUMPY:
            raise SpecError(
                f"step {name!r}: output {key!r} has the type {array.dtype}, which no request knows"
            )
        specs.append(TensorSpec(key, _DATATYPE_OF_NUMPY[kind], (VARIABLE,) * array.ndim))
    return tuple(specs)
