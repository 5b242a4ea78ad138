"""How probable it is that a proposed answer is wrong, learned from those that were checked: one model for all entries."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_MAX_STEPS = 12
_MAX_HALVINGS = 20
_NUM_FOLDS = 4
_PRECISION = 1e-6  # of the penalised loss, relative
_RIDGE = (
    1.0  # of each weight, features being scaled to a spread of 1: what so few labels cannot tell stays near 0
)
_SAME = 1e-6  # a feature that differs by less does not
_WIDEST = (
    6.0  # a feature further from its mean than so many spreads counts as this far: nobody was ever there
)


@dataclass(frozen=True, slots=True)
class Odds:
    """A logistic regression. weights: of features as they are, shape (features,); the first feature is constant."""

    weights: tuple[float, ...]
    lowest: tuple[float, ...]
    highest: tuple[float, ...]

    def log_odds(self, features: tuple[float, ...]) -> float:
        """That the answer is wrong; infinite where a feature differs that was the same in all checks."""
        total = 0.0
        for weight, value, low, high in zip(self.weights, features, self.lowest, self.highest, strict=True):
            if low == high and abs(value - low) > _SAME:
                return math.inf
            total += weight * (low if value < low else high if value > high else value)
        return total

    def of_rows(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """The same for rows, shape (n, features) -> (n,)."""
        low, high = np.array(self.lowest), np.array(self.highest)
        total: NDArray[np.float64] = np.clip(features, low, high) @ np.array(self.weights)
        total[((low == high) & (np.abs(features - low) > _SAME)).any(axis=1)] = np.inf
        return total


def fit(features: NDArray[np.float64], wrong: NDArray[np.bool_]) -> Odds:
    """The most probable weights under a normal prior, by Newton's method with halved steps.

    Halving matters: a full step from far away can overshoot, and what it then lets pass is never checked again.
    Args: features: shape (n, features), n >= 1.  wrong: shape (n,).
    """
    middle, spread = features.mean(axis=0), features.std(axis=0)
    spread[spread < _SAME] = np.inf  # says nothing: its weight is 0
    middle[0], spread[0] = 0.0, 1.0
    scaled = np.clip((features - middle) / spread, -_WIDEST, _WIDEST)
    ridge = np.full(scaled.shape[1], _RIDGE)
    ridge[0] = 1e-3
    weights = np.zeros(scaled.shape[1])
    loss = _loss(scaled, wrong, weights, ridge)
    for _ in range(_MAX_STEPS):
        probability = 1 / (1 + np.exp(-(scaled @ weights)))
        gradient = scaled.T @ (probability - wrong) + ridge * weights
        curvature = (scaled.T * (probability * (1 - probability))) @ scaled + np.diag(ridge)
        step = np.linalg.solve(curvature, gradient)
        for halving in range(_MAX_HALVINGS):
            nearer = weights - step / 2**halving
            new_loss = _loss(scaled, wrong, nearer, ridge)
            if new_loss <= loss:
                break
        else:
            break
        done = loss - new_loss <= _PRECISION * loss
        weights, loss = nearer, new_loss
        if done:
            break
    return _unscaled(weights, middle, spread)


def crossed_log_odds(features: NDArray[np.float64], wrong: NDArray[np.bool_]) -> NDArray[np.float64]:
    """For each row what a model says that was fitted to the rows of other folds, shape (n,).

    What a model says of the rows that it was fitted to is surer than what it says of new ones.
    """
    log_odds = np.empty(len(wrong))
    folds = np.arange(len(wrong)) % _NUM_FOLDS
    for fold in range(_NUM_FOLDS):
        rest, held = folds != fold, folds == fold
        log_odds[held] = fit(features[rest], wrong[rest]).of_rows(features[held])
    return log_odds


def _loss(
    scaled: NDArray[np.float64],
    wrong: NDArray[np.bool_],
    weights: NDArray[np.float64],
    ridge: NDArray[np.float64],
) -> float:
    log_odds = scaled @ weights
    return float(np.logaddexp(0, log_odds).sum() - log_odds[wrong].sum() + 0.5 * (ridge * weights**2).sum())


def _unscaled(weights: NDArray[np.float64], middle: NDArray[np.float64], spread: NDArray[np.float64]) -> Odds:
    plain = weights / spread
    plain[0] = weights[0] - (plain[1:] * middle[1:]).sum()
    reach = np.where(np.isinf(spread), 0.0, spread) * _WIDEST
    low, high = middle - reach, middle + reach
    low[0] = high[0] = 1.0
    return Odds(tuple(plain.tolist()), tuple(low.tolist()), tuple(high.tolist()))
