"""Whether a figure of accuracy clears its floor, and how many rows that would take."""

import math

from trivet.catalog.records import Figure
from trivet.stats.proportion import proportion_interval

MAX_ROWS = 10_000_000


def clears(accuracy: Figure, floor: float, *, larger_is_better: bool = True) -> bool | None:
    """Whether the whole interval is on the right side of the floor; None: the floor lies within it, or it has none."""
    worst, best = (accuracy.low, accuracy.high) if larger_is_better else (accuracy.high, accuracy.low)
    sign = 1 if larger_is_better else -1
    if worst is not None and sign * worst >= sign * floor:
        return True
    if best is not None and sign * best < sign * floor:
        return False
    return None


def lowest_difference(drop: float, larger_is_better: bool) -> float:
    """The floor of a difference, where accuracy may get worse by `drop`; of errors a ceiling."""
    return -drop if larger_is_better else drop


def rows_to_clear(accuracy: float, floor: float) -> int | None:
    """The least number of rows of which a share `accuracy` right has an interval above the floor.

    None: no number does: the share is not above the floor, or it would take more than 10 million.
    The exact interval of a share (Clopper-Pearson, 95 %), rounded to the nearest possible share below.
    """
    if not 0 <= floor < accuracy <= 1:
        return None
    few, many = 1, 2
    while not _clears_with(many, accuracy, floor):
        few, many = many, many * 2
        if many > MAX_ROWS:
            return None
    # Whole numbers of right rows make the bound jump a little up and down: the last of the jumps is bisected to.
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if _clears_with(middle, accuracy, floor) else (middle, many)
    return many


def rows_in_words(
    accuracy: Figure, floor: float, *, num_rows: int | None, is_share: bool, larger_is_better: bool
) -> str:
    """How many rows an undecided floor needs, as a sentence's end; from the spread where the metric is no share."""
    needed = None
    if is_share:
        needed = rows_to_clear(accuracy.estimate, floor)
    else:
        needed = _rows_by_spread(accuracy, floor, num_rows, larger_is_better)
    have = "" if num_rows is None else f", there are {num_rows:,}"
    if needed is None:
        return f"{accuracy.estimate:.4g} itself is not on the right side of {floor:g}: more rows hardly help{have}"
    return f"about {needed:,} rows at the same {accuracy.estimate:.4g} would decide{have}"


def _clears_with(num_rows: int, accuracy: float, floor: float) -> bool:
    return proportion_interval(math.floor(accuracy * num_rows), num_rows).low >= floor


def _rows_by_spread(
    accuracy: Figure, floor: float, num_rows: int | None, larger_is_better: bool
) -> int | None:
    """The interval's half on the side of the floor shrinks with the square root of the rows."""
    worst = accuracy.low if larger_is_better else accuracy.high
    gap = (accuracy.estimate - floor) * (1 if larger_is_better else -1)
    if num_rows is None or worst is None or gap <= 0:
        return None
    return math.ceil(num_rows * (abs(accuracy.estimate - worst) / gap) ** 2)
