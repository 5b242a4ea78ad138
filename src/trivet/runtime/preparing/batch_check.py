"""Does a model give the same answers whatever shares its batch? Asked once at load, before requests may share one."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivet.engine.contract import Engine, Tensors
from trivet.errors import EngineError
from trivet.judge.equality import AnswerEquality, OutputEquality, compare_answers
from trivet.runtime.batch import BatchBuilder
from trivet.runtime.preparing.profile_inputs import build_batch
from trivet.spec.service import Model
from trivet.spec.signature import Signature


def check_batching(
    engine: Engine, signature: Signature, model: Model, requests: Sequence[Tensors]
) -> AnswerEquality:
    """Compares the rows of one batch of different requests, padded and cut as declared, with their answers alone.

    Args: requests: of one row each, such as may share a batch.
    """
    ragged = {name: (one.axis, float(one.pad)) for name, one in model.ragged.items()}
    try:
        batched = engine.run(build_batch(signature, BatchBuilder(signature, ragged), requests))
    except EngineError as error:
        return _failed("", f"a batch of {len(requests)} fails: {error}")
    alone = [engine.run(request) for request in requests]
    parts = [_part(batched, model, requests, row) for row in range(len(requests))]
    for part, single in zip(parts, alone, strict=True):
        for name, array in single.items():
            if part[name].shape != array.shape:
                return _failed(name, f"shape {list(part[name].shape)} in a batch, {list(array.shape)} alone")
    bf16 = [spec.name for spec in signature.outputs if spec.datatype == "BF16"]
    return compare_answers(_joined(parts), _joined(alone), bf16=bf16)


def _part(
    batched: Mapping[str, NDArray[Any]], model: Model, requests: Sequence[Tensors], row: int
) -> dict[str, NDArray[Any]]:
    """One request's row of the outputs; those of a model that does not keep rows apart stay as they are."""
    part = {}
    for name, array in batched.items():
        part[name] = array[row : row + 1] if array.ndim and len(array) == len(requests) else array
        cut = model.cut.get(name)
        if cut is not None:
            length = requests[row][cut.like].shape[model.ragged[cut.like].axis]
            part[name] = part[name][(slice(None),) * cut.axis + (slice(length),)]
    return part


def _failed(name: str, reason: str) -> AnswerEquality:
    return AnswerEquality((OutputEquality(name, False, float("inf"), float("inf"), reason),))


def _joined(answers: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    return {name: np.concatenate([answer[name].reshape(-1) for answer in answers]) for name in answers[0]}
