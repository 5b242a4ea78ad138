"""Settings of the exits of a cascade, from cheap-to-dear records of labelled rows: which to try, and which are certified.

Settings are proposed on rows for that, in an order from safe to cheap, and certified on other rows, one after the other
until the first that fails (Learn then Test). So many are tried at the price of one, and a bad order costs settings, never
the promise.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trivet.errors import UserError
from trivet.spec.certified import CertifiedPoint, LossKind
from trivet.stats.isotonic import falling
from trivet.stats.proportion import paired_difference, proportion_interval
from trivet.stats.risk_control import rows_needed

Floats = NDArray[np.float64]
Thresholds = tuple[float, ...]

NEVER = 2.0  # no confidence reaches it
_DECIMALS = 6  # of a threshold in the certificate
_SAFER = (
    0.3,
    0.5,
    0.7,
    0.85,
)  # of the share that leaves at the first price: the first to be tested has to pass
_PRICES = np.geomspace(1e-3, 1.0, 60)  # accuracy paid for all of the last model's time
_ROUNDS = 3
_TRIED_OVER = (
    2.0  # of the loss allowed, as expected on the rows for proposing: nothing beyond is worth a test
)
_MOST_POINTS = 24


@dataclass(frozen=True, slots=True)
class Recorded:
    """What each stage of a cascade made of labelled rows.

    sure: confidence at each exit, shape (exits, rows).  right: whether the answer of each exit, and of the last model, is
    right, shape (exits + 1, rows).  said: what it is, as a number, the same shape.  costs: time from one exit to the next,
    the last model at the end, shape (exits + 1,).  full_cost: of a row that only the last model looks at.
    """

    sure: Floats
    right: NDArray[np.bool_]
    said: NDArray[np.int64]
    costs: Floats
    full_cost: float

    @property
    def num_rows(self) -> int:
        return len(self.right[0])

    def part(self, places: ArrayLike) -> "Recorded":
        chosen = np.asarray(places)
        return Recorded(
            self.sure[:, chosen], self.right[:, chosen], self.said[:, chosen], self.costs, self.full_cost
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one setting. left_at: the exit at which each row leaves (the number of exits: nowhere), shape (rows,).
    lost, gained: rows that only the last model, only the cascade, answers right."""

    left_at: NDArray[np.int64]
    lost: int
    gained: int
    changed: int
    cost: float

    @property
    def net_loss(self) -> float:
        return (self.lost - self.gained) / len(self.left_at)


def outcome(recorded: Recorded, thresholds: Thresholds) -> Outcome:
    """What the cascade makes of the rows with these thresholds."""
    num_exits = len(recorded.costs) - 1
    left_at = np.full(recorded.num_rows, num_exits)
    for place in reversed(range(num_exits)):
        left_at[recorded.sure[place] >= thresholds[place]] = place
    rows = np.arange(recorded.num_rows)
    right, full = recorded.right[left_at, rows], recorded.right[-1]
    changed = recorded.said[left_at, rows] != recorded.said[-1]
    cost = float(np.cumsum(recorded.costs)[left_at].mean())
    return Outcome(left_at, int((full & ~right).sum()), int((right & ~full).sum()), int(changed.sum()), cost)


def proposed(recorded: Recorded, max_loss: float) -> list[Thresholds]:
    """Settings worth a test, the safest first.

    At each exit a confidence is worth what rows of that confidence lost against the last model. A row leaves where that is
    less than the time it saves, at a price of time in accuracy; the price rises from setting to setting.
    """
    curves = [
        falling(sure, recorded.right[-1].astype(float) - right)
        for sure, right in zip(recorded.sure, recorded.right, strict=False)
    ]
    worth = np.array([curve.at(sure) for curve, sure in zip(curves, recorded.sure, strict=True)])
    found: list[Thresholds] = []
    for price in _PRICES.tolist():
        setting = _at_price(recorded, worth, price)
        if outcome(recorded, setting).net_loss > _TRIED_OVER * max_loss:
            break
        if any(one < NEVER for one in setting) and (not found or setting != found[-1]):
            found.append(setting)
    if not found:
        return []
    return _by_saving(recorded, [*_safer(recorded, found[0]), *found])


def _at_price(recorded: Recorded, worth: Floats, price: float) -> Thresholds:
    """The setting at which no row's leaving or going on would pay, found by going through the exits a few times."""
    num_exits = len(worth)
    thresholds = [NEVER] * num_exits
    for _ in range(_ROUNDS):
        left_at = outcome(recorded, tuple(thresholds)).left_at
        to_go = 0.0  # what a row that goes on still costs, in time
        for place in reversed(range(num_exits)):
            later = left_at > place + 1 if place + 1 < num_exits else np.ones(0, np.bool_)
            there = left_at > place
            share = later.sum() / max(1, there.sum()) if place + 1 < num_exits else 0.0
            to_go = recorded.costs[place + 1] + share * to_go
            pays = worth[place] <= price * to_go / recorded.full_cost
            sure = recorded.sure[place][pays & np.isfinite(recorded.sure[place])]
            thresholds[place] = _rounded(sure.min()) if len(sure) else NEVER
    return tuple(thresholds)


