"""The head of an early exit: pooled features of an intermediate tensor, a linear softmax on them, and its temperature.

Everything is computed in float64 on one thread and in a fixed order: the same rows give the same bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivet.errors import ExtraMissingError

Floats = NDArray[np.float64]

_PENALTIES = (1e-3, 1e-2)  # of squared weights, a row; which one, the held-out rows say
# One fit costs at most so many multiply-adds, about two seconds of a core: counted, not timed, so that the same rows give
# the same head.
_BUDGET = 1e10
_MIN_STEPS, _MAX_STEPS = 20, 200
_TEMPERATURES = np.exp(np.linspace(np.log(0.2), np.log(5.0), 161))
_TINY = 1e-12


@dataclass(frozen=True, slots=True)
class Pooling:
    """How a tensor of one row becomes features.

    channels: its axis of features.  mask: input that tells which positions count, by its name; empty: all.
    first: only the first position: the others may be padding that nothing tells.
    """

    channels: int
    mask: str = ""
    first: bool = False

    def features(self, value: NDArray[Any], mask: NDArray[Any] | None) -> Floats:
        """Shape (features,) of a tensor with one row; the same as the nodes that early_exit_split.py writes."""
        found: Floats = np.asarray(value, np.float64)[0]
        if found.ndim == 1:
            return found
        found = np.moveaxis(found, self.channels - 1, 0).reshape(value.shape[self.channels], -1)
        if self.first:
            alone: Floats = found[:, 0]
            return alone
        if mask is not None:
            weights = np.asarray(mask, np.float64).reshape(-1)
            means: Floats = (found * weights).mean(axis=1) / (weights.mean() + 1e-9)
            return means
        return np.concatenate([found.mean(axis=1), found.max(axis=1)])


@dataclass(frozen=True, slots=True)
class Head:
    """Logits are features @ weights + bias, calibrated: their softmax is meant to be believed.

    weights: shape (features, classes), float32.  bias: shape (classes,), float32.
    """

    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    temperature: float  # that the logits were divided by

    def probabilities(self, features: Floats) -> Floats:
        """Shape (rows, classes)."""
        return softmax(features @ self.weights.astype(np.float64) + self.bias)


def fitted(features: Floats, targets: Floats, fit: Sequence[int], held_out: Sequence[int]) -> Head:
    """A head for soft targets. Args: features: shape (rows, features).  targets: shape (rows, classes), each adds up to 1.
    fit, held_out: disjoint places; the second choose penalty and temperature.
    Raises: ExtraMissingError: scikit-learn is not installed.
    """
    mean, spread = features[fit].mean(axis=0), features[fit].std(axis=0)
    scale = np.where(spread > 1e-6, spread, 1.0)
    scaled = (features - mean) / scale
    with _one_thread():
        tried = [_minimised(scaled[fit], targets[fit], penalty) for penalty in _PENALTIES]
        losses = [_loss(scaled[held_out] @ w + b, targets[held_out]) for w, b in tried]
        weights, bias = tried[int(np.argmin(losses))]
        temperature = _calibrated(scaled[held_out] @ weights + bias, targets[held_out])
    raw = weights / scale[:, None]
    return Head(
        (raw / temperature).astype(np.float32),
        ((bias - mean @ raw) / temperature).astype(np.float32),
        temperature,
    )


def softmax(logits: Floats) -> Floats:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: Floats = powers / powers.sum(axis=-1, keepdims=True)
    return shares


def _loss(logits: Floats, targets: Floats) -> float:
    """Mean cross entropy."""
    return float(-(targets * np.log(softmax(logits) + _TINY)).sum(axis=1).mean())


def _calibrated(logits: Floats, targets: Floats) -> float:
    """The temperature of least cross entropy."""
    losses = [_loss(logits / temperature, targets) for temperature in _TEMPERATURES]
    return float(_TEMPERATURES[int(np.argmin(losses))])


def _minimised(features: Floats, targets: Floats, penalty: float) -> tuple[Floats, Floats]:
    """Weights and bias of least cross entropy with a penalty on squared weights, by L-BFGS from zero."""
    from scipy.optimize import minimize

    num, width = features.shape
    classes = targets.shape[1]

    def loss_and_slope(flat: Floats) -> tuple[float, Floats]:
        weights, bias = flat[:-classes].reshape(width, classes), flat[-classes:]
        shares = softmax(features @ weights + bias)
        loss = -(targets * np.log(shares + _TINY)).sum() / num + penalty / 2 * (weights**2).sum()
        error = (shares - targets) / num
        return float(loss), np.concatenate(
            [(features.T @ error + penalty * weights).ravel(), error.sum(axis=0)]
        )

    start = np.zeros((width + 1) * classes)
    steps = int(np.clip(_BUDGET / (2 * num * width * classes), _MIN_STEPS, _MAX_STEPS))
    found = minimize(
        loss_and_slope, start, jac=True, method="L-BFGS-B", options={"maxfun": steps, "maxiter": steps}
    )
    return found.x[:-classes].reshape(width, classes), found.x[-classes:]


def _one_thread() -> Any:
    """Sums in one order, whatever the number of cores."""
    try:
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # comes with scikit-learn
    except ImportError:
        raise ExtraMissingError("fitting the head of an early exit", "variants") from None
    return threadpool_limits(1)
