"""A trained student, and the one graph that it becomes: the model's own inputs and outputs, features and network inside."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trivet.variants.learned.gram_graph import GramGraph
from trivet.variants.learned.grams import Grams
from trivet.variants.learned.graph import GraphWriter, ends_of
from trivet.variants.learned.network import Dense, Floats, Network
from trivet.variants.learned.outputs import Labels, Outputs
from trivet.variants.learned.reading import Reading
from trivet.variants.learned.targets import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Student:
    """known: rows of the table that were learned.  mean, deviation: of the features, shape (features,)."""

    reading: Reading
    grams: Grams | None
    known: NDArray[np.bool_]
    mean: Floats
    deviation: Floats
    network: Network
    outputs: Outputs


def write_student(student: Student, original: Path, path: Path) -> None:
    """Args: original: the model whose inputs and outputs it takes over, names of axes included."""
    graph = GraphWriter()
    given = _given(graph, student)
    layers = _folded(student)
    for layer in layers[: len(student.network.hidden)]:
        given = graph.add("Relu", _linear(graph, given, layer))
    tensors = {}
    for target, head in zip(student.outputs.targets, layers[len(student.network.hidden) :], strict=True):
        tensors[target.name] = _answer(graph, _linear(graph, given, _unscaled(target, head)), target)
    for labels in student.outputs.labels:
        _name(graph, tensors[labels.scores], labels)
    graph.write(path, *ends_of(original))


def _given(graph: GraphWriter, student: Student) -> str:
    """What the first layer takes: means of n-grams, then numbers."""
    parts = []
    if student.reading.ids is not None and student.grams is not None and student.network.table is not None:
        table = student.network.table * student.known[:, None]
        parts.append(GramGraph(graph, student.reading.ids, student.grams).pooled(table, student.known))
    for spec in student.reading.numbers:
        tensor = spec.name if spec.datatype == "FP32" else graph.cast(spec.name, np.float32)
        parts.append(tensor if len(spec.shape) == 2 else graph.add("Flatten", tensor, axis=1))
    return parts[0] if len(parts) == 1 else graph.add("Concat", *parts, axis=-1)


def _folded(student: Student) -> Sequence[Dense]:
    """All layers, with the standardisation of the features inside those that take them."""
    layers = [*student.network.hidden, *student.network.heads]
    num_first = 1 if student.network.hidden else len(layers)
    return [_standardised(layer, student) for layer in layers[:num_first]] + layers[num_first:]


def _standardised(layer: Dense, student: Student) -> Dense:
    start = len(layer.weight) - len(student.mean)
    weight = layer.weight.astype(np.float64)
    weight[start:] /= student.deviation.astype(np.float64)[:, None]
    bias = layer.bias - student.mean.astype(np.float64) @ weight[start:]
    return Dense(weight.astype(np.float32), bias.astype(np.float32))


def _unscaled(target: Target, head: Dense) -> Dense:
    """For numbers the answer in its own unit."""
    if target.kind != "numbers":
        return head
    scale = np.float32(target.scale)
    return Dense(head.weight * scale, head.bias * scale + target.mean)


def _linear(graph: GraphWriter, given: str, layer: Dense) -> str:
    weight, bias = graph.constant(layer.weight, np.float32), graph.constant(layer.bias, np.float32)
    return graph.add("Gemm", given, weight, bias)


def _answer(graph: GraphWriter, raw: str, target: Target) -> str:
    """The output, as the model gives it; returns its scores, shape (rows, size)."""
    scores = raw
    if target.kind == "probabilities":
        scores = graph.add("Softmax", raw, axis=-1)
    elif target.kind == "shares":
        scores = graph.add("Sigmoid", raw)
    elif target.kind == "directions":
        scores = graph.add("LpNormalization", raw, axis=-1, p=2)
    answer = scores if target.dtype == "float32" else graph.cast(scores, target.dtype)
    if target.inner != (target.size,):
        answer = graph.add("Reshape", answer, graph.constant([-1, *target.inner], np.int64))
    graph.add("Identity", answer, output=target.name)
    return scores


def _name(graph: GraphWriter, scores: str, labels: Labels) -> None:
    names = graph.constant(labels.names, labels.names.dtype)
    label = graph.add("Gather", names, graph.add("ArgMax", scores, axis=-1, keepdims=0), axis=0)
    if labels.inner:
        label = graph.add("Reshape", label, graph.constant([-1, *labels.inner], np.int64))
    graph.add("Identity", label, output=labels.name)
