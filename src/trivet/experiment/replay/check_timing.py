"""Check (d): is a time what it was? The past cannot be interleaved with the present, so its uncertainty is larger.

Both runs had the same arrivals and inputs, so windows of the same place in them are paired, and what the schedule does
to them cancels. What remains is the noise inside the runs, which the spread of the pairs shows, and the machine's mood,
which is shared by all windows of a run and which no spread inside it shows. These stand for the mood:

- the speed of the cores while each run was measured, where all of them remember it: what of a time follows it is taken
  out, with the error of that (`steadying`);
- else the speed of a fixed loop, probed before and after the runs: times are divided by it, and how far the probes before
  and after a run are apart is the error of that division;
- means over the windows are trimmed by a tenth at either end: what held the machine up in two windows of twenty
  decides nothing;
- a share of the spread of the windows' medians (`MOOD`, `STEADIED_MOOD`) or of what was taken out (`LEFT`), and never
  less than `MIN_MOOD`: a machine that wanders by several per cent does not come back to the same place either.

What tells more on such a machine is a run that was measured in turn with the yardstick (`beside`).

The outcome is `same` where the quantities are equivalent within the margin (two one-sided tests at 5 %), `differs`
where the 95 % interval lies beyond the margin and each repeat alone is beyond it too, and else `cannot tell`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trivet.experiment.replay.checks import Change, Check, Status
from trivet.experiment.replay.steadying import Pace, Steadied, steadied
from trivet.experiment.replay.windows import (
    ENGINE,
    MIN_WINDOWS,
    P50,
    P99,
    Quantity,
    commonest_batch,
    num_windows,
    phase_medians,
    window_values,
)
from trivet.spec.row import RowColumns
from trivet.stats import student_t

MIN_MOOD = 0.01  # log scale: between runs of an unchanged server on a quiet machine
MOOD = 0.5  # of the spread of one run's windows
# The same where the cores' speed is taken out: more of what is left is the windows' own noise.
STEADIED_MOOD = 0.4
# And of what is taken out of single seconds: a neighbour slows the service by another measure than the timed piece. Runs
# of a minute of which 10 to 14 % were taken out differed by 1.6 to 4.5 % (decision 42).
LEFT = 0.25
TAIL_MOOD = 2.0  # a mood moves the p99 so many times as far as the median
TRIMMED = 0.1  # of the windows at either end
EQUIVALENT, DIFFERENT = 0.95, 0.975  # one-sided levels

Logs = NDArray[np.float64]  # log ratios of paired windows


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast the fixed loop ran before and after a run; in any unit, the same for all."""

    before: float
    after: float

    @property
    def log(self) -> float:
        return (math.log(self.before) + math.log(self.after)) / 2

    @property
    def error(self) -> float:
        """Half the distance: where between its ends the run's own speed lay is not known."""
        return abs(math.log(self.before / self.after)) / 2


@dataclass(frozen=True, slots=True)
class Timed:
    """The measured rows of one run, without warm-up; the machine's speed around it, and its cores' pace about each row.

    speed, pace: None where they were not probed.
    blocks, starts: which block each row is of, and which start of the server: shape (rows,). None: there was one.
    """

    rows: RowColumns
    speed: Speed | None = None
    pace: Pace | None = None
    blocks: NDArray[np.int64] | None = None
    starts: NDArray[np.int64] | None = None


def check_timing(quantity: Quantity, then: Timed, repeats: Sequence[Timed]) -> Check:
    """Equivalence of one quantity of the recorded run and its repeats, all of one workload, seed and length."""
    runs = (then, *repeats)
    cores = steadied(quantity, [timed.rows for timed in runs], [timed.pace for timed in runs])
    shifts = _shifts(quantity, then, repeats, cores)
    if isinstance(shifts, str):
        return too_few(quantity, shifts)
    # The windows' tails are too few requests each to show a mood: it is read off the medians.
    medians = _shifts(P50, then, repeats, cores) if quantity is P99 else shifts
    share = MOOD if cores is None else STEADIED_MOOD
    mood = _mood(shifts if isinstance(medians, str) else medians, share)
    if cores is not None:
        mood = max(mood, LEFT * cores.taken_out)
    mood *= TAIL_MOOD if quantity is P99 else 1
    if cores is not None:
        explained = f"; its cores were x{math.exp(cores.explained):.3f} as slow, which is taken out"
        return _judged(quantity.name, quantity, shifts, mood, cores.error, explained)
    errors = [timed.speed.error for timed in runs if timed.speed is not None and quantity.is_time]
    probes = math.sqrt(2 * float(np.mean(np.square(errors)))) if errors else 0.0
    return _judged(quantity.name, quantity, shifts, mood, probes)


def check_ratio(
    quantity: Quantity, sides: str, then: tuple[Timed, Timed], repeats: Sequence[tuple[Timed, Timed]]
) -> Check:
    """Equivalence of how many times the second run of a comparison is the first: what other hardware can reproduce.

    The two were measured in turn, so that a mood is shared by both and needs no probe.
    """
    num = num_windows(quantity, [timed.rows for pair in (then, *repeats) for timed in pair])
    if num < MIN_WINDOWS:
        return too_few(quantity, f"{sides}: {_need(quantity)}")
    first = _ratios(quantity, then, num)
    shifts = [_finite(_ratios(quantity, repeat, num) - first) for repeat in repeats]
    if min(len(shift) for shift in shifts) < MIN_WINDOWS:
        return too_few(quantity, f"{sides}: too few requests with this time, then or now")
    return _judged(f"{quantity.name}, {sides}", quantity, shifts, MIN_MOOD, 0.0)


