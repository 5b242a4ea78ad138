"""Degradation's budget as a lever: how much of the declared `max_loss` the stand-ins may spend, never more than all of it.

A configuration with a ladder is as accurate as its full model, less what its stand-ins cost at the largest rate that it
bears. Its worst end is held to the budget itself: that bounds what is paid whatever the load is.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations

import msgspec
import numpy as np
from numpy.typing import NDArray

from trivet.catalog.records import Figure
from trivet.pipeline.degrading import DEGRADED
from trivet.spec.degrade import Degrade
from trivet.spec.fields import FieldError, FieldPath
from trivet.spec.service import Service
from trivet.tune.choice import Choice, Value
from trivet.tune.lever import DECLARED, DEGRADE, Lever

OFF, HALF = "off", "half"
VALUES: tuple[Value, ...] = (DECLARED, OFF, HALF)

Losses = Mapping[str, Figure]  # measured, by the name of who stands in


def degrade_lever() -> Lever:
    return Lever(name=DEGRADE, lever=DEGRADE, model="", values=VALUES, default=DECLARED, kind="answers")


def check_degrade_value(value: Value, path: FieldPath) -> None:
    """Raises: FieldError: not a value of the lever."""
    if value not in VALUES:
        words = ", ".join(map(str, VALUES))
        raise FieldError(path, f"degrade: expected one of {words}, got {value!r}")


def with_budget(service: Service, value: Value) -> Service:
    """The service with as much of its ladder's budget; without any of it nobody stands in, and nobody is loaded for it."""
    degrade = service.degrade
    if degrade is None or value == DECLARED:
        return service
    if value == HALF:
        return msgspec.structs.replace(
            service, degrade=msgspec.structs.replace(degrade, max_loss=degrade.budget / 2)
        )
    kept = {*service.stand_ins}
    if service.semantic_cache is not None and service.semantic_cache.encoder_model is not None:
        kept.add(service.semantic_cache.encoder_model)
    models = {
        name: model for name, model in service.models.items() if name not in degrade.names or name in kept
    }
    return msgspec.structs.replace(service, models=models, degrade=None)


def sets_idle_models(service: Service, choice: Choice, default: Choice) -> bool:
    """Whether a lever of somebody who stands in is moved where nobody stands in."""
    if service.degrade is None or choice.get(DEGRADE, DECLARED) != OFF:
        return False
    prefixes = tuple(f"{name}." for name in service.degrade.names)
    return any(name.startswith(prefixes) and choice[name] != default.get(name) for name in choice)


# --- what it costs ------------------------------------------------------------------------------------------------


def share_name(name: str) -> str:
    """Of the figure that says which share of the answers one gave who stands in."""
    return f"{DEGRADED}{name}"


def shares_of_answers(ran: NDArray[np.uint8], rungs: Sequence[str]) -> dict[str, float]:
    """Figures of a simulation. Args: ran: who gave each answer: 0 for the full model, n for the n-th of `rungs`."""
    counts = np.bincount(ran, minlength=len(rungs) + 1)[1:]
    return {share_name(name): float(num) / max(1, len(ran)) for name, num in zip(rungs, counts, strict=True)}


def shares_of_rows(instead: Sequence[str], rungs: Sequence[str]) -> dict[str, float]:
    """Figures of a live block. Args: instead: of each answer, as rows say it."""
    counts = Counter(instead)
    return {share_name(name): counts[share_name(name)] / max(1, len(instead)) for name in rungs}


def shares_of(figures: Mapping[str, float], degrade: Degrade) -> list[float] | None:
    """Of each who stands in; None: nothing was simulated or measured of it yet."""
    found = [figures.get(share_name(name)) for name in degrade.names]
    return None if None in found else [share for share in found if share is not None]


def paid(
    figure: Figure, degrade: Degrade, shares: Sequence[float] | None, losses: Losses, sign: int
) -> Figure:
    """Accuracy, or its difference, of a full model with a ladder below it.

    Args: shares: of the answers, by who stands in; None: not known, and none is taken off the estimate.  losses: as they
    were measured; without them as declared.  sign: 1 where more is better, -1 of errors.
    """
    measured = all(name in losses for name in degrade.names)
    likely, worst = _losses(degrade, losses if measured else {})
    cost = 0.0 if shares is None else sum(share * loss for share, loss in zip(shares, likely, strict=True))
    most = max(cost, most_paid([rung.share for rung in degrade.to], worst, degrade.budget))
    how = "measured" if measured else "declared"
    note = f"stand-ins cost {cost:.4g}, at most {most:.4g}, by their {how} losses"
    worse, better = (figure.low, figure.high) if sign > 0 else (figure.high, figure.low)
    ends = (None if worse is None else worse - sign * most, better)
    low, high = ends if sign > 0 else ends[::-1]
    verdict = f"{figure.verdict}; {note}" if figure.verdict else note
    return msgspec.structs.replace(
        figure, estimate=figure.estimate - sign * cost, low=low, high=high, verdict=verdict
    )


def most_paid(declared: Sequence[float], worst: Sequence[float], budget: float) -> float:
    """The most that answers can cost on average where the budget holds by the declared losses.

    A linear programme in the shares of who stands in: shares sum to at most 1, declared losses to at most the budget. Its
    corners have one or two of them.
    Args: worst: what each may cost in truth.
    """
    best = 0.0
    for loss, cost in zip(declared, worst, strict=True):
        best = max(best, cost * (min(1.0, budget / loss) if loss > 0 else 1.0))
    for (loss, cost), (other, dear) in combinations(zip(declared, worst, strict=True), 2):
        if min(loss, other) < budget < max(loss, other):
            share = (budget - other) / (loss - other)
            best = max(best, share * cost + (1 - share) * dear)
    return best


def _losses(degrade: Degrade, losses: Losses) -> tuple[list[float], list[float]]:
    """Of each who stands in: the likely loss, and the worse end of its interval."""
    likely, worst = [], []
    for rung in degrade.to:
        found = losses.get(rung.model or "")
        likely.append(rung.share if found is None else found.estimate)
        high = None if found is None else found.high
        worst.append(max(likely[-1], rung.share if high is None else high))
    return likely, worst
