"""What a student has to give: each output of the model as numbers to learn from, the loss, and how well it was learned."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trivet.variants.errors import VariantError

Arrays = Mapping[str, NDArray[Any]]
Floats = NDArray[np.float32]
Kind = Literal["scores", "probabilities", "shares", "directions", "numbers"]

UNKNOWN = -1
_SMALLEST = 1e-7  # a probability under it says no more than this
_ROUNDING = 2e-3  # sums and norms of float16 answers


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One output of shape (rows, *inner) with floats in it.

    kind: probabilities (of classes, with the sum 1), scores of classes, shares (each in [0, 1] for itself),
        directions (vectors of length 1), numbers.
    values: shape (rows, size); log probabilities for probabilities, standardised for numbers, else as answered.
    mean, scale: of the answers, for numbers: shape (size,) and one number for all, so that distances keep their meaning.
    classes: shape (rows,), the position of each row's label; UNKNOWN: none is known.
    """

    name: str
    kind: Kind
    values: Floats
    inner: tuple[int, ...]
    dtype: str
    mean: Floats
    scale: float
    classes: NDArray[np.int64]

    @property
    def size(self) -> int:
        return int(self.values.shape[1])

    def loss(
        self, raw: Floats, rows: NDArray[np.intp], temperature: float, label_share: float
    ) -> tuple[float, Floats]:
        """The mean loss of raw outputs, shape (rows, size), and its gradient.

        Classes: (1 - share) T^2 KL(teacher || student, both at T) + share * CE(label), where a label is known
        (Hinton, Vinyals & Dean 2015); shares: cross-entropy; directions: 1 - cosine; numbers: squared distance.
        """
        if self.kind in ("scores", "probabilities"):
            return self._class_loss(raw, rows, temperature, label_share)
        wanted = self.values[rows]
        if self.kind == "shares":
            given = 1 / (1 + np.exp(-raw))
            losses = np.logaddexp(0, raw) - wanted * raw
            return float(losses.mean()) * self.size, ((given - wanted) / np.float32(len(rows))).astype(
                raw.dtype
            )
        if self.kind == "directions":
            length = np.sqrt((raw * raw).sum(axis=1, keepdims=True)) + np.float32(1e-6)
            unit = raw / length
            cosine = (unit * wanted).sum(axis=1, keepdims=True)
            return float(1 - cosine.mean()), (unit * cosine - wanted) / (length * np.float32(len(rows)))
        apart = raw - wanted
        return float((apart * apart).mean()), apart * np.float32(2 / apart.size)

    def _class_loss(
        self, raw: Floats, rows: NDArray[np.intp], temperature: float, label_share: float
    ) -> tuple[float, Floats]:
        wanted = log_softmax(self.values[rows] / np.float32(temperature))
        given = log_softmax(raw / np.float32(temperature))
        probabilities = np.exp(wanted)
        labels = self.classes[rows]
        known = labels != UNKNOWN
        weight = np.where(known, label_share, 0.0).astype(np.float32)[:, None]
        divergence = (probabilities * (wanted - given)).sum(axis=1, keepdims=True) * np.float32(
            temperature**2
        )
        gradient = (1 - weight) * (np.exp(given) - probabilities) * np.float32(temperature)
        loss = (1 - weight) * divergence
        if label_share and known.any():
            sharp = log_softmax(raw)
            places = np.flatnonzero(known), labels[known]
            of_labels = np.zeros_like(loss)
            of_labels[known, 0] = -sharp[places]
            slope = np.exp(sharp)
            slope[places] -= 1
            loss, gradient = loss + weight * of_labels, gradient + weight * slope
        return float(loss.mean()), (gradient / np.float32(len(rows))).astype(np.float32)


def log_softmax(raw: Floats) -> Floats:
    shifted = raw - raw.max(axis=1, keepdims=True)
    result: Floats = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result


