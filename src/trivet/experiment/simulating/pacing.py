"""What several visits to the engines tell together: times by size, and how fast the machine was from moment to moment.

Each visit runs one size for some hundredths of a second. Its median over the size's own, of all visits, is the machine's
pace then; what is left within the visit are the engine's residuals. A live server's batches tell the same.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trivet.experiment.simulating.engine_points import EngineTimes
from trivet.experiment.simulating.live_points import LivePoint
from trivet.experiment.simulating.simulated import stage_key
from trivet.simulate.profile import ModelTimes
from trivet.spec.configuration import Configuration

PACE_NS: Final = 10_000_000  # of the recorded stretches: a visit takes about as long
_FEWEST: Final = 8  # batches of one size: their median is what is usual
_DIGITS: Final = 4
_Size = tuple[int, int, int]  # stage, length, rows


def joined(
    configuration: Configuration, passes: Sequence[EngineTimes]
) -> tuple[dict[str, ModelTimes], list[list[float]]]:
    """Times by key, those of later passes behind the earlier ones'; and a stretch of the machine's pace for each pass, empty
    where that was too short.
    """
    models: dict[str, ModelTimes] = {}
    usual: dict[_Size, float] = {}
    for index, first in passes[0].stages.items():
        samples: dict[int, dict[int, list[int]]] = {}
        paces: dict[int, dict[int, list[float]]] = {}
        for length in first.times:
            samples[length], paces[length] = {}, {}
            for rows in sorted({rows for one in passes for rows in one.stages[index].times.get(length, {})}):
                rounds = [one.stages[index].times.get(length, {}).get(rows, []) for one in passes]
                visits = [times for visited in rounds for times in visited]
                every = [ns for times in visits for ns in times]
                usual[index, length, rows] = median = float(np.median(every))
                samples[length][rows] = every
                paces[length][rows] = [
                    pace for times in visits for pace in [_pace(times, median)] * len(times)
                ]
        if samples:  # none of another server
            models[stage_key(configuration, index)] = ModelTimes(
                samples=samples, paces=paces, same=first.same, batches=first.batches
            )
    return models, [_stretch(one, usual) for one in passes]


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
        levels = (point.column("compute_ns")[known] / np.maximum(expected, 1))[order]
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


def _pace(times: Sequence[int], usual_ns: float) -> float:
    return round(float(np.median(times)) / max(1.0, usual_ns), _DIGITS)


def _stretch(one: EngineTimes, usual: Mapping[_Size, float]) -> list[float]:
    """One pass as a line of steps: at the middle of each somebody was visited."""
    spans, levels = [], []
    for index, stage in one.stages.items():
        for length, order in stage.order.items():
            visits = {rows: iter(rounds) for rows, rounds in stage.times[length].items()}
            for rows in order:
                times = next(visits[rows])
                spans.append(sum(times))
                levels.append(_pace(times, usual[index, length, rows]))
    ends = np.cumsum(spans)
    middles = np.arange(PACE_NS // 2, int(ends[-1]) if spans else 0, PACE_NS)
    return [levels[place] for place in np.searchsorted(ends, middles, side="right").tolist()]


def _medians(steps: NDArray[np.int64], levels: NDArray[np.float64]) -> list[float]:
    """By step, ascending from 0; a step without any has that of the one before."""
    found: list[float] = []
    for step in range(int(steps[-1]) + 1):
        low, high = np.searchsorted(steps, [step, step + 1])
        found.append(round(float(np.median(levels[low:high])), _DIGITS) if high > low else found[-1])
    return found
