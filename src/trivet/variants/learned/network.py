"""A student's arithmetic in numpy: pooled n-grams and features, hidden layers, one linear head for each output."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(slots=True)
class Dense:
    """x @ weight + bias.  weight: shape (in, out)."""

    weight: Floats
    bias: Floats


@dataclass(slots=True)
class Network:
    """table: shape (rows of the table, vector), or None without n-grams; slots: vectors that a row is pooled to."""

    table: Floats | None
    slots: int
    hidden: list[Dense]
    heads: list[Dense]

    def dense(self) -> list[Floats]:
        """All arrays but the table, themselves: to be changed in place."""
        return [array for layer in [*self.hidden, *self.heads] for array in (layer.weight, layer.bias)]

    def copy(self) -> "Network":
        table = None if self.table is None else self.table.copy()
        copies = [
            [Dense(layer.weight.copy(), layer.bias.copy()) for layer in part]
            for part in (self.hidden, self.heads)
        ]
        return Network(table, self.slots, *copies)


@dataclass(frozen=True, slots=True)
class Examples:
    """bag: a sparse matrix of shape (rows * slots, rows of the table), the weight of each n-gram in each slot's mean.

    features: shape (rows, features), standardised; may have no columns.
    """

    bag: Any
    features: Floats
    slots: int

    def __len__(self) -> int:
        return len(self.features)

    def take(self, rows: NDArray[np.intp]) -> "Examples":
        bag = self.bag
        if bag is not None:
            bag = bag[(rows[:, None] * self.slots + np.arange(self.slots)).reshape(-1)]
        return Examples(bag, self.features[rows], self.slots)


def new_network(
    *, table: tuple[int, int] | None, slots: int, features: int, hidden: Sequence[int], outputs: Sequence[int],
    random: np.random.Generator,
) -> Network:  # fmt: skip
    """Args: table: rows and vector size.  outputs: the size of each head."""
    size, vectors = features, None
    if table is not None:
        vectors = random.standard_normal(table).astype(np.float32) / np.float32(np.sqrt(table[1]))
        vectors[0] = 0  # what is left out
        size += slots * table[1]
    layers = []
    for width in hidden:
        layers.append(_dense(size, width, random, gain=2.0))
        size = width
    return Network(vectors, slots, layers, [_dense(size, width, random, gain=1.0) for width in outputs])


def _dense(size: int, width: int, random: np.random.Generator, gain: float) -> Dense:
    """He's initialisation, with the gain of what follows."""
    weight = random.standard_normal((size, width)).astype(np.float32) * np.float32(
        np.sqrt(gain / max(size, 1))
    )
    return Dense(weight, np.zeros(width, np.float32))


def forward(
    network: Network, examples: Examples, kept: Floats | None = None
) -> tuple[list[Floats], list[Floats]]:
    """What each hidden layer was given, with the last one's answer at the end; and the raw outputs, one for each head.

    Args: kept: factors of the first layer's inputs, shape (rows, inputs); None: all 1.
    """
    given = examples.features
    if network.table is not None:
        pooled = (examples.bag @ network.table).reshape(len(examples), -1)
        given = np.concatenate([pooled, given], axis=1)
    seen = [given if kept is None else given * kept]
    for layer in network.hidden:
        active: Floats = np.maximum(seen[-1] @ layer.weight + layer.bias, 0)
        seen.append(active)
    raw: list[Floats] = [np.add(seen[-1] @ head.weight, head.bias) for head in network.heads]
    return seen, raw


@dataclass(frozen=True, slots=True)
class Gradient:
    """Of `network.dense()`, in its order; and of the table's rows that the examples have, shape (len(rows), vector)."""

    dense: list[Floats]
    rows: NDArray[np.intp]
    table: Floats


def gradient(
    network: Network,
    examples: Examples,
    seen: Sequence[Floats],
    slopes: Sequence[Floats],
    kept: Floats | None = None,
) -> Gradient:
    """Args: seen, kept: as from and for `forward`.  slopes: of the loss by each raw output."""
    of_heads = [(seen[-1].T @ slope, slope.sum(axis=0)) for slope in slopes]
    back = np.zeros_like(seen[-1])
    for slope, head in zip(slopes, network.heads, strict=True):
        back += slope @ head.weight.T
    of_hidden = []
    for layer, given, answer in zip(network.hidden[::-1], seen[-2::-1], seen[:0:-1], strict=True):
        back = back * (answer > 0)
        of_hidden.append((given.T @ back, back.sum(axis=0)))
        back = back @ layer.weight.T
    dense = [array for pair in [*of_hidden[::-1], *of_heads] for array in pair]
    if network.table is None:
        return Gradient(dense, np.zeros(0, np.intp), np.zeros((0, 0), np.float32))
    vector = network.table.shape[1]
    back = back if kept is None else back * kept
    back = np.ascontiguousarray(back[:, : network.slots * vector]).reshape(-1, vector)
    bag = examples.bag
    rows, places = np.unique(bag.indices, return_inverse=True)
    # The same matrix without the columns that are empty: a batch has few of the table's rows.
    narrow = type(bag)((bag.data, places, bag.indptr), shape=(bag.shape[0], len(rows)))
    return Gradient(dense, rows, narrow.T @ back)
