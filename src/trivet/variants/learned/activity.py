"""What hidden units do on real rows: their means and how they vary together, where a layer reads them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivet.variants._session import Watched
from trivet.variants.learned.chains import Chain, Use
from trivet.variants.learned.onnx_model import OnnxModel
from trivet.variants.learned.reading import Arrays

Doubles = NDArray[np.float64]

_ROUNDING = 1e-12
_MOST_TOGETHER = 4096  # values of which all products are summed up: 128 MiB


@dataclass(frozen=True, slots=True)
class Activity:
    """Of the values that a layer reads. mean, variance: shape (values,); covariance: shape (values, values), or None where
    that would be too large."""

    mean: Doubles
    variance: Doubles
    covariance: Doubles | None


class _Sums:
    """Of values, of their squares, and of their products."""

    def __init__(self, num_values: int) -> None:
        self._count = 0
        self._values, self._squares = np.zeros(num_values), np.zeros(num_values)
        self._products = np.zeros((num_values, num_values)) if num_values <= _MOST_TOGETHER else None

    def add(self, values: Doubles) -> None:
        """Args: values: shape (places, values)."""
        self._count += len(values)
        self._values += values.sum(axis=0)
        self._squares += (values * values).sum(axis=0)
        if self._products is not None:
            self._products += values.T @ values

    def activity(self) -> Activity:
        mean = self._values / self._count
        variance = np.maximum(self._squares / self._count - mean * mean, 0)
        # What rounding leaves of a difference of squares is no variance.
        variance = np.where(variance > _ROUNDING * mean * mean, variance, 0)
        if self._products is None:
            return Activity(mean, variance, None)
        covariance = self._products / self._count - np.outer(mean, mean)
        still = variance == 0
        covariance[still, :] = 0
        covariance[:, still] = 0
        return Activity(mean, variance, covariance)


def activities(model: OnnxModel, chains: Sequence[Chain], rows: Sequence[Arrays]) -> dict[int, Activity]:
    """By the place of the layer that reads them. Raises: VariantError: the model fails on a row."""
    uses = [use for chain in chains for use in chain.uses]
    watched = Watched(model.proto, list(dict.fromkeys(use.given for use in uses)))
    sums: dict[int, _Sums] = {}
    for row in rows:
        seen = watched.run(row)
        for use in uses:
            values = _as_rows(seen[use.given], use)
            sums.setdefault(use.node, _Sums(values.shape[1])).add(values)
    return {node: found.activity() for node, found in sums.items()}


def _as_rows(values: NDArray[Any], use: Use) -> Doubles:
    """Shape (places, values read at each)."""
    if use.where == "channel":
        values = np.moveaxis(values, 1, -1)
    return values.reshape(-1, values.shape[-1]).astype(np.float64)


def importance(chain: Chain, model: OnnxModel, seen: dict[int, Activity]) -> Doubles:
    """How much each unit moves the layers that read it, shape (size,): its deviation times the norm of its weights.

    Zero: it never changes on these rows, or nothing listens; then the layer's bias can do its work.
    """
    squares = np.zeros(chain.size)
    for use in chain.uses:
        weight = np.moveaxis(model.constants[use.weight.constant].astype(np.float64), use.weight.axis, 0)
        moved = seen[use.node].variance * (weight.reshape(len(weight), -1) ** 2).sum(axis=1)
        squares += moved.reshape(chain.size, use.weight.repeat).sum(axis=1)
    result: Doubles = np.sqrt(squares)
    return result


def places(units: NDArray[np.intp], repeat: int) -> NDArray[np.intp]:
    """Where units lie along an axis that holds each `repeat` times in a row."""
    return (units[:, None] * repeat + np.arange(repeat)).reshape(-1)
