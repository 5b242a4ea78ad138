"""A route is learned on half of the rows, which then propose settings by routers that have not seen them."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from trivet.experiment.certifying.cascade_rows import CascadeRows
from trivet.experiment.certifying.router_fitting import Grams, crossed, eases, fitted
from trivet.pipeline.routing import write_router
from trivet.spec.data import LabelledRows
from trivet.spec.route import Route

LEARNING = 0.5  # of the rows
_FOLDS = 4


def routed(
    route: Route, folder: Path, rows: LabelledRows, found: CascadeRows, seed: int
) -> tuple[CascadeRows, int]:
    """Learn a router and write it beside the service.

    Returns: the record with how easy each row is as the confidence of its exit, and how many rows, the first ones, the
    router has learned from.
    """
    recorded = found.recorded
    grams = Grams([_text(rows, place, route.input) for place in found.places])
    num_learning = round(LEARNING * recorded.num_rows)
    learning, others = np.arange(num_learning), np.arange(num_learning, recorded.num_rows)
    first, last = recorded.right[0], recorded.right[-1]
    router = fitted(grams, learning, first, last)
    write_router(folder / route.router, router)
    unseen = crossed(grams, learning, first, last, _FOLDS, seed)
    ease = np.concatenate([unseen, eases(router, grams, others)])
    return CascadeRows(
        replace(recorded, sure=ease[np.newaxis]), found.places, found.predictions
    ), num_learning


def digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _text(rows: LabelledRows, place: int, name: str) -> str:
    values = rows.inputs[place][name].reshape(-1).tolist()
    return "\n".join(one.decode(errors="replace") if isinstance(one, bytes) else str(one) for one in values)
