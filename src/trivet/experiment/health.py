"""What is wrong with a target, seen from what came back: nobody there, gone midway, or answers that are none."""

from collections import Counter

import numpy as np

from trivet.experiment.measured import Measured
from trivet.experiment.side import Side
from trivet.load.http import BadAnswerError

MIN_SILENT, SILENT_SHARE = (
    10,
    0.1,
)  # so many requests in a row at the end, and so large a part of all, without an answer
NUM_LOOKED_AT = 100
MAX_KEPT_BYTES = 64 * 2**20  # of answers kept during a block, to look at some of them after it


def trouble(side: Side, measured: Measured) -> str:
    """Empty, or why this block cannot be taken for a measurement of the side."""
    ended = side.started.end()
    if ended:
        return f"{side.label}: {ended}"
    silence = _silence(measured)
    if silence:
        return f"{side.label}: {silence}"
    garbage = _garbage(side, measured)
    return f"{side.label}: {garbage}" if garbage else ""


def _silence(measured: Measured) -> str:
    rows = measured.rows
    if not rows.num_rows:
        return ""
    answered = rows.words["outcome"].equal("ok", "late")
    if not answered.any():
        return (
            f"none of {rows.num_rows} requests got a result; most often: {_most_often(measured, ~answered)}"
        )
    heard = rows["status"] != 0
    num_silent = rows.num_rows - 1 - int(np.flatnonzero(heard)[-1])
    if measured.record.partial or num_silent < max(MIN_SILENT, SILENT_SHARE * rows.num_rows):
        return ""
    last = rows.num_rows - 1 - num_silent
    after_s = (rows["done_ns"][last] - rows["intended_ns"][0]) / 1e9
    silent = np.arange(rows.num_rows) > last
    return (
        f"it stopped answering after {after_s:.1f} s: the last {num_silent} of {rows.num_rows} requests got no answer; "
        f"most often: {_most_often(measured, silent)}"
    )


def _most_often(measured: Measured, chosen: "np.typing.NDArray[np.bool_]") -> str:
    """The commonest outcome of the chosen rows, with its status or reason."""
    rows = measured.rows.select(chosen)
    words = zip(
        rows.words["outcome"].decode(), rows.words["reason"].decode(), rows["status"].tolist(), strict=True
    )
    (outcome, reason, status), _ = Counter(words).most_common(1)[0]
    details = ", ".join(filter(None, (f"status {status}" if status else "", str(reason))))
    return f"{outcome} ({details})" if details else str(outcome)


def _garbage(side: Side, measured: Measured) -> str:
    """Looks at some of the answers, spread over the block, where they were kept."""
    rows = measured.rows
    answered = np.flatnonzero(rows.words["outcome"].equal("ok", "late")).tolist()
    kept = [i for i in answered if rows.blobs["answer"][i]]
    step = max(1, len(kept) // NUM_LOOKED_AT)
    looked_at = kept[::step]
    bad: list[str] = []
    for i in looked_at:
        try:
            side.dialect.outputs(int(rows["status"][i]), {}, rows.blobs["answer"][i])
        except BadAnswerError as error:
            bad.append(str(error))
    if not bad:
        return ""
    return f"{len(bad)} of {len(looked_at)} answers that were looked at are no results, whatever their status: {bad[0]}"
