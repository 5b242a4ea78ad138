"""Early exits: which rows a model in the middle of a pipeline answers by itself, and how many go on.

Decisions only. What an exit gives stands for what the last model would have given: whoever carries the decision out goes
on behind that model with it (`Chain.left`), so steps at the end see no difference.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivet.spec.exit import Exit

# The share that goes on is the mean of the rows seen, of which there are never more than so many: it follows inputs that
# change. Before any is seen all go on, with the weight of so few rows: nothing is promised on a hope.
_MEMORY_ROWS = 1024
_DOUBT_ROWS = 8
_SMALLEST = 1e-300  # of a probability: a certain «yes» has finite odds


class ExitPoint:
    """The exit behind one stage: its rule, and the share of rows that goes on, learned from those it has decided.

    Args: name: of the model; what answers, rows and metrics call the exit.
    """

    def __init__(self, name: str, rule: Exit) -> None:
        self.name = name
        self.rule = rule
        self.at_least = rule.threshold  # of a certified cascade: of the point in force, set by its guard
        self.num_left = 0  # rows answered here, ever
        self.num_on = 0  # rows that went on
        self.share_on = 1.0
        self._weight = float(_DOUBT_ROWS)

    def sure(self, outputs: Mapping[str, NDArray[Any]]) -> NDArray[np.bool_]:
        """Which rows are answered here, shape (rows,). Each is decided alone, whatever stands beside it.

        Args: outputs: of the stage, rows on axis 0.
        """
        return confidences(self.rule, outputs[self.rule.output]) >= self.at_least

    def learn(self, num_left: int, num_on: int) -> None:
        """So many rows were answered here, and so many sent on."""
        self.num_left += num_left
        self.num_on += num_on
        rows = num_left + num_on
        self._weight = min(self._weight + rows, _MEMORY_ROWS)
        self.share_on += (num_on - rows * self.share_on) / max(self._weight, rows)


class RoutePoint(ExitPoint):
    """Behind the first of two models that a route chooses between: who comes here stays here.

    Args: has_rows: the model's outputs have rows on axis 0.
    """

    def __init__(self, name: str, *, has_rows: bool) -> None:
        super().__init__(name, Exit(output="any", at_least=0.0))
        self._has_rows = has_rows

    def sure(self, outputs: Mapping[str, NDArray[Any]]) -> NDArray[np.bool_]:
        return np.ones(len(next(iter(outputs.values()))) if self._has_rows else 1, np.bool_)


def confidences(rule: Exit, scores: NDArray[Any]) -> NDArray[np.float64]:
    """How sure each row is, in [0, 1], shape (rows,); NaN where its scores are not finite: such a row goes on.

    Args: scores: shape (rows, classes), or with further axes between; the least sure position counts.
    """
    logits = _logits(rule, scores)
    with np.errstate(invalid="ignore", over="ignore"):
        shifted = logits - logits.max(axis=-1, keepdims=True)
        powers = np.exp(shifted)
        found = _CONFIDENCES[rule.confidence](powers, shifted)
    least: NDArray[np.float64] = found.reshape(len(scores), -1).min(axis=1)
    return least


def decisions(rule: Exit, outputs: Mapping[str, NDArray[Any]]) -> NDArray[np.int64]:
    """What the scores of each row say: the class of the highest, shape (rows, positions). With one class 1 is yes."""
    scores = outputs[rule.output]
    values = scores[:, None] if scores.ndim == 1 else scores
    if values.shape[-1] == 1:
        found = values[..., 0] > (0.5 if rule.scores == "probabilities" else 0.0)
    else:
        found = values.argmax(axis=-1)
    return np.asarray(found, np.int64).reshape(len(scores), -1)


def _logits(rule: Exit, scores: NDArray[Any]) -> NDArray[np.float64]:
    """Logits of at least two classes, by their temperature."""
    values = scores.astype(np.float64)
    if values.ndim == 1:
        values = values[:, None]
    is_lone = values.shape[-1] == 1
    if rule.scores == "probabilities":
        with np.errstate(divide="ignore", invalid="ignore"):
            values = np.log(values) - (np.log(np.maximum(1.0 - values, _SMALLEST)) if is_lone else 0.0)
    if is_lone:
        values = np.concatenate([np.zeros_like(values), values], axis=-1)
    return values / rule.calibration.temperature


def _top1(powers: NDArray[np.float64], _: NDArray[np.float64]) -> NDArray[np.float64]:
    top: NDArray[np.float64] = 1.0 / powers.sum(axis=-1)  # the highest power is 1
    return top


def _margin(powers: NDArray[np.float64], _: NDArray[np.float64]) -> NDArray[np.float64]:
    second = np.partition(powers, -2, axis=-1)[..., -2]
    margin: NDArray[np.float64] = (1.0 - second) / powers.sum(axis=-1)
    return margin


def _entropy(powers: NDArray[np.float64], shifted: NDArray[np.float64]) -> NDArray[np.float64]:
    total = powers.sum(axis=-1)
    terms = powers * np.where(powers > 0, shifted, 0.0)
    entropy = np.log(total) - terms.sum(axis=-1) / total
    certainty: NDArray[np.float64] = 1.0 - entropy / np.log(powers.shape[-1])
    return np.clip(certainty, 0.0, 1.0)


_CONFIDENCES = {"top1": _top1, "margin": _margin, "entropy": _entropy}
