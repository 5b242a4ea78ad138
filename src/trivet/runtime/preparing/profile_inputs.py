"""What a profile is measured on: rows of the service's data, else random tensors of declared or usual lengths."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivet.runtime.batch import BatchBuilder
from trivet.runtime.buckets import bucket_of_shapes, free_axes
from trivet.runtime.preparing.engines import wanted_batch_size
from trivet.spec.dtypes import NUMPY_OF_DATATYPE
from trivet.spec.service import Model
from trivet.spec.signature import VARIABLE, Signature, TensorSpec
from trivet.wire.v2_input import InferInput

Arrays = dict[str, NDArray[Any]]

# Sizes of a free dimension that nothing is known about: a short and a long one.
LENGTHS = (16, 64)
# Of the lengths of real rows: a short one, the usual one, a long one, the longest.
_QUANTILES = (0.1, 0.5, 0.9, 1.0)
_NUM_CHECKED = 4  # rows whose batched answers are compared with their single ones


@dataclass(frozen=True, slots=True)
class ProfileInputs:
    """`batches[length](rows)` makes a batch of requests of about that length; length 0 where nothing is free.

    singles: a few different requests that may share a batch.
    """

    told: str
    batches: Mapping[int, Callable[[int], Arrays]]
    singles: Sequence[Arrays]


def random_profile(signature: Signature, model: Model) -> ProfileInputs:
    """Normal floats and small distinct integers; free dimensions have the declared lengths, else 16 and 64."""
    ragged = {(name, one.axis) for name, one in model.ragged.items()}
    free = free_axes(signature, ragged, wanted_batch_size(model))
    lengths = (model.lengths or LENGTHS) if free else (0,)
    # Requests of different lengths share a batch only where each free dimension may be padded.
    padded = bool(free) and all(is_ragged for _, _, is_ragged in free)
    longest = max(lengths)
    singles = [
        random_inputs(signature, 1, max(1, longest - padded * place), seed=1 + place)
        for place in range(_NUM_CHECKED)
    ]
    return ProfileInputs(
        "random inputs" + _told_lengths(lengths, " (declared)" if model.lengths else ""),
        {length: partial(_random_batch, signature, length) for length in lengths},
        singles,
    )


def data_profile(
    signature: Signature, model: Model, rows: Sequence[Mapping[str, NDArray[Any]]]
) -> ProfileInputs:
    """Real requests: batches of neighbours in length, at some quantiles of the lengths.

    Args: rows: inputs of single requests, at least one.
    """
    ragged = {name: (one.axis, float(one.pad)) for name, one in model.ragged.items()}
    max_batch_size = wanted_batch_size(model) if signature.batch_axis else 1
    free = free_axes(signature, {(name, axis) for name, (axis, _) in ragged.items()}, max_batch_size)
    keyed = []
    for row in rows:
        bucket = bucket_of_shapes(free, [row[spec.name].shape for spec in signature.inputs])
        sizes = bucket if isinstance(bucket, tuple) else (bucket or 0,)
        keyed.append((max(sizes), bucket, row))
    keyed.sort(key=lambda one: one[0])
    builder = BatchBuilder(signature, ragged)
    batches: dict[int, Callable[[int], Arrays]] = {}
    group: list[Mapping[str, NDArray[Any]]] = []
    for quantile in _QUANTILES:
        length, bucket, _ = keyed[round(quantile * (len(keyed) - 1))]
        group = [row for _, other, row in keyed if other == bucket]
        batches[length] = partial(_batch_of, signature, builder, group)
    singles = [dict(row) for row in group[:: max(1, len(group) // _NUM_CHECKED)][:_NUM_CHECKED]]
    return ProfileInputs(told_rows(len(rows)) + _told_lengths(batches), batches, singles)


def sample_profile(signature: Signature, model: Model, sample: Mapping[str, NDArray[Any]]) -> ProfileInputs:
    """The same for one request that stands for all."""
    return replace(data_profile(signature, model, [sample]), told="a sample request")


def told_rows(count: int) -> str:
    return f"{count} row{'s' * (count != 1)} of data"


def _told_lengths(lengths: Mapping[int, Any] | Sequence[int], note: str = "") -> str:
    if list(lengths) == [0]:
        return ""
    return f" of length{'s' * (len(lengths) != 1)} {', '.join(map(str, lengths))}{note}"


def _batch_of(
    signature: Signature, builder: BatchBuilder, group: Sequence[Mapping[str, NDArray[Any]]], rows: int
) -> Arrays:
    return build_batch(signature, builder, list(islice(cycle(group), rows)))


def build_batch(
    signature: Signature, builder: BatchBuilder, requests: Sequence[Mapping[str, NDArray[Any]]]
) -> Arrays:
    """The batch of requests of one row each, as it is built when they are served."""
    inputs = [
        [
            InferInput(request[spec.name].shape, np.ascontiguousarray(request[spec.name]))
            for spec in signature.inputs
        ]
        for request in requests
    ]
    return builder.build(inputs, len(requests))


def _random_batch(signature: Signature, length: int, rows: int) -> Arrays:
    return random_inputs(signature, rows, length or 1, seed=rows)


def random_inputs(signature: Signature, rows: int, length: int, seed: int) -> Arrays:
    """Inputs for a profile: normal floats, small distinct integers; free dimensions are `length`."""
    generator = np.random.default_rng(seed)
    return {
        spec.name: _random(spec, signature.batch_axis, rows, length, generator) for spec in signature.inputs
    }


def _random(
    spec: TensorSpec, batch_axis: bool, rows: int, length: int, generator: np.random.Generator
) -> NDArray[Any]:
    shape = [length if dim == VARIABLE else dim for dim in spec.shape]
    if batch_axis:
        shape[0] = rows
    size = int(np.prod(shape))
    match spec.datatype:
        case "BYTES":
            values: NDArray[Any] = np.array([b"profile"] * size, object)
        case "BOOL":
            values = np.ones(size, np.bool_)
        case "FP16" | "FP32" | "FP64":
            values = generator.normal(size=size)
        case "BF16":
            values = (generator.normal(size=size).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
        case _:
            values = 1 + np.arange(size) % 100
    return values.astype(NUMPY_OF_DATATYPE[spec.datatype]).reshape(shape)
