"""Early exit: a head in the middle of a model answers what it is sure of; how sure it has to be is certified.

Heads are fitted on rows for fitting, at several places; a part of those rows, held out, says how sure a head may be believed
(its temperature) and which place is expected to take the least time. The confidence from which that one answers is then
certified on rows that nothing was chosen by, the strictest first, until the first that fails.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from trivet.engine.onnx import OnnxEngine
from trivet.pipeline.exits import confidences
from trivet.spec.exit import Exit
from trivet.stats.risk_control import learn_then_test, rows_needed
from trivet.variants._models import Model, read_model, write_model
from trivet.variants.apply import MODELS
from trivet.variants.builder import Built, Say
from trivet.variants.certified import Share, paired_losses
from trivet.variants.early_exit_fitting import Candidate, Teacher, candidates_of, taught
from trivet.variants.early_exit_split import front_of, rest_of, tensor_at
from trivet.variants.errors import VariantError
from trivet.variants.int8 import NOT_ONNX, Rows, is_onnx, spread
from trivet.variants.source import Arrays, Source

FRONT, REST = "front.onnx", "rest.onnx"
_MIN_FITTING = 100
_LEAST_GAIN = 0.02  # of the time of the whole model
_TIMED_ROUNDS = 30


def one_row_times(source: Source, folder: Path) -> dict[str, float]:
    """Median milliseconds for one row of the whole model, the front and the rest, in turn."""
    row = source.rows[source.calibration[0]]
    engines = {"whole": OnnxEngine(source.path), "front": OnnxEngine(folder / FRONT)}
    rest = OnnxEngine(folder / REST)
    given: dict[str, NDArray[Any]] = {**row, **engines["front"].run(row)}
    engines["rest"] = rest
    inputs: dict[str, Arrays] = {"whole": row, "front": row}
    inputs["rest"] = {spec.name: given[spec.name] for spec in rest.signature.inputs}
    samples: dict[str, list[int]] = {name: [] for name in engines}
    for _ in range(_TIMED_ROUNDS):
        for name, engine in engines.items():
            started_ns = time.perf_counter_ns()
            engine.run(inputs[name])
            samples[name].append(time.perf_counter_ns() - started_ns)
    for engine in engines.values():
        engine.close()
    return {name: float(np.median(one)) / 1e6 for name, one in samples.items()}


class EarlyExit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """max_loss: how much worse than the original at most, in the metric's unit.  confidence: that this is true.

    places: at how many cuts a head is tried.  label_share: of the truth in what a head is taught; the rest is the original's
    own answer.
    """

    name: ClassVar[str] = "early-exit"
    answers_change: ClassVar[bool] = True
    times: ClassVar[Any] = staticmethod(one_row_times)  # where it is measured
    max_loss: Share = 0.01
    confidence: Share = 0.95
    places: Annotated[int, msgspec.Meta(ge=1, le=32)] = 4
    label_share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.3
    fitting_rows: Rows = 2000
    certification_rows: Rows = 2000

    def applies(self, source: Source) -> str:
        if not is_onnx(source):
            return NOT_ONNX.replace("quantized", "cut in two")
        if source.judge is None and source.decode is None:
            return "an exit answers where it is sure, and nothing says what an answer means: declare `data:` and `decode:`"
        if len(source.calibration) < _MIN_FITTING:
            return f"{len(source.calibration)} rows to fit a head on, at least {_MIN_FITTING}: declare more `data:`"
        least = rows_needed(self.max_loss, 1 - self.confidence)
        num = len(source.certification)
        if least is not None and num < least:
            return (
                f"{num} rows for certification: at most {100 * self.max_loss:g} points worse with "
                f"{100 * self.confidence:g} % confidence needs at least {least:,}, even if no answer gets worse"
            )
        return ""

    def build(self, source: Source, folder: Path, say: Say) -> Built:
        model = read_model(source.path)
        places = spread(source.calibration, self.fitting_rows)
        teacher, candidates = candidates_of(model, source, places, self.places, say)
        students = [
            taught(candidate, teacher, source, self.label_share, self.max_loss) for candidate in candidates
        ]
        best = min(students, key=lambda student: (student.expected_time, student.candidate.cut.share))
        if best.expected_time > 1 - _LEAST_GAIN:
            before, left = 100 * best.candidate.cut.share, 100 * best.share_left
            raise VariantError(
                f"no gain: of {len(students)} places none is expected to save {100 * _LEAST_GAIN:g} % of the work within "
                f"{100 * self.max_loss:g} points; the best has {before:.0f} % of it before its exit, where {left:.0f} % of "
                "the rows leave"
            )
        say(f"cut at {best.candidate.cut.tensor!r}; certifying")
        self._write(model, source, best.candidate, best.head, teacher, folder)
        certified = self._certified(source, teacher, best.thresholds, folder)
        times: dict[str, float] = self.times(source, folder)
        self._check_gain(times, certified.share_left)
        return self._built(source, best.candidate, best.head, teacher, certified, times)

    def _write(
        self, model: Model, source: Source, candidate: Candidate, head: Any, teacher: Teacher, folder: Path
    ) -> None:
        cut = candidate.cut
        tensor = tensor_at(
            model,
            cut,
            candidate.pooling.channels,
            batch_axis=source.signature.batch_axis,
            value=candidate.example,
        )
        write_model(front_of(model, cut, tensor, candidate.pooling, head, teacher.answering), folder / FRONT)
        write_model(rest_of(model, cut, tensor), folder / REST)

    def _certified(
        self, source: Source, teacher: Teacher, thresholds: Sequence[float], folder: Path
    ) -> "_Certified":
        """The lowest confidence that is certified, on what the two written files give.

        Raises: VariantError: not even the strictest.
        """
        places = spread(source.certification, self.certification_rows)
        before, after = _answers(source, places, folder, teacher.outputs)
        losses = paired_losses(source, places, before, after)
        sure = np.array([_confidence(_rule(teacher, 0.0), answer) for answer in after])
        table = np.array([losses * (sure >= at_least) for at_least in thresholds])
        passed = learn_then_test(table, max_risk=self.max_loss, delta=1 - self.confidence)
        if not passed:
            rate = float(table[0].mean())
            needed = rows_needed(self.max_loss, 1 - self.confidence, rate)
            more = f"; with such a loss it needs about {needed:,} rows" if needed else ""
            raise VariantError(
                f"not certified: with an exit at a confidence of {thresholds[0]:g} the loss on {len(places):,} rows is "
                f"{100 * rate:.2f} points, and at most {100 * self.max_loss:g} are allowed{more}"
            )
        chosen = passed[-1]
        at_least = thresholds[chosen]
        return _Certified(
            at_least, float((sure >= at_least).mean()), float(table[chosen].mean()), len(places)
        )

    def _check_gain(self, times: dict[str, float], share_left: float) -> None:
        expected = times["front"] + (1 - share_left) * times["rest"]
        if expected > (1 - _LEAST_GAIN) * times["whole"]:
            raise VariantError(
                f"no gain on this processor: the front takes {times['front']:.3g} ms, the rest {times['rest']:.3g} ms, the "
                f"whole {times['whole']:.3g} ms; with {100 * share_left:.0f} % of the rows leaving at the exit that is "
                f"{expected:.3g} ms"
            )

    def _built(
        self,
        source: Source,
        candidate: Candidate,
        head: Any,
        teacher: Teacher,
        certified: "_Certified",
        times: dict[str, float],
    ) -> Built:
        cut = candidate.cut
        rule = _rule(teacher, certified.at_least)
        stages = (
            {
                "model": FRONT,
                "exit": {"output": rule.output, "scores": rule.scores, "at_least": rule.at_least},
            },
            {"model": REST},
        )
        what = "points worse than the original" if source.judge else "% of answers differ from the original's"
        expected = times["front"] + (1 - certified.share_left) * times["rest"]
        notes = (
            f"with {100 * self.confidence:g} % confidence at most {100 * self.max_loss:g} {what}, on "
            f"{certified.num_rows:,} rows",
            f"an exit behind {cut.tensor!r}, after {100 * cut.share:.0f} % of the work, answers "
            f"{100 * certified.share_left:.0f} % of the rows, those with a confidence of {certified.at_least:g} or more",
            f"expected {expected:.3g} ms for one row, {times['whole']:.3g} ms for the original: {times['front']:.3g} ms to "
            f"the exit and {times['rest']:.3g} ms behind it",
        )
        settings: dict[str, Any] = {
            "cut": cut.tensor,
            "pooling": {"channels": candidate.pooling.channels, "mask": candidate.pooling.mask},
            "temperature": head.temperature,
            "at_least": certified.at_least,
            "share_left": certified.share_left,
            "certified_on": certified.num_rows,
            MODELS: _declared(source, candidate),
        }
        return Built((FRONT, REST), notes, settings, stages=stages)


@dataclass(frozen=True, slots=True)
class _Certified:
    """at_least: the confidence.  share_left: of the rows.  loss: mean over all rows."""

    at_least: float
    share_left: float
    loss: float
    num_rows: int


def _rule(teacher: Teacher, at_least: float) -> Exit:
    """Temperature is part of the head: what it gives is calibrated as it is."""
    return Exit(output=teacher.answering.scores, scores=teacher.answering.kind, at_least=at_least)


def _confidence(rule: Exit, answer: Arrays) -> float:
    return float(confidences(rule, answer[rule.output]).min())


def _answers(
    source: Source, places: Sequence[int], folder: Path, outputs: Sequence[str]
) -> tuple[list[Arrays], list[Arrays]]:
    """Of the original and of the exit, one row at a time."""
    original, front = OnnxEngine(source.path), OnnxEngine(folder / FRONT)
    try:
        before: list[Arrays] = [original.run(source.rows[place]) for place in places]
        given = [front.run(source.rows[place]) for place in places]
    finally:
        original.close()
        front.close()
    return before, [{name: answer[name] for name in outputs} for answer in given]


def _declared(source: Source, candidate: Candidate) -> dict[str, Any]:
    """What is declared about the tensor at the cut, where the model's inputs are ragged: as long as they are."""
    cut = candidate.cut
    like = next(iter(source.declared.ragged), None)
    if like is None or len(cut.shape) < 3:
        return {}
    axis = 1 if candidate.pooling.channels == len(cut.shape) - 1 else len(cut.shape) - 1
    return {
        FRONT: {"cut": {cut.tensor: {"axis": axis, "like": like}}},
        REST: {"ragged": {cut.tensor: {"axis": axis, "pad": 0}}},
    }
