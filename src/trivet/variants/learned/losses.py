"""What rows lose when another model answers them in the original's place, each in [0, 1]."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivet.engine.onnx import OnnxEngine
from trivet.variants.learned.answers import answers_of
from trivet.variants.learned.targets import Arrays, agreement, label_positions, target_of
from trivet.variants.source import Source


class PairedLosses:
    """Against the original's answers to the same rows: where the service's metric judges rows, what its value loses (what
    other rows win is not set against it); else how far the answers disagree.
    """

    def __init__(self, source: Source, places: Sequence[int]) -> None:
        self._source, self._places = source, list(places)
        self._answers = answers_of(OnnxEngine(source.path), [source.rows[place] for place in self._places])
        self._right = None if source.judge is None else np.asarray(source.judge(self._answers, self._places))
        self.words = "answers differ" if self._right is None else "right answers are lost"

    def of(self, path: Path) -> NDArray[np.float64]:
        """Of each row, for the model in this file. Shape (rows,)."""
        given = answers_of(OnnxEngine(path), [self._source.rows[place] for place in self._places])
        if self._right is not None and self._source.judge is not None:
            right = np.asarray(self._source.judge(given, self._places), np.float64)
            fewer: NDArray[np.float64] = np.clip(self._right - right, 0, 1)
            return fewer
        lost = [disagreement(name, self._source, self._answers, given) for name in self._answers[0]]
        most: NDArray[np.float64] = np.clip(np.max(lost, axis=0), 0, 1)
        return most


def disagreement(
    name: str, source: Source, answers: Sequence[Arrays], given: Sequence[Arrays]
) -> NDArray[np.float64]:
    """Of each row, how far one output is from the original's: 0 is no way. Shape (rows,)."""
    pairs = [(answer[name], other[name]) for answer, other in zip(answers, given, strict=True)]
    if pairs[0][0].dtype.kind != "f":
        return np.array([0.0 if np.array_equal(a, b) else 1.0 for a, b in pairs])
    if len({a.shape for a, _ in pairs}) > 1:
        return np.array([_distance(a, b) for a, b in pairs])
    wanted, found = np.stack([a for a, _ in pairs]), np.stack([b for _, b in pairs])
    decides, _ = label_positions(source.decode, answers[0], name, None, len(answers))
    kind = target_of(name, wanted, decides=decides, classes=[]).kind
    apart: NDArray[np.float64] = 1 - agreement(kind, wanted, found)
    return apart


def _distance(a: NDArray[Any], b: NDArray[Any]) -> float:
    """The squared distance as a share of the squared length."""
    return float(((a - b) ** 2).sum() / max(float((a * a).sum()), np.finfo(np.float32).tiny))
