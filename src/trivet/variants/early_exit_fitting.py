"""Heads at several places of one model: what they are taught, and what each is expected to be worth."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivet.variants._models import Model
from trivet.variants._session import Watched
from trivet.variants.builder import Say
from trivet.variants.certified import paired_losses
from trivet.variants.early_exit_cuts import Cut, cuts, taken_by, varying
from trivet.variants.early_exit_head import Floats, Head, Pooling, fitted, softmax
from trivet.variants.early_exit_split import Answering
from trivet.variants.errors import VariantError
from trivet.variants.source import Arrays, Source

_HELD_OUT = 0.25  # of the rows for fitting
_EXPECTED_LOSS = (
    0.5  # of the loss allowed: what is just at the limit where it is chosen is not certified elsewhere
)
_STRICTEST = (
    0.3  # of the share expected to leave: the first of the sequence has to pass for any other to be looked at
)
_MAX_TRIED = 24
_DECIMALS = 6  # of a confidence in the service file
_SUM_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class Candidate:
    """A place for an exit. features: of each row for fitting, shape (rows, features).  example: its tensor for one row."""

    cut: Cut
    pooling: Pooling
    features: Floats
    example: NDArray[Any]


@dataclass(frozen=True, slots=True)
class Teacher:
    """The original's answers to the rows for fitting. places: of the rows.  targets: its probabilities, (rows, classes)."""

    outputs: tuple[str, ...]
    answering: Answering
    places: tuple[int, ...]
    answers: list[Arrays]
    targets: Floats


@dataclass(frozen=True, slots=True)
class Student:
    """thresholds: confidences to certify, the strictest first.  share_left: of held-out rows, within half the loss allowed.
    expected_time: in parts of the original's work."""

    candidate: Candidate
    head: Head
    thresholds: list[float]
    share_left: float
    expected_time: float


def candidates_of(
    model: Model, source: Source, places: Sequence[int], most: int, say: Say
) -> tuple[Teacher, list[Candidate]]:
    """Raises: VariantError: its answers are no decision, or there is no place for an exit."""
    example = source.rows[places[0]]
    values = {
        name: value
        for name, value in Watched(model, varying(model)).run(example).items()
        if isinstance(value, np.ndarray)
    }
    found = [
        (cut, pooling)
        for cut in cuts(model, example, values, most)
        if (pooling := _pooling(model, cut, source, example)) is not None
    ]
    if not found:
        raise VariantError(
            "there is no place for an exit: no tensor between 2 and 90 % of the work from which all the rest is computed"
        )
    say(f"{len(found)} places for an exit; running {len(places)} rows")
    outputs = tuple(spec.name for spec in source.signature.outputs)
    watched = Watched(model, [*outputs, *(cut.tensor for cut, _ in found)])
    features: list[list[Floats]] = [[] for _ in found]
    answers: list[Arrays] = []
    for place in places:
        row = source.rows[place]
        given = watched.run(row)
        answers.append({name: given[name] for name in outputs})
        for one, (cut, pooling) in zip(features, found, strict=True):
            one.append(pooling.features(given[cut.tensor], row.get(pooling.mask)))
    answering, targets = _answering(answers)
    teacher = Teacher(outputs, answering, tuple(places), answers, targets)
    made = [
        Candidate(cut, pooling, np.array(one), values[cut.tensor])
        for one, (cut, pooling) in zip(features, found, strict=True)
    ]
    return teacher, made


def taught(
    candidate: Candidate, teacher: Teacher, source: Source, label_share: float, max_loss: float
) -> Student:
    """A head fitted on most rows, its worth read off the others."""
    order = np.random.default_rng(source.seed).permutation(len(teacher.places))
    num_held = max(1, round(_HELD_OUT * len(order)))
    fit, held_out = np.sort(order[num_held:]), np.sort(order[:num_held])
    targets = _mixed(teacher, source, label_share)
    head = fitted(candidate.features, targets, fit.tolist(), held_out.tolist())
    shares = head.probabilities(candidate.features[held_out])
    losses = paired_losses(
        source,
        [teacher.places[i] for i in held_out],
        [teacher.answers[i] for i in held_out],
        [_answer(one, teacher) for one in shares],
    )
    sure = shares.max(axis=1)
    left = _share_left(sure, losses, _EXPECTED_LOSS * max_loss)
    thresholds = _thresholds(sure, left, _share_left(sure, losses, max_loss))
    return Student(candidate, head, thresholds, left, 1 - left * (1 - candidate.cut.share))


def _share_left(sure: Floats, losses: Floats, max_loss: float) -> float:
    """The largest share of rows, the surest, whose loss together (over all rows) is within the limit."""
    order = np.argsort(-sure, kind="stable")
    lost = np.cumsum(losses[order]) / len(losses)
    return float(np.count_nonzero(lost <= max_loss)) / len(losses)


