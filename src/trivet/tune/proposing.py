"""Which choices are screened: all of them where that can be done in time, else the default and what a sampler proposes.

Each combination of variants has a sampler and a share of its own: on the front stand several of them, and the sampler
looks at one objective. Proposals come in batches of one size, so that the same seed gives the same ones.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import islice, product
from typing import Any

from trivet.catalog.study import Goal
from trivet.errors import ExtraMissingError
from trivet.tune.choice import Choice, Value
from trivet.tune.correction import is_variant
from trivet.tune.goals import value
from trivet.tune.screen import Screen
from trivet.tune.space import Lever, Space

MAX_SCREENED = 400  # in a full minute of screening; about a sixth of a second each, on one core
BATCH = 8
MAX_TRIES = 20  # of one proposal: combinations that mean nothing, or were seen already
_WORST = -1e9


def num_screened(screen_ns: int) -> int:
    """How many fit into the time for screening; a number of the budget alone, so that nothing depends on the clock."""
    return max(8, int(MAX_SCREENED * screen_ns / 60e9))


def proposals(space: Space, looker: Screen, goal: Goal, most: int, seed: int) -> Iterator[Choice]:
    """The default, then others, each once. Whoever takes them looks at each before taking the next.

    Raises: ExtraMissingError: the space is too large, and there is no Optuna.
    """
    every = everything(space, most)
    if every is not None:
        yield from every
        return
    yield space.default
    variants = [lever for lever in space.levers if is_variant(lever.name)]
    others = [lever for lever in space.levers if not is_variant(lever.name) and not lever.live_only]
    combinations = _combinations(space)
    share = _share(most, len(combinations))
    for number, values in enumerate(combinations):
        fixed = dict(zip([lever.name for lever in variants], values, strict=True))
        yield from _of_one_variant(
            space, looker, goal, Choice({**space.default, **fixed}), others, share, seed + number
        )


def num_proposed(space: Space, most: int) -> int:
    """At most so many come from `proposals`."""
    every = everything(space, most)
    if every is not None:
        return len(every)
    combinations = _combinations(space)
    return 1 + len(combinations) * (1 + math.ceil(_share(most, len(combinations)) / BATCH) * BATCH)


def _combinations(space: Space) -> list[tuple[Value, ...]]:
    """Of variants."""
    return list(product(*(lever.values for lever in space.levers if is_variant(lever.name))))


def _share(most: int, num_combinations: int) -> int:
    """Proposals of each combination of variants; whole batches come of it."""
    return max(BATCH, most // num_combinations)


def everything(space: Space, most: int) -> list[Choice] | None:
    """All choices of the space, or None where there are more than `most`."""
    found = list(islice(space.choices(), most + 1))
    return found if len(found) <= most else None


def _of_one_variant(
    space: Space, looker: Screen, goal: Goal, base: Choice, levers: Sequence[Lever], share: int, seed: int
) -> Iterator[Choice]:
    study = _study(seed)
    seen = {base}
    yield base
    for _ in range(math.ceil(share / BATCH)):
        batch = [found for _ in range(BATCH) if (found := _ask(study, space, base, levers, seen)) is not None]
        for _, choice in batch:
            yield choice
        if not batch:
            return
        for trial, choice in batch:
            study.tell(trial, _told(looker, choice, goal))


def _ask(
    study: Any, space: Space, base: Choice, levers: Sequence[Lever], seen: set[Choice]
) -> tuple[Any, Choice] | None:
    """A new combination that means something; None after MAX_TRIES that were none: the space is nearly used up."""
    for _ in range(MAX_TRIES):
        trial = study.ask()
        values = {lever.name: lever.values[_index(trial, lever)] for lever in levers}
        choice = Choice({**base, **values})
        if choice not in seen and space.means_something(choice):
            seen.add(choice)
            return trial, choice
        study.tell(trial, _WORST if choice not in seen else 0.0, skip_if_finished=True)
    return None


def _index(trial: Any, lever: Lever) -> int:
    return int(trial.suggest_categorical(lever.name, range(len(lever.values))))


def _told(looker: Screen, choice: Choice, goal: Goal) -> float:
    """What the sampler is told: the objective, or how it would be if nothing came of it."""
    found = looker.of(choice)
    worth = -math.inf if found is None else value(found.figures, goal)
    return worth if math.isfinite(worth) else _WORST


def _study(seed: int) -> Any:
    try:
        import optuna
    except ImportError:
        raise ExtraMissingError("a search through so many configurations", "tune") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=2 * BATCH)
    return optuna.create_study(direction="maximize", sampler=sampler)
