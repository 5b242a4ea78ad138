"""What a profile says of the space: which choices it is to be taken of, and which levers mean nothing after it."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product

import numpy as np

from trivet.catalog.study import LeftOut
from trivet.experiment.simulating.simulated import has_exits, table_key
from trivet.schedule.deferral import MIN_GAIN
from trivet.simulate.profile import ModelTimes, ServiceProfile
from trivet.simulate.setup import Setup
from trivet.tune.choice import Choice, Value
from trivet.tune.front_levers import with_sizes
from trivet.tune.lever import EXIT, MAX_BATCH_SIZE
from trivet.tune.space import Lever, Space

# The levers that service times depend on; all others are decided by the scheduler, which simulation has.
TIMED = ("variant", "engine", "threads")
LEAVING = (0.3, 0.5, 0.7, 0.8, 0.9, 0.97)  # shares of the rows: the thresholds of an exit that are looked at
WORTH = 0.98  # of the time a row of smaller batches: a batch that is not faster by this much is no gain


def profiled_choices(space: Space) -> list[Choice]:
    """One choice for each variant, engine and number of threads of each model, with the largest batches that are searched:
    what is not measured is not left out either. The default's first.
    """
    found = {_with_largest_batches(space.default, space): None}
    for model in space.base.service.models:
        levers = [lever for lever in space.levers if lever.model == model and lever.lever in TIMED]
        for values in product(*(lever.values for lever in levers)):
            chosen = dict(zip([lever.name for lever in levers], values, strict=True))
            choice = Choice({**space.default, **chosen})
            if space.means_something(choice):
                found.setdefault(_with_largest_batches(choice, space))
    return list(found)


def _with_largest_batches(choice: Choice, space: Space) -> Choice:
    limits = [lever for lever in space.levers if lever.lever == "max_batch_size"]
    return Choice({**choice, **{lever.name: max(lever.values, key=_rows) for lever in limits}})


def _rows(limit: Value) -> int:
    """Whatever else `auto` becomes, it is no more."""
    return MAX_BATCH_SIZE if limit == "auto" else int(limit)


def narrowed(space: Space, profile: ServiceProfile, setup_of: Callable[[Choice], Setup]) -> Space:
    """The space without batch limits, and waiting for batches, that gain nothing for any profiled choice.

    Thresholds of exits are those at which certain shares of the measured rows leave.
    """
    levers, left_out = list(space.levers), list(space.left_out)
    levers = [found for lever in levers if (found := _with_thresholds(lever, space, profile, left_out))]
    levers = [with_sizes(lever, profile) for lever in levers]
    for model in space.base.service.models:
        gains = _gains(space, profile, setup_of, model)
        if not gains:
            continue
        limit = max(found[0] for found in gains)
        best = max(found[1] for found in gains)
        kept: list[Lever] = []
        for lever in levers:
            if lever.model != model or lever.lever not in ("max_batch_size", "deferral"):
                kept.append(lever)
                continue
            why, values = _after(lever, limit, best)
            left_out += [LeftOut(name=lever.name, why=why)] if why else []
            kept += [replace(lever, values=values)] if len(values) > 1 else []
        levers = kept
    return replace(space, levers=tuple(levers), left_out=tuple(left_out))


def _with_thresholds(
    lever: Lever, space: Space, profile: ServiceProfile, left_out: list[LeftOut]
) -> Lever | None:
    """The lever of an exit with values that make a difference here; None: nothing tells which do."""
    if lever.lever != EXIT:
        return lever
    found: set[float] = set()
    for choice in profiled_choices(space):
        configuration = space.configuration(choice)[0]
        table = profile.exits.get(table_key(configuration)) if has_exits(configuration) else None
        if table is None:
            continue
        for place, stage in enumerate(configuration.service.pipeline):
            if place in table.confidences and space.stands_for(stage.model or "") == lever.model:
                found.update(table.thresholds(place, LEAVING))
    if not found:
        left_out.append(LeftOut(name=lever.name, why="no data tells how sure the exit is of what"))
        return None
    tuning = space.base.service.tune
    if tuning is not None and {lever.name, lever.lever} & set(tuning.levers):
        return lever
    return replace(lever, values=(lever.default, *sorted(found)))


def _after(lever: Lever, limit: int, best: float) -> tuple[str, tuple[Value, ...]]:
    """What is said of a lever, and the values that are left of it."""
    if lever.lever == "deferral":
        if best < MIN_GAIN:
            return (
                f"the best batch answers {best:.2f} times as many rows a second as single ones: waiting never pays",
                (),
            )
        return "", lever.values
    if limit == 1:
        return "a batch takes no less time a row than single rows", ()
    # Where the limit itself is no value, the next one is: it is as fast a row.
    most = min((value for value in lever.values if isinstance(value, int) and value >= limit), default=limit)
    held = tuple(value for value in lever.values if not isinstance(value, int) or value <= most)
    why = f"batches beyond {most} are no faster a row" if len(held) < len(lever.values) else ""
    return why, held if lever.default in held else (lever.default, *held)


def _gains(
    space: Space, profile: ServiceProfile, setup_of: Callable[[Choice], Setup], model: str
) -> list[tuple[int, float]]:
    """Of each profiled engine of a model: the largest batch that is worth it, and what the best one gains."""
    places = [stage.model for stage in space.base.service.pipeline if stage.model]
    batch_ns = float(np.mean(profile.host.per_batch_ns or [0]))
    found = []
    for choice in profiled_choices(space):
        stages = [stage for stage in setup_of(choice).stages if stage.kind != "step"]
        # An early exit brings stages of its own: then all of them stand for the model.
        keys = [
            stage.key for i, stage in enumerate(stages) if len(stages) != len(places) or places[i] == model
        ]
        known = [profile.models[key] for key in keys if key in profile.models]
        found += [gain for times in known for gain in gains_of(times, batch_ns)]
    return found


def gains_of(times: ModelTimes, batch_ns: float = 0.0) -> Iterator[tuple[int, float]]:
    """For each profiled length: the largest batch that is faster a row than all smaller ones, and what the best gains.

    Nothing of a length where batches were not measured. Args: batch_ns: of the event loop, for each batch.
    """
    if not times.same or not times.batches:
        yield 1, 1.0
        return
    for by_rows in times.samples.values():
        per_row = {
            rows: (batch_ns + float(np.median(found))) / rows
            for rows, found in sorted(by_rows.items())
            if found
        }
        if 1 not in per_row or len(per_row) == 1:
            continue
        limit, least = 1, per_row[1]
        for rows, ns in per_row.items():
            if ns < WORTH * least:
                limit, least = rows, ns
        yield limit, per_row[1] / least
