"""What several visits to the engines tell together: times by size, and how fast the machine was from moment to moment.

Each visit runs one size for some hundredths of a second. How long its batches took beside the size's usual time, of all
visits, is the machine's pace then; what is left within the visit are the engine's residuals. A live server's batches tell
the same. Of one batch alone nobody can tell which of both it was: a pace is the median of several.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from trivet.experiment.simulating.engine_points import EngineTimes
from trivet.experiment.simulating.live_points import LivePoint
from trivet.experiment.simulating.simulated import stage_key
from trivet.simulate.profile import ModelTimes
from trivet.spec.configuration import Configuration

PACE_NS: Final = 10_000_000  # of the recorded stretches: a visit takes about as long
_FEWEST: Final = 8  # batches of one size: their median is what is usual
_TOGETHER: Final = 3  # batches that tell a pace: one that took seven times as long does not move their median
_DIGITS: Final = 4
_T = TypeVar("_T")


class _Size(NamedTuple):
    stage: int
    length: int
    rows: int


class _Visit(NamedTuple):
    size: _Size
    times: list[int]


def joined(
    configuration: Configuration, passes: Sequence[EngineTimes]
) -> tuple[dict[str, ModelTimes], list[list[float]]]:
    """Times by key, those of later passes behind the earlier ones'; and a stretch of the machine's pace for each pass, empty
    where that was too short.
    """
    visits = [_visits(one) for one in passes]
    samples: dict[_Size, list[int]] = {}
    for visit in (visit for one in visits for visit in one):
        samples.setdefault(visit.size, []).extend(visit.times)
    usual = {size: max(1.0, float(np.median(times))) for size, times in samples.items()}
    levels = [_levels(one, usual) for one in visits]
    paces: dict[_Size, list[float]] = {}
    for visit, level in (
        pair for both in zip(visits, levels, strict=True) for pair in zip(*both, strict=True)
    ):
        paces.setdefault(visit.size, []).extend([level] * len(visit.times))
    models = {
        stage_key(configuration, index): ModelTimes(
            samples=_by_length(samples, index),
            paces=_by_length(paces, index),
            same=first.same,
            batches=first.batches,
        )
        for index, first in passes[0].stages.items()
        if first.times  # none of another server
    }
    return models, [_stretch(one, found) for one, found in zip(visits, levels, strict=True)]


def live_stretches(points: Sequence[LivePoint]) -> list[list[float]]:
    """Of each of several points of one kind: batches over the median of all that had as many rows."""
    rows = np.concatenate([point.column("batch_size") for point in points])
    times_ns = np.concatenate([point.column("compute_ns") for point in points])
    usual = {
        int(size): float(np.median(times_ns[rows == size]))
        for size in np.unique(rows)
        if (rows == size).sum() >= _FEWEST
    }
    found: list[list[float]] = []
    for point in points:
        sizes, done_ns = point.column("batch_size"), point.column("done_ns")
        known = np.isin(sizes, list(usual))
        if not known.any():
            found.append([])
            continue
        expected = np.array([usual[size] for size in sizes[known].tolist()])
        order = np.argsort(done_ns[known], kind="stable")
        levels = _of_neighbours((point.column("compute_ns")[known] / np.maximum(expected, 1))[order])
        steps = (done_ns[known][order] - done_ns[known].min()) // PACE_NS
        found.append(_medians(steps, levels))
    return found


def speeds_of(visits: Sequence[Sequence[Sequence[float]]]) -> list[float]:
    """How fast the machine was in each visit of several stretches, relative to all: so a run may differ from a profile.

    A machine that wanders does so from minute to minute about as much as within seconds, and only those are seen.
    """
    means = [
        float(np.mean(levels)) for visit in visits if (levels := [one for part in visit for one in part])
    ]
    usual = float(np.mean(means)) if means else 1.0
    return [round(mean / usual, _DIGITS) for mean in means]


def _visits(one: EngineTimes) -> list[_Visit]:
    """Of one pass, in the order in which they were made."""
    found: list[_Visit] = []
    for index, stage in one.stages.items():
        for length, order in stage.order.items():
            rounds = {rows: iter(visited) for rows, visited in stage.times[length].items()}
            found += [_Visit(_Size(index, length, rows), next(rounds[rows])) for rows in order]
    return found


def _levels(visits: Sequence[_Visit], usual: Mapping[_Size, float]) -> list[float]:
    """The pace at each visit: as many in a row share one as it takes to have enough batches."""
    groups: list[list[float]] = [[]]
    places: list[int] = []
    for size, times in visits:
        if len(groups[-1]) >= _TOGETHER:
            groups.append([])
        groups[-1] += [ns / usual[size] for ns in times]
        places.append(len(groups) - 1)
    if len(groups) > 1 and len(groups[-1]) < _TOGETHER:  # the last few belong to those before
        groups[-2] += groups[-1]
        places = [min(place, len(groups) - 2) for place in places]
    paces = [round(float(np.median(group)), _DIGITS) if group else 1.0 for group in groups]
    return [paces[place] for place in places]


def _by_length(values: Mapping[_Size, list[_T]], stage: int) -> dict[int, dict[int, list[_T]]]:
    """Length -> rows -> what there is of one stage, both ascending."""
    found: dict[int, dict[int, list[_T]]] = {}
    for size in sorted(size for size in values if size.stage == stage):
        found.setdefault(size.length, {})[size.rows] = values[size]
    return found


def _stretch(visits: Sequence[_Visit], levels: Sequence[float]) -> list[float]:
    """One pass as a line of steps: at the middle of each somebody was visited."""
    ends = np.cumsum([sum(visit.times) for visit in visits])
    middles = np.arange(PACE_NS // 2, int(ends[-1]) if visits else 0, PACE_NS)
    return [levels[place] for place in np.searchsorted(ends, middles, side="right").tolist()]


def _of_neighbours(levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each as the median of those around it. Shape: (n,)."""
    around = np.pad(levels, _TOGETHER // 2, mode="edge")
    return np.median(np.lib.stride_tricks.sliding_window_view(around, _TOGETHER), axis=1)


def _medians(steps: NDArray[np.int64], levels: NDArray[np.float64]) -> list[float]:
    """By step, ascending from 0; a step without any has that of the one before."""
    found: list[float] = []
    for step in range(int(steps[-1]) + 1):
        low, high = np.searchsorted(steps, [step, step + 1])
        found.append(round(float(np.median(levels[low:high])), _DIGITS) if high > low else found[-1])
    return found