def _safer(recorded: Recorded, setting: Thresholds) -> list[Thresholds]:
    """Settings at which a part of the rows leaves that leave at `setting`."""
    found = []
    for share in _SAFER:
        thresholds = []
        for sure, threshold in zip(recorded.sure, setting, strict=True):
            leaving = np.sort(sure[sure >= threshold])
            place = round((1 - share) * len(leaving))
            thresholds.append(_rounded(leaving[place]) if place < len(leaving) else NEVER)
        found.append(tuple(thresholds))
    return found


def _rounded(threshold: float) -> float:
    return min(NEVER, float(np.round(threshold, _DECIMALS)))


def _by_saving(recorded: Recorded, settings: Sequence[Thresholds]) -> list[Thresholds]:
    """Each at least as free at every exit as the one before it, and cheaper."""
    ordered: list[Thresholds] = []
    for setting in settings:
        freer = tuple(map(min, setting, ordered[-1])) if ordered else setting
        if not ordered or freer != ordered[-1]:
            ordered.append(freer)
    costs = [outcome(recorded, setting).cost for setting in ordered]
    return [one for one, cost, before in zip(ordered, costs, [np.inf, *costs], strict=False) if cost < before]


def certified(
    recorded: Recorded,
    settings: Sequence[Thresholds],
    *,
    max_loss: float,
    confidence: float,
    loss: LossKind = "net",
) -> list[CertifiedPoint]:
    """The points that hold, all of them together, with probability `confidence`; at most some two dozen of them.

    Kept are those that a second sample of as many rows would find within the limit as well, with that probability; where
    none of these saves anything, all.

    Args: recorded: of rows by which no setting was chosen.  settings: the safest first, as `proposed`.
    Raises: UserError: too few rows to certify anything, and how many it takes.
    """
    least = rows_needed(max_loss, 1 - confidence)
    if least is None or recorded.num_rows < least:
        needs = (
            "more than can be had" if least is None else f"at least {least:,}, even if no answer gets worse"
        )
        raise UserError(
            f"{recorded.num_rows:,} rows for the certificate: a loss of at most {100 * max_loss:g} points with "
            f"{100 * confidence:g} % confidence needs {needs}; give more labelled rows, or allow more"
        )
    points: list[CertifiedPoint] = []
    confirmable = 0
    for setting in settings:
        point = _point(recorded, setting, 1 - confidence)
        if _risk(point, loss) > max_loss:
            break
        points.append(point)
        if _is_confirmable(recorded, setting, max_loss, 1 - confidence, loss):
            confirmable = len(points)
    if confirmable and points[confirmable - 1].saving > 0:
        points = points[:confirmable]
    if len(points) > _MOST_POINTS:
        kept = np.unique(np.linspace(0, len(points) - 1, _MOST_POINTS).round().astype(int))
        points = [points[place] for place in kept]
    return points


def _risk(point: CertifiedPoint, loss: LossKind) -> float:
    return point.risk_bound if loss == "net" else point.lost


def _is_confirmable(
    recorded: Recorded, setting: Thresholds, max_loss: float, delta: float, loss: LossKind
) -> bool:
    """Whether half of the rows, with half of the losses and gains, would have certified it.

    The difference of two samples' losses varies twice as much as one sample's: as that of a sample half as large.
    """
    found, n = outcome(recorded, setting), recorded.num_rows // 2
    lost, gained = -(-found.lost // 2), found.gained // 2
    if loss == "one-sided":
        return proportion_interval(lost, n, 1 - 2 * delta).high <= max_loss
    rows = np.arange(n)
    full = (rows < lost) | (rows >= lost + gained)
    return -paired_difference(full, rows >= lost, 1 - 2 * delta).low <= max_loss


def _point(recorded: Recorded, setting: Thresholds, delta: float) -> CertifiedPoint:
    found, n = outcome(recorded, setting), recorded.num_rows
    both_sides = 1 - 2 * delta  # of which one counts
    right = recorded.right[found.left_at, np.arange(n)]
    return CertifiedPoint(
        thresholds=setting,
        risk_bound=-paired_difference(recorded.right[-1], right, both_sides).low,
        saving=1 - found.cost / recorded.full_cost,
        rows=n,
        changed=proportion_interval(found.changed, n, both_sides).high,
        lost=proportion_interval(found.lost, n, both_sides).high,
    )
