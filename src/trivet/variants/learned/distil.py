"""The builder of `distilled`: a student learns what the model answers, and takes its place in one small graph."""

from pathlib import Path
from typing import Annotated, ClassVar

import msgspec
import numpy as np

from trivet.engine.onnx import OnnxEngine
from trivet.variants._models import MODEL_FILE
from trivet.variants.builder import Built, Say
from trivet.variants.errors import VariantError
from trivet.variants.int8 import is_onnx
from trivet.variants.learned._packages import onnx, sparse, threadpools
from trivet.variants.learned.agreeing import agreement_note
from trivet.variants.learned.answers import answers_of
from trivet.variants.learned.outputs import Outputs, outputs_of
from trivet.variants.learned.reading import why_unreadable
from trivet.variants.learned.sizes import Wanted
from trivet.variants.learned.student import write_student
from trivet.variants.learned.studying import Lesson, study
from trivet.variants.learned.training import Schedule
from trivet.variants.source import Source

_FEATURE = "distilling a model"
_FEWEST_ROWS = 200
_ROWS_A_CLASS = 10
_HELD_OUT = 0.15
Positive = Annotated[int, msgspec.Meta(ge=1)]


class Distilled(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options, as `variants: {distilled: {...}}` has them.

    hidden: units of the hidden layer, 0: none; by default several are tried.  ngrams: lengths of the n-grams that are
    counted.  buckets: rows of the table for each n over 1.  vector: numbers that stand for an n-gram.  epochs: at most.
    temperature, label_share: of the loss, (1 - share) T² KL + share CE.  minutes: effort; counted, not timed.
    """

    name: ClassVar[str] = "distilled"
    answers_change: ClassVar[bool] = True

    hidden: Annotated[int, msgspec.Meta(ge=0)] | None = None
    ngrams: tuple[Annotated[int, msgspec.Meta(ge=1, le=5)], ...] = ()
    buckets: Annotated[int, msgspec.Meta(ge=2, le=1 << 20)] | None = None
    vector: Positive | None = None
    epochs: Positive = 60
    temperature: Annotated[float, msgspec.Meta(gt=0)] = 2.0
    label_share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.3
    minutes: Annotated[float, msgspec.Meta(gt=0)] = 2.0

    def applies(self, source: Source) -> str:
        if not is_onnx(source):
            return "a student takes an ONNX model's place: this one runs in another engine, or not on the CPU"
        if not source.rows:
            return "a student learns from rows; declare `data:` with rows like those that are served"
        return why_unreadable(source.signature)

    def build(self, source: Source, folder: Path, say: Say) -> Built:
        for package in (onnx, sparse, threadpools):
            package(_FEATURE)
        places, num_learned = _places(source)
        say(f"asking the model about {len(places)} rows")
        engine = OnnxEngine(source.path)
        answers = answers_of(engine, [source.rows[place] for place in places])
        outputs = outputs_of(source, places[:num_learned], answers[:num_learned])
        _check_enough(num_learned, outputs)
        wanted = Wanted(
            ngrams=tuple(sorted(set(self.ngrams))), buckets=self.buckets, vector=self.vector, hidden=self.hidden,
            epochs=self.epochs, minutes=self.minutes,
        )  # fmt: skip
        schedule = Schedule(temperature=self.temperature, label_share=self.label_share)
        lesson = Lesson(source, [source.rows[place] for place in places[:num_learned]], outputs)
        studied = study(lesson, wanted, schedule, source.seed, say)
        write_student(studied.student, source.path, folder / MODEL_FILE)
        held = range(num_learned, len(places))
        given = answers_of(OnnxEngine(folder / MODEL_FILE), [source.rows[places[i]] for i in held])
        notes = agreement_note(outputs, [answers[i] for i in held], given)
        learned = f"learned from the model's answers to {num_learned} rows: {studied.size.told}"
        return Built(
            (MODEL_FILE,),
            (learned, *notes, *studied.notes),
            {"learned_rows": num_learned, **studied.settings},
        )


def _places(source: Source) -> tuple[list[int], int]:
    """Places of all rows that are used, those to learn from first, and how many these are. Held out are those for
    certification; without them a part of the others."""
    learned, held = list(source.calibration), list(source.certification)
    if not learned:
        learned, held = list(range(len(source.rows))), []
    if not held:
        order = np.random.default_rng(source.seed).permutation(len(learned))
        num_held = int(len(learned) * _HELD_OUT)
        learned, held = (
            [learned[i] for i in sorted(order[num_held:])],
            [learned[i] for i in sorted(order[:num_held])],
        )
    return [*learned, *held], len(learned)


def _check_enough(num_rows: int, outputs: Outputs) -> None:
    """Raises: VariantError: too few rows; says how many are sensible."""
    needed, why = _FEWEST_ROWS, "a student of fewer only repeats them"
    for target in outputs.targets:
        if target.kind in ("scores", "probabilities"):
            num_classes = len(np.unique(target.values[:num_rows].argmax(axis=1)))
            if num_classes * _ROWS_A_CLASS > needed:
                needed, why = (
                    num_classes * _ROWS_A_CLASS,
                    f"{_ROWS_A_CLASS} for each of the {num_classes} classes seen",
                )
    if num_rows < needed:
        raise VariantError(
            f"{num_rows} rows to learn from; at least {needed} are sensible ({why}): add rows to `data:`"
        )