def target_of(name: str, answers: NDArray[Any], *, decides: bool, classes: Sequence[int]) -> Target:
    """Args: answers: of all rows, shape (rows, *inner), floats.  decides: `decode` takes the largest of this output.

    classes: the position of each row's label; UNKNOWN where there is none.
    Raises: VariantError: answers that are not finite.
    """
    values = answers.reshape(len(answers), -1).astype(np.float64)
    if not np.isfinite(values).all():
        raise VariantError(
            f"output {name!r} has values that are not finite; there is nothing to learn from them"
        )
    kind = _kind(values, decides=decides)
    mean, scale = np.zeros(values.shape[1]), 1.0
    if kind == "probabilities":
        values = np.log(np.maximum(values, _SMALLEST))
    if kind == "numbers":
        mean = values.mean(axis=0)
        scale = float(np.sqrt(((values - mean) ** 2).mean())) or 1.0
        values = (values - mean) / scale
    return Target(
        name=name,
        kind=kind,
        values=values.astype(np.float32),
        inner=answers.shape[1:],
        dtype=answers.dtype.name,
        mean=mean.astype(np.float32),
        scale=scale,
        classes=np.asarray(classes, np.int64),
    )


def _kind(values: NDArray[np.float64], *, decides: bool) -> Kind:
    within = bool(((values >= -_ROUNDING) & (values <= 1 + _ROUNDING)).all())
    if values.shape[1] > 1:
        if within and np.allclose(values.sum(axis=1), 1, atol=_ROUNDING):
            return "probabilities"
        if decides:
            return "scores"
        if np.allclose((values * values).sum(axis=1), 1, atol=_ROUNDING):
            return "directions"
    # Numbers that happen to lie there are learned as well by cross-entropy; 0/1 answers alone are shares, too.
    return "shares" if within and values.min() < values.max() else "numbers"


def agreement(kind: Kind, wanted: NDArray[Any], given: NDArray[Any]) -> NDArray[np.float64]:
    """Of each row how far two answers agree, at most 1: the same class, the share of the same sides of 0.5, the cosine;
    for numbers 1 minus the squared distance over the mean squared distance from the mean (their mean is R²).

    Args: wanted, given: shape (rows, ...), as the models answer.
    """
    a = wanted.reshape(len(wanted), -1).astype(np.float64)
    b = given.reshape(len(given), -1).astype(np.float64)
    if kind in ("scores", "probabilities"):
        equal: NDArray[np.float64] = (a.argmax(axis=1) == b.argmax(axis=1)).astype(np.float64)
        return equal
    if kind == "shares":
        same: NDArray[np.float64] = ((a >= 0.5) == (b >= 0.5)).mean(axis=1)
        return same
    if kind == "directions":
        lengths = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
        cosine: NDArray[np.float64] = (a * b).sum(axis=1) / np.maximum(lengths, _SMALLEST)
        return cosine
    spread = float(((a - a.mean(axis=0)) ** 2).sum(axis=1).mean()) or 1.0
    closeness: NDArray[np.float64] = 1 - ((a - b) ** 2).sum(axis=1) / spread
    return closeness


def label_positions(
    decode: Callable[[Arrays], Any] | None,
    answer: Arrays,
    name: str,
    labels: Sequence[Any] | None,
    num_rows: int,
) -> tuple[bool, list[int]]:
    """Whether `decode` takes the largest of this output, and the position of each row's label in it.

    Found out by asking: an answer with the largest score at one position decodes to that class.
    Args: answer: one answer of the model; its other outputs stay as they are.
    """
    nothing = [UNKNOWN] * num_rows
    size = answer[name].size
    if decode is None or size < 2:
        return False, nothing
    named: dict[str, int] = {}
    for position in range(size):
        scores = np.zeros(size, answer[name].dtype)
        scores[position] = 1
        decoded = decode({**answer, name: scores.reshape(answer[name].shape)})
        if isinstance(decoded, np.ndarray | list | tuple):
            return False, nothing  # the answer itself: no class
        named.setdefault(_text(decoded), position)
    if len(named) < size:
        return False, nothing
    if labels is None:
        return True, nothing
    return True, [named.get(_text(label), UNKNOWN) for label in labels]


def _text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value).strip()
