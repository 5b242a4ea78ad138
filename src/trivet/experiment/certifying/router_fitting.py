"""Learns how hard texts are for two models, from which of them was right on each."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivet.errors import ExtraMissingError
from trivet.pipeline.routing import TABLE_BITS, Router, features

Floats = NDArray[np.float64]

STRENGTH = 1.0  # of the weights: the inverse of their penalty
_MAX_STEPS = 60
_MIN_TEXTS = 3  # with a gram for it to count


class Grams:
    """The features of texts, read once."""

    def __init__(self, texts: Sequence[str]) -> None:
        found = [features(text) for text in texts]
        starts = np.cumsum([0, *(len(places) for places, _ in found)])
        shape = (len(texts), 1 << TABLE_BITS)
        places = np.concatenate([one for one, _ in found]) if found else np.empty(0, np.int64)
        values = np.concatenate([one for _, one in found]) if found else np.empty(0)
        self.table = _sparse()((values.astype(np.float64), places, starts), shape)


def fitted(
    grams: Grams, rows: NDArray[np.int64], first: NDArray[np.bool_], last: NDArray[np.bool_]
) -> Router:
    """A router learned on some rows. Args: first, last: whether each model was right, of all rows.

    Raises: ExtraMissingError: no scipy.
    """
    scale, table = _scaled(grams, rows)
    used = np.flatnonzero(scale)
    kept = table[rows][:, used]
    found = [_logistic(kept, right[rows].astype(np.float64)) for right in (first, last)]
    weights = np.zeros((2, len(scale)), np.float32)
    weights[:, used] = [one[:-1] for one in found]
    return Router(scale.astype(np.float32), weights, np.array([one[-1] for one in found], np.float32))


def eases(router: Router, grams: Grams, rows: NDArray[np.int64]) -> Floats:
    """`Router.ease` of each of some rows."""
    table = grams.table[rows].multiply(router.scale.astype(np.float64)).tocsr()
    logits = _unit(table) @ router.weights.T.astype(np.float64) + router.bias
    shares = 1 / (1 + np.exp(-np.clip(logits, -700, 700)))
    return np.asarray(1 + shares[:, 0] - shares[:, 1], np.float64)


def crossed(
    grams: Grams,
    rows: NDArray[np.int64],
    first: NDArray[np.bool_],
    last: NDArray[np.bool_],
    folds: int,
    seed: int,
) -> Floats:
    """The ease of each of `rows`, by routers that have not seen it."""
    fold = np.random.default_rng(seed).permutation(len(rows)) % folds
    found = np.zeros(len(rows))
    for number in range(folds):
        held = fold == number
        found[held] = eases(fitted(grams, rows[~held], first, last), grams, rows[held])
    return found


def _scaled(grams: Grams, rows: NDArray[np.int64]) -> tuple[Floats, Any]:
    """How much each place counts, by how rare it is among `rows`; and all texts so scaled, of unit length."""
    counts = np.bincount(grams.table[rows].indices, minlength=grams.table.shape[1])
    scale = np.where(counts >= _MIN_TEXTS, 1 + np.log((1 + len(rows)) / (1 + counts)), 0.0)
    return scale, _unit(grams.table.multiply(scale).tocsr())


def _unit(table: Any) -> Any:
    norms = np.sqrt(np.asarray(table.multiply(table).sum(axis=1)).ravel())
    return table.multiply(1 / np.maximum(norms, 1e-12)[:, None]).tocsr()


def _logistic(table: Any, right: Floats) -> Floats:
    """Weights of a logistic regression with a quadratic penalty, the bias at the end."""
    from scipy.optimize import minimize

    turned = table.T.tocsr()

    def loss(weights: Floats) -> tuple[float, Floats]:
        logits = table @ weights[:-1] + weights[-1]
        errors = 1 / (1 + np.exp(-np.clip(logits, -700, 700))) - right
        value = np.logaddexp(0, logits).sum() - right @ logits + weights[:-1] @ weights[:-1] / (2 * STRENGTH)
        slope = np.concatenate([turned @ errors + weights[:-1] / STRENGTH, [errors.sum()]])
        return float(value), slope

    found = minimize(
        loss, np.zeros(table.shape[1] + 1), jac=True, method="L-BFGS-B", options={"maxiter": _MAX_STEPS}
    )
    return np.asarray(found.x, np.float64)


def _sparse() -> Any:
    try:
        from scipy.sparse import csr_matrix
    except ImportError:
        raise ExtraMissingError("learning a router", "bench") from None
    return csr_matrix
