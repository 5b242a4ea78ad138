"""Checks (b) and (c): are the answers what they were, bit by bit or by what they mean?"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivet.experiment.replay.checks import Change, Check, Status
from trivet.judge.equality import ATOL, RTOL, compare_answers

Answer = Mapping[str, NDArray[Any]]  # the outputs of one request, by name

# A batch adds up in another order: a decision that hangs on the last bits may flip under load. Up to this share that
# says nothing where the answers of single requests are the same.
MAX_FLIPS = 0.01
MIN_ANSWERED = (
    0.5  # of the labelled rows: a server that refuses more than it answers is not compared by decisions
)
_SHOWN = 3


def check_answers(
    then: Sequence[Answer] | None, now: Sequence[Answer] | None, *, bitwise: bool, bf16: Collection[str] = ()
) -> Check:
    """(b) The answers to the same inputs, each asked alone.

    Args: bitwise: processor and libraries are the same, so every bit must be; else floats within the tolerance within
    which batched and single answers count as the same.
    """
    if then is None or now is None:
        missing = "the recorded run" if then is None else "the replay"
        return Check("answers", "answers", "not compared", f"{missing} kept no answers of single requests")
    if len(then) != len(now):
        change = Change("answers", f"{len(then)} recorded", f"{len(now)} came")
        return Check("answers", "answers", "differs", "not as many answers as were recorded", (change,))
    if bitwise:
        different = [row for row, pair in enumerate(zip(then, now, strict=True)) if not _identical(*pair)]
        how = "identical bit by bit"
    else:
        pairs = enumerate(zip(then, now, strict=True))
        different = [row for row, (a, b) in pairs if not compare_answers(b, a, bf16=bf16).same]
        how = f"the same within rtol {RTOL:g} and atol {ATOL:g}"
    if not different:
        return Check("answers", "answers", "same", f"{len(then):,} answers, {how}")
    first = different[0]
    found = compare_answers(now[first], then[first], bf16=bf16)
    where = ", ".join(map(str, different[:_SHOWN])) + (" ..." if len(different) > _SHOWN else "")
    detail = (
        f"{len(different):,} of {len(then):,} answers are not {how} (inputs {where}); input {first}: {found}"
    )
    change = Change("answers", f"{len(then):,} recorded", f"{len(different):,} differ")
    return Check("answers", "answers", "differs", detail, (change,))


def check_decisions(
    then: Sequence[Any] | None, now: Sequence[Any] | None, *, answers_are_same: bool
) -> Check:
    """(c) What the answers under load mean for each labelled row, as it was decoded then and now.

    Args: then, now: None for a row that got no answer: a refusal is no decision, and hides what it would have been.
    answers_are_same: what (b) found.
    """
    if then is None or now is None:
        missing = "the recorded run" if then is None else "the replay"
        return _decisions("not compared", f"{missing} has no decoded answers under load")
    if len(then) != len(now):
        change = Change("decisions", f"of {len(then):,} rows", f"of {len(now):,} rows")
        return _decisions("differs", "not as many decisions as were recorded", change)
    rows = [row for row in range(len(then)) if then[row] is not None and now[row] is not None]
    if len(rows) < MIN_ANSWERED * len(then):
        return _decisions("cannot tell", f"only {len(rows):,} of {len(then):,} rows were answered both times")
    flipped = [row for row in rows if not same_prediction(then[row], now[row])]
    if not flipped:
        unanswered = f"; {len(then) - len(rows):,} got none" if len(rows) < len(then) else ""
        return _decisions("same", f"{len(rows):,} answers under load mean what they meant{unanswered}")
    first = flipped[0]
    detail = (
        f"{len(flipped):,} of {len(rows):,} answers under load mean something else, first of row {first}: "
        f"{now[first]!r} instead of {then[first]!r}"
    )
    if answers_are_same and len(flipped) <= MAX_FLIPS * len(rows):
        return _decisions("cannot tell", f"{detail}; asked alone they are the same")
    change = Change("decisions", f"of {len(rows):,} rows", f"{len(flipped):,} differ")
    return _decisions("differs", detail, change)


def _decisions(status: Status, detail: str, *changes: Change) -> Check:
    return Check("decisions", "decisions", status, detail, changes)


def same_prediction(then: Any, now: Any) -> bool:
    """Classes and words are equal or not; numbers with a fraction and vectors of them within the tolerance of floats."""
    first, second = np.asarray(then), np.asarray(now)
    if np.issubdtype(first.dtype, np.floating) and np.issubdtype(second.dtype, np.floating):
        return first.shape == second.shape and bool(np.allclose(second, first, RTOL, ATOL, equal_nan=True))
    return bool(np.array_equal(first, second))


def _identical(then: Answer, now: Answer) -> bool:
    return then.keys() == now.keys() and all(
        then[name].dtype == now[name].dtype
        and then[name].shape == now[name].shape
        and _bits(then[name]) == _bits(now[name])
        for name in then
    )


def _bits(array: NDArray[Any]) -> Any:
    """Bytes tell -0 from 0 and one NaN from another; objects have none of their own."""
    return array.tolist() if array.dtype.hasobject else np.ascontiguousarray(array).tobytes()
