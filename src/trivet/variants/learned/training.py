"""Fits a network to what the model answered: mini-batches, Adam, and an end when held-out rows get no better.

The same rows, options and seed give the same bytes: one thread, a fixed order, and no clock.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from trivet.variants.learned._packages import threadpools
from trivet.variants.learned.network import Examples, Floats, Gradient, Network, forward, gradient
from trivet.variants.learned.targets import Target

_FIRST, _SECOND, _TINY = 0.9, 0.999, 1e-8  # Kingma & Ba (2015)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """epochs: at most.  patience: epochs without a gain before the end.  dropout: share of the inputs of the first layer
    that are left out of a step."""

    epochs: int = 60
    patience: int = 8
    batch: int = 64
    rate: float = 0.01
    dropout: float = 0.1
    temperature: float = 2.0
    label_share: float = 0.3


@dataclass(slots=True)
class Adam:
    """Moving means of gradients and of their squares; those of the table only where a batch has its rows."""

    network: Network
    _moments: list[tuple[Floats, Floats]] = field(init=False)
    _of_table: tuple[Floats, Floats] | None = field(init=False)
    _steps: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._moments = [(np.zeros_like(array), np.zeros_like(array)) for array in self.network.dense()]
        table = self.network.table
        self._of_table = None if table is None else (np.zeros_like(table), np.zeros_like(table))

    def step(self, found: Gradient, rate: float) -> None:
        self._steps += 1
        rate *= np.sqrt(1 - _SECOND**self._steps) / (1 - _FIRST**self._steps)
        parts = zip(self.network.dense(), found.dense, self._moments, strict=True)
        for array, slope, (first, second) in parts:
            first[:] += (1 - _FIRST) * (slope - first)
            second[:] += (1 - _SECOND) * (slope * slope - second)
            array[:] -= np.float32(rate) * first / (np.sqrt(second) + _TINY)
        if self._of_table is not None and self.network.table is not None:
            rows, (first, second) = found.rows, self._of_table
            first[rows] += (1 - _FIRST) * (found.table - first[rows])
            second[rows] += (1 - _SECOND) * (found.table * found.table - second[rows])
            self.network.table[rows] -= np.float32(rate) * first[rows] / (np.sqrt(second[rows]) + _TINY)


@dataclass(frozen=True, slots=True)
class Fitted:
    """loss: of the rows that were held out; epochs: after which they were answered best."""

    network: Network
    loss: float
    epochs: int


def fit(
    network: Network,
    examples: Examples,
    targets: Sequence[Target],
    learn: NDArray[np.intp],
    watch: NDArray[np.intp],
    schedule: Schedule,
    random: np.random.Generator,
    on_epoch: Callable[[int, float], None],
) -> Fitted:
    """The network with the smallest loss on the rows `watch` that was met on the way.

    Args: network: changed in place.  learn, watch: places of rows, disjoint.  on_epoch: is told epoch and loss of `watch`.
    """
    optimiser, best = Adam(network), Fitted(network.copy(), np.inf, 0)
    with threadpools("a student").threadpool_limits(1):
        watched = examples.take(watch)
        for epoch in range(1, schedule.epochs + 1):
            order = random.permutation(learn)
            # Half a cosine from the full rate to none (Loshchilov & Hutter 2017).
            rate = schedule.rate * (1 + np.cos(np.pi * (epoch - 1) / schedule.epochs)) / 2
            for start in range(0, len(order), schedule.batch):
                rows = order[start : start + schedule.batch]
                optimiser.step(_slope(network, examples.take(rows), targets, rows, schedule, random), rate)
            loss = loss_of(network, watched, targets, watch, schedule)
            on_epoch(epoch, loss)
            if loss < best.loss:
                best = Fitted(network.copy(), loss, epoch)
            elif epoch - best.epochs >= schedule.patience:
                break
    return best


def loss_of(
    network: Network,
    examples: Examples,
    targets: Sequence[Target],
    rows: NDArray[np.intp],
    schedule: Schedule,
) -> float:
    """Over all outputs together.  rows: the places of the examples in the targets."""
    _, raw = forward(network, examples)
    pairs = zip(targets, raw, strict=True)
    return sum(target.loss(x, rows, schedule.temperature, schedule.label_share)[0] for target, x in pairs)


def _slope(
    network: Network,
    examples: Examples,
    targets: Sequence[Target],
    rows: NDArray[np.intp],
    schedule: Schedule,
    random: np.random.Generator,
) -> Gradient:
    kept = _kept(network, examples, schedule.dropout, random)
    seen, raw = forward(network, examples, kept)
    pairs = zip(targets, raw, strict=True)
    slopes = [target.loss(x, rows, schedule.temperature, schedule.label_share)[1] for target, x in pairs]
    return gradient(network, examples, seen, slopes, kept)


def _kept(network: Network, examples: Examples, dropout: float, random: np.random.Generator) -> Floats | None:
    """What the first layer's inputs are multiplied by: 0 for what is left out, so much more for the rest."""
    if not dropout:
        return None
    width = (network.hidden or network.heads)[0].weight.shape[0]
    kept = random.random((len(examples), width), np.float32) >= dropout
    return kept.astype(np.float32) / np.float32(1 - dropout)
