"""Finds hidden units that a model can do without: chains from a layer that makes them to the layers that use them up.

    MatMul | Gemm | Conv  ->  what works on each unit for itself  ->  MatMul | Gemm | Conv

Between the ends every operation keeps the units apart, and nothing else sees them: no output of the model, no
normalisation over them, no sum with other units. Then a unit is a slice of each weight, and can be cut out.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from trivet.variants.learned.onnx_model import OnnxModel

Where = Literal["last", "channel"]  # the axis of the units: the last one, or axis 1 before places in an image

_ALONE = frozenset(
    ("Relu", "LeakyRelu", "Elu", "Selu", "Celu", "Sigmoid", "Tanh", "Erf", "Gelu", "HardSigmoid", "HardSwish", "Mish",
     "Softplus", "Softsign", "ThresholdedRelu", "Identity", "Neg", "Abs", "Sqrt", "Exp", "Clip", "Dropout")
)  # fmt: skip
_PAIRED = frozenset(("Add", "Sub", "Mul", "Div", "Pow", "Min", "Max"))
_POOLS = frozenset(("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"))
_PLAIN = (("transA", 0), ("alpha", 1.0), ("beta", 1.0))


@dataclass(frozen=True, slots=True)
class Cut:
    """Units lie along `axis` of this constant, `repeat` places for each."""

    constant: str
    axis: int
    repeat: int = 1


@dataclass(frozen=True, slots=True)
class Use:
    """A layer that sums over the units.  node: its place in the graph.  given: the tensor of the units."""

    node: int
    given: str
    where: Where
    weight: Cut


@dataclass(frozen=True, slots=True)
class Chain:
    """name: of the layer that makes the units.  cuts: the constants that have them, without those of the uses."""

    name: str
    size: int
    cuts: tuple[Cut, ...]
    uses: tuple[Use, ...]


class _NotAlone(Exception):  # noqa: N818 - an answer on the way, not an error
    """Something sees several units at once."""


def chains_of(model: OnnxModel) -> list[Chain]:
    """All chains, in the order of the graph; no constant is cut along one axis by two of them."""
    found: list[Chain] = []
    for place, node in enumerate(model.nodes):
        start = _start(model, node)
        if start is None:
            continue
        try:
            found.append(_Walk(model, place, *start).chain())
        except _NotAlone:
            continue
    return found


def _start(model: OnnxModel, node: Any) -> tuple[list[Cut], Where, int] | None:
    """What a layer that makes units has of them: constants, the axis in its answer, and the rank of that."""
    if node.op_type not in ("MatMul", "Gemm", "Conv") or node.domain not in ("", "ai.onnx"):
        return None
    weight = model.constants.get(node.input[1])
    if weight is None or weight.dtype.kind != "f" or node.input[0] in model.constants:
        return None
    if node.op_type == "Conv":
        if model.attribute(node, "group", 1) != 1:
            return None
        return [Cut(name, 0) for name in node.input[1:3] if name], "channel", weight.ndim
    if weight.ndim != 2 or not _plain(model, node):
        return None
    axis = 0 if model.attribute(node, "transB", 0) else 1
    bias = node.input[2] if len(node.input) > 2 else ""
    if not bias:
        return [Cut(node.input[1], axis)], "last", 0
    shape = model.constants[bias].shape if bias in model.constants else ()
    if not shape or shape[-1] != weight.shape[axis]:
        return None
    return [Cut(node.input[1], axis), Cut(bias, len(shape) - 1)], "last", 0


def _plain(model: OnnxModel, node: Any) -> bool:
    return all(model.attribute(node, name, default) == default for name, default in _PLAIN)


@dataclass(slots=True)
class _Walk:
    """From one layer forward over all tensors that carry its units."""

    model: OnnxModel
    place: int
    cuts: list[Cut]
    where: Where
    rank: int
    uses: list[Use] = field(default_factory=list)
    _carriers: dict[str, tuple[Where, int]] = field(default_factory=dict)

    def chain(self) -> Chain:
        """Raises: _NotAlone."""
        node = self.model.nodes[self.place]
        first = self.cuts[0]
        size = self.model.constants[first.constant].shape[first.axis]
        self._carriers[node.output[0]] = self.where, 1
        visited: set[int] = {self.place}
        while users := [i for i in self._users() if i not in visited]:
            for user in users:
                # An operation of two carriers is looked at when both are known; the second visit finds it done.
                if self._visit(user, size):
                    visited.add(user)
                    break
            else:
                raise _NotAlone
        self._check(size)
        return Chain(node.name or node.output[0], size, tuple(dict.fromkeys(self.cuts)), tuple(self.uses))

    def _users(self) -> Iterator[int]:
        for tensor in self._carriers:
            if tensor in self.model.seen_elsewhere:
                raise _NotAlone
            yield from self.model.users.get(tensor, ())

    def _visit(self, place: int, size: int) -> bool:
        """Whether this operation was taken in; not yet, where it waits for another carrier. Raises: _NotAlone."""
        node = self.model.nodes[place]
        kind, domain_known = node.op_type, node.domain in ("", "ai.onnx")
        if not domain_known or any(output for output in node.output[1:]):
            raise _NotAlone
        carried = [name for name in node.input if name in self._carriers]
        where, repeat = self._carriers[carried[0]]
        if kind in ("MatMul", "Gemm", "Conv"):
            self.uses.append(self._use(place, size, where, repeat))
            return True
        if kind in _PAIRED:
            return self._pair(node, size, where, repeat)
        if node.input[0] != carried[0] or len(carried) > 1:
            raise _NotAlone
        if kind == "BatchNormalization" and where == "channel":
            self.cuts += [Cut(name, 0) for name in node.input[1:]]
        elif kind in ("Flatten", "Reshape") and where == "channel":
            repeat = self._flattened(node, size)
            where = "last"
        elif kind not in _ALONE and not (kind in _POOLS and where == "channel"):
            raise _NotAlone
        self._carriers[node.output[0]] = where, repeat
        return True

    def _pair(self, node: Any, size: int, where: Where, repeat: int) -> bool:
        for name in node.input:
            if name in self._carriers:
                if self._carriers[name] != (where, repeat):
                    raise _NotAlone
                continue
            if name not in self.model.constants:
                # Perhaps a carrier that was not reached yet; if nothing else can be reached, it is none.
                return False
            shape = self.model.constants[name].shape
            axis = len(shape) - (1 if where == "last" else self.rank - 1)
            if axis < 0 or shape[axis] == 1:
                continue
            if shape[axis] != size * repeat:
                raise _NotAlone
            self.cuts.append(Cut(name, axis, repeat))
        self._carriers[node.output[0]] = where, repeat
        return True

    def _use(self, place: int, size: int, where: Where, repeat: int) -> Use:
        node, model = self.model.nodes[place], self.model
        weight = model.constants.get(node.input[1])
        if weight is None or node.input[0] not in self._carriers or weight.dtype.kind != "f":
            raise _NotAlone
        if node.op_type == "Conv":
            fits = where == "channel" and model.attribute(node, "group", 1) == 1
            cut = Cut(node.input[1], 1)
        else:
            fits = where == "last" and weight.ndim == 2 and _plain(model, node)
            cut = Cut(node.input[1], 1 if model.attribute(node, "transB", 0) else 0, repeat)
        if not fits or weight.shape[cut.axis] != size * repeat:
            raise _NotAlone
        if node.op_type != "MatMul" and len(node.input) > 2 and node.input[2] not in model.constants:
            raise _NotAlone
        return Use(place, node.input[0], where, cut)

    def _flattened(self, node: Any, size: int) -> int:
        """How many places each unit gets where an image becomes a row: as the layer that reads the row has them."""
        if node.op_type == "Flatten":
            plain = self.model.attribute(node, "axis", 1) == 1
        else:
            shape = self.model.constants.get(node.input[1])
            plain = shape is not None and shape.shape == (2,) and int(shape[1]) == -1
        rows = {self._rows_read(user) for user in self.model.users.get(node.output[0], ())}
        if not plain or len(rows) != 1 or (read := rows.pop()) is None or read % size:
            raise _NotAlone
        return read // size

    def _rows_read(self, place: int) -> int | None:
        node = self.model.nodes[place]
        weight = self.model.constants.get(node.input[1]) if len(node.input) > 1 else None
        if node.op_type not in ("MatMul", "Gemm") or weight is None or weight.ndim != 2:
            return None
        return int(weight.shape[1 if self.model.attribute(node, "transB", 0) else 0])

    def _check(self, size: int) -> None:
        """Raises: _NotAlone: no use, one unit, or a constant that other operations need whole, or that is not there."""
        if not self.uses or size < 2:
            raise _NotAlone
        for cut in [*self.cuts, *(use.weight for use in self.uses)]:
            if cut.constant not in self.model.constants or len(self.model.users[cut.constant]) > 1:
                raise _NotAlone
