"""Whether a variant pays: a plain verdict from its times and its answers beside those of the original."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from trivet.catalog.records import Figure
from trivet.experiment.variants.variant_times import Times, best_rows, usual_length
from trivet.spec.accuracy_drop import drop_in_words
from trivet.stats.interval import Ratio
from trivet.stats.paired import ratio_of_paired_blocks

# Two starts of one program differ by about this much: less is no gain and no loss.
MIN_EFFECT = 0.02
_NUM_BLOCKS = 8


@dataclass(frozen=True, slots=True)
class Speed:
    """How many times as fast as the original: one row at a time, and at the best batch of each.

    one_ns, best_ns: medians of the variant, a batch of one row and a row of its best batch.
    """

    at_one: Ratio
    at_best: Ratio
    best_batch: int
    one_ns: float
    best_ns: float


@dataclass(frozen=True, slots=True)
class Verdict:
    word: Literal["faster", "no gain", "worse"]
    reason: str
    in_search: bool


def speed(original: Times, variant: Times) -> Speed:
    """At the usual length; samples of both pair by their round."""
    length = usual_length(original)
    before, after = original[length], variant[length]
    rows_before, rows_after = best_rows(before), best_rows(after)
    return Speed(
        at_one=_ratio(before[1], after[1], 1.0),
        at_best=_ratio(before[rows_before], after[rows_after], rows_after / rows_before),
        best_batch=rows_after,
        one_ns=float(np.median(after[1])),
        best_ns=float(np.median(after[rows_after])) / rows_after,
    )


def _ratio(before: Sequence[int], after: Sequence[int], factor: float) -> Ratio:
    """Of medians of blocks of rounds: a round that something else of the machine fell into does not count alone."""
    num = min(len(after), len(before))
    num_blocks = min(_NUM_BLOCKS, num // 2)
    found = ratio_of_paired_blocks(_medians(before[:num], num_blocks), _medians(after[:num], num_blocks))
    return Ratio(found.estimate * factor, found.low * factor, found.high * factor, found.num_blocks)


def _medians(samples: Sequence[int], num_blocks: int) -> list[float]:
    return [float(np.median(part)) for part in np.array_split(np.asarray(samples), num_blocks)]


def verdict(
    made: Speed | None,
    *,
    accuracy: Figure | None,
    difference: Figure | None,
    floor: float | None,
    drop: float | None = None,
    answers_change: bool,
    smaller_is_better: bool,
) -> Verdict:
    """Faster, no gain on this processor, or worse; only what is faster is searched.

    Worse: slower; certainly beyond the accuracy that is promised; or with worse answers for nothing.
    Args: made: None: its speed is not that of one engine.  floor: the accuracy that the service promises.
    drop: how much worse it may get.
    """
    if accuracy is not None and floor is not None and _is_beyond(accuracy, floor, smaller_is_better):
        return Verdict("worse", f"its answers are beyond the promised {floor:g}: {accuracy}", in_search=False)
    if difference is not None and drop is not None:
        least = drop if smaller_is_better else -drop
        if _is_beyond(difference, least, smaller_is_better):
            words = f"it loses more than the {drop_in_words(drop)} that are accepted: {difference}"
            return Verdict("worse", words, in_search=False)
    changed = _answers_in_words(answers_change, accuracy, difference)
    if made is None:
        return Verdict("faster", f"its time depends on the request; {changed}", in_search=True)
    words = f"{made.at_one.estimate:.2f} times as fast alone, {made.at_best.estimate:.2f} times at batch {made.best_batch}"
    if made.at_one.low > 1 + MIN_EFFECT or made.at_best.low > 1 + MIN_EFFECT:
        return Verdict("faster", f"{words}; {changed}", in_search=True)
    if made.at_one.high < 1 - MIN_EFFECT and made.at_best.high < 1 - MIN_EFFECT:
        return Verdict("worse", f"slower: {words}; {changed}", in_search=False)
    if difference is not None and _is_certainly_worse(difference, smaller_is_better):
        return Verdict(
            "worse", f"no gain on this processor for worse answers: {words}; {changed}", in_search=False
        )
    return Verdict("no gain", f"no gain on this processor: {words}; {changed}", in_search=False)


def _is_beyond(accuracy: Figure, floor: float, smaller_is_better: bool) -> bool:
    bound = accuracy.low if smaller_is_better else accuracy.high
    return bound is not None and (bound > floor if smaller_is_better else bound < floor)


def _is_certainly_worse(difference: Figure, smaller_is_better: bool) -> bool:
    bound = difference.low if smaller_is_better else difference.high
    return bound is not None and (bound > 0 if smaller_is_better else bound < 0)


def _answers_in_words(answers_change: bool, accuracy: Figure | None, difference: Figure | None) -> str:
    if not answers_change:
        return "the same answers"
    if difference is not None:
        return f"answers differ by {difference}"
    return "answers not judged" if accuracy is None else f"answers: {accuracy}"
