"""The profile of one model, and its inputs as rows of data bring them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from trivet.engine.contract import Engine
from trivet.errors import BadRequestError, EngineError, SpecError
from trivet.runtime.conversion import as_arrays
from trivet.runtime.preparing import profile as profiles
from trivet.runtime.preparing.batch_check import check_batching
from trivet.runtime.preparing.engines import wanted_batch_size
from trivet.runtime.preparing.profile import Batching, Profile
from trivet.runtime.preparing.profile_inputs import ProfileInputs
from trivet.spec.service import Model
from trivet.spec.signature import Signature

Arrays = Mapping[str, NDArray[Any]]
_ACCEPTING_NS = 500_000_000


def profile_model(
    engine: Engine, signature: Signature, model: Model, inputs: ProfileInputs, now_ns: Callable[[], int]
) -> Profile:
    """Measure service times, and check whether batched answers are the same as single ones.

    Raises: EngineError: the model fails on a batch of one.
    """
    max_batch_size = wanted_batch_size(model) if signature.batch_axis else 1
    by_length = profiles.measure(engine, inputs.batches, max_batch_size, now_ns)
    if max_batch_size == 1:
        return Profile(by_length, Batching(True, 0.0), inputs.told)
    check = check_batching(engine, signature, model, inputs.singles[:max_batch_size])
    return Profile(by_length, Batching(check.same, check.absolute, str(check)), inputs.told)


def single_rows(rows: Sequence[Arrays], name: str, signature: Signature) -> list[dict[str, NDArray[Any]]]:
    """Requests of one row each from what the data brings a model; a row of data may be several rows of it.

    Raises: SpecError: what the data brings does not fit the model.
    """
    singles = []
    for row in rows:
        try:
            arrays = as_arrays(row, name, signature)
        except EngineError as error:
            raise SpecError(f"a row of the data does not fit: {error}") from None
        if not signature.batch_axis:
            singles.append(arrays)
            continue
        num_rows = min([len(array) for array in arrays.values()])
        singles += [
            {key: array[place : place + 1] for key, array in arrays.items()} for place in range(num_rows)
        ]
    return singles


def accepted_rows(
    rows: Sequence[dict[str, NDArray[Any]]], engine: Engine, name: str, now_ns: Callable[[], int]
) -> list[dict[str, NDArray[Any]]]:
    """The rows that the code does not call bad, as far as half a second goes.

    Raises: SpecError: it refuses them all, or fails on one.
    """
    end_ns = now_ns() + _ACCEPTING_NS
    accepted = []
    first_error: BadRequestError | None = None
    for row in rows:
        try:
            engine.run(row)
        except BadRequestError as error:
            first_error = first_error or error
        except EngineError as error:
            raise SpecError(f"{name!r} fails on a row of the data: {error}") from None
        else:
            accepted.append(row)
        if accepted and now_ns() > end_ns:
            break
    if not accepted:
        raise SpecError(f"{name!r} refuses every row of the data: {first_error}")
    return accepted