def _thresholds(sure: Floats, expected: float, most: float) -> list[float]:
    """Confidences at which from a part of the expected share to the largest possible one leaves, falling."""
    ordered = -np.sort(-sure)
    shares = np.linspace(_STRICTEST * expected, most, _MAX_TRIED)
    places = np.clip(np.ceil(shares * len(ordered)).astype(int) - 1, 0, len(ordered) - 1)
    found = np.round(ordered[places], _DECIMALS).tolist()
    return sorted(set(found), reverse=True)


def _mixed(teacher: Teacher, source: Source, label_share: float) -> Floats:
    """The teacher's probabilities with the truth mixed in, where a row has one that the teacher could have said."""
    targets = teacher.targets.copy()
    if source.labels is None or source.decode is None or not label_share:
        return targets
    said: dict[str, int] = {}
    for answer, target in zip(teacher.answers, teacher.targets, strict=True):
        said.setdefault(str(source.decode(answer)), int(np.argmax(target)))
    for number, place in enumerate(teacher.places):
        truth = said.get(str(source.labels[place]))
        if truth is not None:
            targets[number] *= 1 - label_share
            targets[number, truth] += label_share
    return targets


def _answer(shares: Floats, teacher: Teacher) -> Arrays:
    """What the exit would answer to one row, in the order of the model's outputs."""
    answering = teacher.answering
    scores = shares if answering.kind == "probabilities" else np.log(np.maximum(shares, 1e-30))
    answer: dict[str, NDArray[Any]] = {answering.scores: scores[None].astype(np.float32)}
    if answering.label is not None:
        name, labels = answering.label
        answer[name] = labels[[int(np.argmax(shares))]]
    return {name: answer[name] for name in teacher.outputs}


def _answering(answers: Sequence[Arrays]) -> tuple[Answering, Floats]:
    """What the answers are made of, and their probabilities. Raises: VariantError: no exit could give such answers."""
    first = answers[0]
    scores = [
        name for name, one in first.items() if one.dtype.kind == "f" and one.ndim == 2 and one.shape[1] > 1
    ]
    others = [name for name in first if name not in scores]
    if len(scores) != 1 or len(others) > 1 or any(first[name].shape != (1,) for name in others):
        kinds = ", ".join(f"{name} {one.dtype.name} {list(one.shape)}" for name, one in first.items())
        raise VariantError(
            f"an exit gives scores of classes (floats, rows by classes) and at most their labels; the model gives {kinds}"
        )
    if any(one[scores[0]].shape != first[scores[0]].shape for one in answers):
        raise VariantError(f"output {scores[0]!r} has not the same number of classes for each row")
    values = np.array([one[scores[0]][0] for one in answers], np.float64)
    is_share = bool((values >= 0).all() and (np.abs(values.sum(axis=1) - 1) <= _SUM_TOLERANCE).all())
    targets = values / values.sum(axis=1, keepdims=True) if is_share else softmax(values)
    label = (others[0], _labels(answers, others[0], targets)) if others else None
    return Answering(scores[0], "probabilities" if is_share else "logits", label), targets


def _labels(answers: Sequence[Arrays], name: str, targets: Floats) -> NDArray[Any]:
    """The label of each class, by what the model said. Raises: VariantError: that does not tell it."""
    said: dict[int, Any] = {}
    for answer, target in zip(answers, targets, strict=True):
        label = answer[name][0]
        if said.setdefault(int(np.argmax(target)), label) != label:
            raise VariantError(f"output {name!r} is not the label of the highest score")
    classes = targets.shape[1]
    if all(isinstance(label, np.integer) and label == place for place, label in said.items()):
        return np.arange(classes, dtype=answers[0][name].dtype)
    if len(said) < classes:
        raise VariantError(
            f"the rows tell the label {name!r} of {len(said)} of {classes} classes: declare `data:` with all of them"
        )
    return np.array([said[place] for place in range(classes)], answers[0][name].dtype)


def _pooling(model: Model, cut: Cut, source: Source, row: Arrays) -> Pooling | None:
    """How the tensor at a cut becomes features; None: nothing tells its positions from padding."""
    rank = len(cut.shape)
    if rank == 2:
        return Pooling(1)
    channels = 1 if rank == 4 or _is_convolved(model, cut.tensor) else rank - 1
    if channels == rank - 1:
        for spec in source.signature.inputs:
            fits = "INT" in spec.datatype and "mask" in spec.name and row[spec.name].shape == cut.shape[:2]
            if fits:
                return Pooling(channels, mask=spec.name)
    if source.declared.ragged:
        return Pooling(channels, first=True) if rank == 3 and channels == 2 else None
    return Pooling(channels)


def _is_convolved(model: Model, tensor: str) -> bool:
    """Whether the last product before a tensor is a convolution, whose features lie on axis 1."""
    by_output = {name: node for node in model.graph.node for name in node.output}
    seen, ahead = set(), [tensor]
    while ahead:
        node = by_output.get(ahead.pop(0))
        if node is None or node.name in seen:
            continue
        seen.add(node.name)
        if "Conv" in node.op_type:
            return True
        if node.op_type in ("MatMul", "Gemm", "Attention", "LSTM", "GRU", "FusedMatMul"):
            return False
        ahead += taken_by(node)
    return False
