"""What hidden units do on real rows: their means and how they vary together, where a layer reads them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivet.variants.learned.chains import Chain, Use
from trivet.variants.learned.onnx_model import OnnxModel
from trivet.variants.learned.reading import Arrays

Doubles = NDArray[np.float64]

_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class Activity:
    """Of the values that a layer reads. mean: shape (values,); covariance: shape (values, values)."""

    mean: Doubles
    covariance: Doubles


def activities(model: OnnxModel, chains: Sequence[Chain], rows: Sequence[Arrays]) -> dict[int, Activity]:
    """By the place of the layer that reads them. Raises: onnxruntime's errors: rows that do not fit the model."""
    import onnxruntime as ort

    uses = [use for chain in chains for use in chain.uses]
    names = list(dict.fromkeys(use.given for use in uses))
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(model.with_outputs(names), options, providers=["CPUExecutionProvider"])
    wanted = [value.name for value in session.get_inputs()]
    sums: dict[int, tuple[float, Doubles, Doubles]] = {}
    for row in rows:
        seen = dict(zip(names, session.run(names, {name: row[name] for name in wanted}), strict=True))
        for use in uses:
            values = _as_rows(seen[use.given], use)
            count, total, products = sums.get(use.node, (0.0, np.zeros(1), np.zeros(1)))
            sums[use.node] = count + len(values), total + values.sum(axis=0), products + values.T @ values
    return {node: _activity(*found) for node, found in sums.items()}


def _as_rows(values: NDArray[Any], use: Use) -> Doubles:
    """Shape (places, values read at each)."""
    if use.where == "channel":
        values = np.moveaxis(values, 1, -1)
    return values.reshape(-1, values.shape[-1]).astype(np.float64)


def _activity(count: float, total: Doubles, products: Doubles) -> Activity:
    mean = total / count
    return Activity(mean, products / count - np.outer(mean, mean))


def importance(chain: Chain, model: OnnxModel, seen: dict[int, Activity]) -> Doubles:
    """How much each unit moves the layers that read it, shape (size,): its deviation times the norm of its weights.

    Zero: it never changes on these rows, or nothing listens; then the layer's bias can do its work.
    """
    squares = np.zeros(chain.size)
    for use in chain.uses:
        variance = np.maximum(np.diag(seen[use.node].covariance), 0)
        mean = seen[use.node].mean
        variance = np.where(
            variance > _ROUNDING * mean * mean, variance, 0
        )  # what is left of a difference of squares
        weight = np.moveaxis(model.constants[use.weight.constant].astype(np.float64), use.weight.axis, 0)
        moved = variance * (weight.reshape(len(weight), -1) ** 2).sum(axis=1)
        squares += moved.reshape(chain.size, use.weight.repeat).sum(axis=1)
    result: Doubles = np.sqrt(squares)
    return result


def places(units: NDArray[np.intp], repeat: int) -> NDArray[np.intp]:
    """Where units lie along an axis that holds each `repeat` times in a row."""
    return (units[:, None] * repeat + np.arange(repeat)).reshape(-1)