def _shifts(
    quantity: Quantity, then: Timed, repeats: Sequence[Timed], cores: Steadied | None
) -> list[Logs] | str:
    """Log ratios of paired windows for each repeat, the machine's speed taken out; or why there are none."""
    num = num_windows(quantity, [then.rows, *(repeat.rows for repeat in repeats)])
    if num < MIN_WINDOWS:
        return _need(quantity)
    size = commonest_batch(then.rows)
    runs = (then, *repeats)
    slowed = cores.slowed if cores is not None else (None,) * len(runs)
    first, *others = (
        np.log(window_values(quantity, timed.rows, num, size, taken_out))
        for timed, taken_out in zip(runs, slowed, strict=True)
    )
    around = [0.0 if cores is not None else _explained(quantity, then, repeat) for repeat in repeats]
    shifts = [_finite(other - first - speed) for other, speed in zip(others, around, strict=True)]
    few = min(len(shift) for shift in shifts) < MIN_WINDOWS
    return "too few requests with this time, then or now" if few else shifts


def _need(quantity: Quantity) -> str:
    return f"too few requests; a run needs {MIN_WINDOWS * quantity.min_rows:,}"


def slowest_phase(then: RowColumns, now: RowColumns) -> Change | None:
    """The phase whose median moved most, of those that both runs tell; None where they tell none."""
    before, after = phase_medians(then), phase_medians(now)
    common = sorted(before.keys() & after.keys())
    if not common:
        return None
    phase = max(common, key=lambda name: abs(after[name] - before[name]))
    return Change(f"time in {phase}", f"{before[phase] / 1e6:.3f} ms", f"{after[phase] / 1e6:.3f} ms")


def _ratios(quantity: Quantity, pair: tuple[Timed, Timed], num: int) -> Logs:
    first, second = (window_values(quantity, timed.rows, num, commonest_batch(timed.rows)) for timed in pair)
    return np.asarray(np.log(second / first), np.float64)


def _explained(quantity: Quantity, then: Timed, now: Timed) -> float:
    """The log ratio that the machine's speed alone explains."""
    if not quantity.is_time or then.speed is None or now.speed is None:
        return 0.0
    return then.speed.log - now.speed.log


def _finite(shift: Logs) -> Logs:
    return shift[np.isfinite(shift)]


def too_few(quantity: Quantity, why: str) -> Check:
    """A server that does not tell its phases has no engine time, and that is no fault of the run."""
    status: Status = "not compared" if quantity is ENGINE else "cannot tell"
    return Check("timing", quantity.name, status, why)


def _mood(shifts: Sequence[Logs], share: float) -> float:
    """How far apart two runs may be by nothing but the machine; a pair's spread is sqrt(2) times that of one window."""
    return max(MIN_MOOD, share * _spread(shifts) / math.sqrt(2))


def _spread(shifts: Sequence[Logs]) -> float:
    """Such that its part by the root of the number of windows is the error of a trimmed mean: that of winsorised values
    over the share that is kept.   Source: Tukey & McLaughlin (1963).
    """
    variances = []
    for shift in shifts:
        cut = _num_trimmed(len(shift))
        ordered = np.sort(shift)
        variances.append(
            np.clip(shift, ordered[cut], ordered[-1 - cut]).var(ddof=1) / (1 - 2 * cut / len(shift)) ** 2
        )
    return float(np.sqrt(np.mean(variances)))


def _centre(shift: Logs) -> float:
    """The trimmed mean: a few windows in which somebody held up the machine do not decide."""
    cut = _num_trimmed(len(shift))
    return float(np.sort(shift)[cut : len(shift) - cut].mean())


def _num_trimmed(num: int) -> int:
    """At either end."""
    return int(TRIMMED * num)


def _judged(
    name: str, quantity: Quantity, shifts: Sequence[Logs], mood: float, probes: float, explained: str = ""
) -> Check:
    """Args: probes: standard error of the speed that was taken out, log scale."""
    error, degrees = _error(shifts, mood, probes)
    parts = f"{len(shifts)} x {len(shifts[0])} windows{explained}"
    return judged(name, quantity, [_centre(shift) for shift in shifts], error, degrees, parts)


def judged(
    name: str, quantity: Quantity, shifts: Sequence[float], error: float, degrees: float, parts: str
) -> Check:
    """The verdict about one quantity.

    Args: shifts: by how much it changed in each repeat, log scale.  error: standard error of their mean, with so many
    degrees of freedom.  parts: what they are means of, for the reader.
    """
    estimate = float(np.mean(shifts))
    bound = math.log(1 + quantity.margin)
    reach = student_t.quantile(EQUIVALENT, degrees) * error
    status: Status = "cannot tell"
    if abs(estimate) + reach < bound:
        status = "same"
    elif abs(estimate) - student_t.quantile(DIFFERENT, degrees) * error > bound and all(
        shift * estimate > 0 and abs(shift) > bound for shift in shifts
    ):
        status = "differs"
    ratio = f"x{math.exp(estimate):.3f}"
    interval = f"{ratio} [{math.exp(estimate - reach):.3f}, {math.exp(estimate + reach):.3f}]"
    changed = (Change(name, "x1", ratio),) if status == "differs" else ()
    detail = f"{interval}, margin {quantity.margin:.0%}, {parts}"
    return Check("timing", name, status, detail, changed, once_more=status != "same")


def _error(shifts: Sequence[Logs], mood: float, probes: float) -> tuple[float, int]:
    """The standard error of the mean log ratio, and its degrees of freedom.

    The recorded run has one mood, each repeat one of its own.
    """
    num_repeats, num = len(shifts), min(len(shift) for shift in shifts)
    within = _spread(shifts) ** 2 / (num_repeats * num)
    between = mood**2 * (1 + 1 / num_repeats)
    return math.sqrt(within + between + probes**2), num - 2 * _num_trimmed(num) - 1
