"""Eight bits with a certified bound: the worst nodes stay in fp32, as many as it takes.

Nodes are ranked on rows for fitting; how many of them keep fp32 is searched there, too. What the search looked at is then
certified on rows that nothing was chosen by, the safest candidate first, until the first that fails.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from trivet.engine.onnx import OnnxEngine
from trivet.stats.risk_control import learn_then_test, rows_needed
from trivet.variants._models import MODEL_FILE, Model, write_model
from trivet.variants.builder import Built, Say
from trivet.variants.errors import VariantError
from trivet.variants.int8 import (
    NOT_ONNX,
    Percentile,
    Rows,
    activations,
    calibration_rows,
    is_onnx,
    quantizable,
    spread,
)
from trivet.variants.quantizing import Form, Quantizer, Weights, chosen_weights, products
from trivet.variants.ranges import Method, ranges_of
from trivet.variants.ranking import ranked
from trivet.variants.source import Arrays, Source

Share = Annotated[float, msgspec.Meta(gt=0, lt=1)]

_RANKING_ROWS = 8  # a ratio of sums over all of a tensor's elements: few rows tell it
_SEARCH_ROWS = 300


class Int8Certified(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """max_loss: how much worse than the original at most, in the metric's unit.  confidence: that this is true.

    form: auto: static where there are convolutions, else dynamic.  Others as of int8-static.
    """

    name: ClassVar[str] = "int8-certified"
    answers_change: ClassVar[bool] = True
    max_loss: Share = 0.01
    confidence: Share = 0.95
    form: Literal["auto", "dynamic", "static"] = "auto"
    calibration_rows: Rows = 200
    certification_rows: Rows = 3000
    method: Method = "percentile"
    percentile: Percentile = 99.99
    weights: Weights = "auto"
    per_channel: bool = True

    def applies(self, source: Source) -> str:
        if not is_onnx(source):
            return NOT_ONNX
        if source.judge is None and source.decode is None:
            return (
                "a bound is certified on rows: declare `data:`, and `decode:` with a `metric:` whose value for one row "
                "lies between 0 and 1"
            )
        least = rows_needed(self.max_loss, 1 - self.confidence)
        num = len(source.certification)
        if least is not None and num < least:
            return (
                f"{num} rows for certification: at most {100 * self.max_loss:g} points worse with "
                f"{100 * self.confidence:g} % confidence needs at least {least:,}, even if no answer gets worse"
            )
        return "" if len(source.calibration) else "no rows to rank nodes by: declare more `data:`"

    def build(self, source: Source, folder: Path, say: Say) -> Built:
        form = self._form(source)
        model = quantizable(source, form)
        quantizer = self._quantizer(source, model, form, say)
        nodes = products(model, form)
        rows = calibration_rows(source, _RANKING_ROWS)
        order = [name for name, _ in ranked(model, nodes, rows, quantizer)]
        trial = _Trial(source, model, order, quantizer, folder)
        searched = search(len(order), self.max_loss, trial.searched_loss)
        say(f"searched {len(searched)} of {len(order)} numbers of products in fp32; certifying")
        places = spread(source.certification, self.certification_rows)
        num_kept, tried = self._certified(searched, trial, places)
        write_model(trial.model(num_kept), folder / MODEL_FILE)
        promise = trial.promise(self.max_loss, self.confidence, len(places))
        notes = (
            promise,
            f"{num_kept} of {len(order)} products stay in fp32; {tried} candidates were certified in turn",
        )
        settings = {
            "form": form,
            "weights": quantizer.weights,
            "fp32": sorted(order[:num_kept]),
            "certified_on": len(places),
        }
        return Built((MODEL_FILE,), notes, settings)

    def _form(self, source: Source) -> Form:
        if self.form != "auto":
            return self.form
        from trivet.variants._models import read_model

        has_convolutions = any(node.op_type == "Conv" for node in read_model(source.path).graph.node)
        return "static" if has_convolutions else "dynamic"

    def _quantizer(self, source: Source, model: Model, form: Form, say: Say) -> Quantizer:
        ranges = None
        if form == "static":
            rows = calibration_rows(source, self.calibration_rows)
            say(f"calibrating on {len(rows)} rows")
            ranges = ranges_of(model, activations(model), rows, self.method, self.percentile)
        return Quantizer(form, chosen_weights(self.weights), self.per_channel, ranges)

    def _certified(self, searched: Sequence[int], trial: "_Trial", places: Sequence[int]) -> tuple[int, int]:
        """The certified candidate with the fewest products in fp32, and how many were tried.

        Raises: VariantError: not even the safest is certified.
        """
        table: list[NDArray[np.float64]] = []
        delta = 1 - self.confidence
        for num_kept in searched:
            table.append(trial.losses(num_kept, places))
            if len(learn_then_test(np.array(table), max_risk=self.max_loss, delta=delta)) < len(table):
                break
        num_certified = len(learn_then_test(np.array(table), max_risk=self.max_loss, delta=delta))
        if not num_certified:
            raise VariantError(self._why_not(searched[0], trial, table[0]))
        return searched[num_certified - 1], len(table)

    def _why_not(self, num_kept: int, trial: "_Trial", losses: NDArray[np.float64]) -> str:
        rate = float(losses.mean())
        needed = rows_needed(self.max_loss, 1 - self.confidence, rate)
        text = (
            f"not certified: with {num_kept} of {len(trial.order)} products in fp32 the loss on {len(losses):,} rows is "
            f"{100 * rate:.2f} points, and at most {100 * self.max_loss:g} are allowed"
        )
        return f"{text}; with such a loss it needs about {needed:,} rows" if needed else text


def search(num_nodes: int, max_loss: float, loss_of: Callable[[int], float]) -> list[int]:
    """Numbers of nodes in fp32 that are worth certifying, the safest first; never all of them, which is the original.

    By bisection for the fewest whose loss is within the limit, as if the loss fell with their number: where it does not,
    the answer is a worse candidate, never a broken promise.
    """
    if loss_of(0) <= max_loss:
        tried = {0}
        low = 0
    else:
        low, high, tried = 0, num_nodes, {0}
        while high - low > 1:
            middle = (low + high) // 2
            tried.add(middle)
            if loss_of(middle) <= max_loss:
                high = middle
            else:
                low = middle
        low = high
    # What just passed here may fail there: safer ones, ever nearer to it, stand in the sequence first.
    apart = num_nodes - low
    tried |= {low + apart * 7 // 8, low + apart * 3 // 4}
    while apart > 1:
        apart //= 2
        tried.add(low + apart)
    return sorted({kept for kept in {*tried, low} if kept < num_nodes}, reverse=True)


@dataclass(slots=True)
class _Trial:
    """Candidates of one model, run on rows beside the original."""

    source: Source
    unquantized: Model
    order: list[str]
    quantizer: Quantizer
    folder: Path
    originals: dict[int, Arrays] = field(default_factory=dict)

    def model(self, num_kept: int) -> Model:
        return self.quantizer.quantized(self.unquantized, self.order[num_kept:])

    def searched_loss(self, num_kept: int) -> float:
        return float(self.losses(num_kept, spread(self.source.calibration, _SEARCH_ROWS)).mean())

    def losses(self, num_kept: int, places: Sequence[int]) -> NDArray[np.float64]:
        """Of each row: how much worse than the original, in [0, 1]; never better, so that gains hide no losses."""
        missing = [place for place in places if place not in self.originals]
        self.originals |= zip(missing, self._answers(self.source.path, missing), strict=True)
        path = self.folder / "candidate.onnx"
        write_model(self.model(num_kept), path)
        answers = self._answers(path, places)
        path.unlink()
        return paired_losses(self.source, places, [self.originals[place] for place in places], answers)

    def _answers(self, path: Path, places: Sequence[int]) -> list[Arrays]:
        """One row at a time: a batch would share the scale of its activations."""
        if not places:
            return []
        engine = OnnxEngine(path)
        try:
            return [engine.run(self.source.rows[place]) for place in places]
        finally:
            engine.close()

    def promise(self, max_loss: float, confidence: float, num: int) -> str:
        start, end = (
            f"with {100 * confidence:g} % confidence at most {100 * max_loss:.1f}",
            f"on {num:,} rows",
        )
        if self.source.judge is not None:
            return f"{start} points worse than the original, {end}"
        return f"{start} % of answers differ from the original's, {end} without labels"


def paired_losses(
    source: Source, places: Sequence[int], before: Sequence[Arrays], after: Sequence[Arrays]
) -> NDArray[np.float64]:
    """By the service's metric; without one, or without labels, an answer that is decoded differently has lost all."""
    if source.judge is not None:
        first, second = (np.asarray(source.judge(side, places), np.float64) for side in (before, after))
        return np.clip(first - second, 0.0, 1.0)
    decode = source.decode
    assert decode is not None  # `applies` has asked
    pairs = zip(before, after, strict=True)
    return np.array([float(not _equal(decode(one), decode(other))) for one, other in pairs], np.float64)


def _equal(one: object, other: object) -> bool:
    return bool(np.array_equal(np.asarray(one, object), np.asarray(other, object)))
