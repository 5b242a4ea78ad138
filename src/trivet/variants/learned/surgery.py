"""Cuts hidden units out of a model and lets the units that stay take over what can be taken over."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivet.variants.learned.activity import Activity, Doubles, places
from trivet.variants.learned.chains import Chain, Use
from trivet.variants.learned.onnx_model import OnnxModel

_RIDGE = 1e-4  # of the mean variance: keeps the weights small where units say nearly the same

Units = NDArray[np.intp]


def cut_units(model: OnnxModel, kept: Sequence[tuple[Chain, Units]], seen: Mapping[int, Activity]) -> Any:
    """A copy of the model with only these units of each chain, as an onnx ModelProto.

    A layer that reads units x as W x loses some: their mean goes into its bias, and what they share with those that
    stay into the weights, by least squares on the rows seen (for layers of images, and very wide ones, only the mean).
    Args: kept: units in ascending order.  seen: as from `activities`.
    """
    constants: dict[str, NDArray[Any]] = {}
    biases: dict[int, NDArray[Any]] = {}
    for chain, units in kept:
        for use in chain.uses:
            _take_over(model, use, units, seen[use.node], constants, biases)
    for chain, units in kept:
        for cut in chain.cuts:
            whole = constants.get(cut.constant, model.constants[cut.constant])
            constants[cut.constant] = np.take(whole, places(units, cut.repeat), axis=cut.axis)
    return model.replaced(constants, biases)


def _take_over(
    model: OnnxModel,
    use: Use,
    units: Units,
    seen: Activity,
    constants: dict[str, NDArray[Any]],
    biases: dict[int, NDArray[Any]],
) -> None:
    cut = use.weight
    whole = constants.get(cut.constant, model.constants[cut.constant])
    values = np.moveaxis(whole.astype(np.float64), cut.axis, 0)
    stay = places(units, cut.repeat)
    gone = np.setdiff1d(np.arange(len(values)), stay)
    flat = values.reshape(len(values), -1)
    more = np.zeros((len(stay), flat.shape[1]))
    if use.where == "last" and seen.covariance is not None:
        more = _least_squares(seen.covariance, stay, gone, flat[gone])
    changed = (flat[stay] + more).reshape(len(stay), *values.shape[1:])
    constants[cut.constant] = np.ascontiguousarray(np.moveaxis(changed, 0, cut.axis)).astype(whole.dtype)
    lost: Doubles = np.subtract(seen.mean[gone] @ flat[gone], seen.mean[stay] @ more)
    if use.where == "channel":
        lost = np.sum(lost.reshape(values.shape[1], -1), axis=1)  # over the places of the kernel
    if lost.any():
        _add_bias(model, use, lost, whole.dtype, constants, biases)


def _least_squares(covariance: Doubles, stay: Units, gone: Units, weight: Doubles) -> Doubles:
    """What the weights of the units that stay gain, shape (stay, outputs): the best guess of W x from them."""
    wanted = covariance[np.ix_(stay, gone)] @ weight
    if not wanted.any():
        return wanted
    own = covariance[np.ix_(stay, stay)].copy()
    own[np.diag_indices_from(own)] += _RIDGE * np.diag(own).mean()
    solved: Doubles = np.asarray(np.linalg.solve(own, wanted), np.float64)
    return solved


def _add_bias(
    model: OnnxModel,
    use: Use,
    lost: Doubles,
    dtype: np.dtype[Any],
    constants: dict[str, NDArray[Any]],
    biases: dict[int, NDArray[Any]],
) -> None:
    """Into the bias that the layer has, or one of its own."""
    name = _bias_of(model, use)
    if name is None:
        biases[use.node] = lost.astype(dtype)
        return
    old = constants.get(name, model.constants[name])
    constants[name] = (old + lost).astype(old.dtype)


def _bias_of(model: OnnxModel, use: Use) -> str | None:
    """The constant that is added to nothing but this layer's answer."""
    node = model.nodes[use.node]
    if node.op_type != "MatMul":
        bias: str = node.input[2] if len(node.input) > 2 else ""
        return bias if bias and len(model.users[bias]) == 1 else None
    users = model.users.get(node.output[0], [])
    if len(users) != 1 or node.output[0] in model.seen_elsewhere or model.nodes[users[0]].op_type != "Add":
        return None
    names: list[str] = [name for name in model.nodes[users[0]].input if name != node.output[0]]
    if len(names) != 1 or names[0] not in model.constants or len(model.users[names[0]]) > 1:
        return None
    return names[0]


def num_cut(kept: Sequence[tuple[Chain, Units]]) -> int:
    """Units that are gone."""
    return sum(chain.size - len(units) for chain, units in kept)
