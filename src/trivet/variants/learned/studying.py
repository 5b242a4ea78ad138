"""Tries students of several sizes on the same lesson and keeps the one that answers held-out rows best."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivet.variants.builder import Say
from trivet.variants.errors import VariantError
from trivet.variants.learned.bags import bag_of, known_rows, slots_of
from trivet.variants.learned.grams import Grams, fill_of, vocabulary_of
from trivet.variants.learned.network import Examples, new_network
from trivet.variants.learned.outputs import Outputs
from trivet.variants.learned.reading import Arrays, Ids, Reading, features_of, reading_of
from trivet.variants.learned.sizes import Size, Wanted, sizes
from trivet.variants.learned.student import Student
from trivet.variants.learned.training import Fitted, Schedule, fit
from trivet.variants.source import Source

_WATCHED = 0.15  # of the rows, for the end of the training and the choice of the size
_BUCKETS = 16_381  # the largest prime under 2^14: the table stays in a core's second cache
_BLOCK = 512  # positions of a row of fixed width that are pooled together
_MOST_BLOCKS = 4
_HEAD = 16  # first positions that have rows of their own: where files say what they are
_NARROW = 128
_SAMPLED = 64
_NO_WORSE = 0.03  # so much more loss is worth a smaller student


@dataclass(frozen=True, slots=True)
class Lesson:
    """rows: to learn from; outputs: what was answered to them."""

    source: Source
    rows: Sequence[Arrays]
    outputs: Outputs


@dataclass(frozen=True, slots=True)
class Studied:
    student: Student
    size: Size
    notes: tuple[str, ...]
    settings: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Parts:
    """Of one lesson, whatever the size: features of all rows, and which rows teach and which are watched."""

    reading: Reading
    features: NDArray[np.float32]
    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]
    learn: NDArray[np.intp]
    watch: NDArray[np.intp]


def study(lesson: Lesson, wanted: Wanted, schedule: Schedule, seed: int, say: Say) -> Studied:
    """Raises: VariantError: inputs that a student cannot read."""
    parts = _parts(lesson, seed)
    ids = parts.reading.ids
    grams = None if ids is None else grams_of(lesson.source, lesson.rows, ids)
    tried, left_out = sizes(
        wanted,
        ids,
        grams,
        features=parts.features.shape[1],
        outputs=sum(target.size for target in lesson.outputs.targets),
        grams_a_row=0.0 if ids is None or grams is None else _num_pairs(lesson.rows, ids, grams),
        rows=len(parts.learn),
    )
    students = []
    for number, size in enumerate(tried, 1):
        students.append(_try(lesson, parts, size, schedule, seed, _numbered(say, number, len(tried))))
    losses = [fitted.loss for _, fitted in students]
    chosen = next(i for i, loss in enumerate(losses) if loss <= min(losses) * (1 + _NO_WORSE))
    notes = [f"{len(tried)} sizes were tried"] if len(tried) > 1 else []
    notes += [f"left out for want of effort (`minutes`): {size.told}" for size in left_out]
    student, fitted = students[chosen]
    settings = {
        "size": tried[chosen].told,
        "epochs": fitted.epochs,
        "losses": [round(loss, 6) for loss in losses],
    }
    return Studied(student, tried[chosen], tuple(notes), settings)


def _numbered(say: Say, number: int, of: int) -> Say:
    return lambda line: say(f"student {number} of {of}{line}")


def grams_of(source: Source, rows: Sequence[Arrays], ids: Ids) -> Grams:
    """What is counted in these rows, but for the lengths of n-grams."""
    largest = max((int(row[ids.name].max()) for row in rows if row[ids.name].size), default=0)
    vocabulary, pad = vocabulary_of(max(0, largest)), None
    if ids.mask is None and ids.name in source.declared.ragged:
        pad = int(source.declared.ragged[ids.name].pad)
    if ids.width is None or ids.mask is not None:
        return Grams(vocabulary=vocabulary, buckets=_BUCKETS, width=ids.width, pad=pad)
    if pad is None:
        pad = fill_of([row[ids.name].reshape(-1) for row in rows])
    blocks = max(
        n for n in range(1, _MOST_BLOCKS + 1) if n == 1 or (ids.width % n == 0 and ids.width // n >= _BLOCK)
    )
    head = _HEAD if ids.width >= _NARROW else 0
    return Grams(vocabulary=vocabulary, buckets=_BUCKETS, width=ids.width, blocks=blocks, head=head, pad=pad)


def _parts(lesson: Lesson, seed: int) -> _Parts:
    reading = reading_of(lesson.source.signature, lesson.rows)
    features = features_of(reading, lesson.rows)
    if not np.isfinite(features).all():
        raise VariantError(
            "numbers among the inputs are not finite (NaN): a student would answer NaN to them"
        )
    order = np.random.default_rng([seed, 1]).permutation(len(lesson.rows))
    num_watched = int(len(order) * _WATCHED)
    learn, watch = np.sort(order[num_watched:]), np.sort(order[:num_watched])
    mean, deviation = features[learn].mean(axis=0), features[learn].std(axis=0)
    deviation = np.where(deviation > 1e-6 * (1 + np.abs(mean)), deviation, 1).astype(np.float32)
    return _Parts(reading, (features - mean) / deviation, mean, deviation, learn, watch)


def _try(
    lesson: Lesson, parts: _Parts, size: Size, schedule: Schedule, seed: int, say: Say
) -> tuple[Student, Fitted]:
    bag, known, slots = None, np.zeros(0, np.bool_), 0
    if parts.reading.ids is not None and size.grams is not None:
        found, slots = slots_of(lesson.rows, parts.reading.ids, size.grams), size.grams.slots
        known = known_rows(
            [found[row * slots + slot] for row in parts.learn for slot in range(slots)], size.grams
        )
        bag = bag_of(found, known)
    random = np.random.default_rng([seed, 2])
    network = new_network(
        table=None if size.grams is None else (size.grams.num_rows, size.vector),
        slots=slots,
        features=parts.features.shape[1],
        hidden=size.hidden,
        outputs=[target.size for target in lesson.outputs.targets],
        random=random,
    )
    examples, schedule = Examples(bag, parts.features, slots), replace(schedule, epochs=size.epochs)
    fitted = fit(
        network, examples, lesson.outputs.targets, parts.learn, parts.watch, schedule, random,
        lambda epoch, loss: say(f" ({size.told}): epoch {epoch} of {size.epochs}, loss {loss:.4f}"),
    )  # fmt: skip
    student = Student(
        reading=parts.reading, grams=size.grams, known=known, mean=parts.mean, deviation=parts.deviation,
        network=fitted.network, outputs=lesson.outputs,
    )  # fmt: skip
    return student, fitted


def _num_pairs(rows: Sequence[Arrays], ids: Ids, grams: Grams) -> float:
    """Different pairs of ids that a row has, on average over some."""
    pairs = slots_of(rows[:_SAMPLED], ids, replace(grams, ngrams=(2,), blocks=1, head=0))
    return float(np.mean([len(np.unique(slot)) for slot in pairs]))
