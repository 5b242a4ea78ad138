"""ONNX models read, named, and written so that the same model is the same bytes."""

import hashlib
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from trivet import __version__
from trivet.errors import ExtraMissingError
from trivet.variants.errors import VariantError
from trivet.variants.source import Source

MODEL_FILE = "model.onnx"
_MAX_BYTES = (1 << 31) - 1  # of one protobuf message

Model = Any  # onnx.ModelProto: the package is an extra


def onnx_package() -> Any:
    """Raises: ExtraMissingError: onnx is not installed."""
    try:
        import onnx
    except ImportError:
        raise ExtraMissingError("building variants", "variants") from None
    return onnx


def read_model(path: Path) -> Model:
    """The model with all its weights, every node with a name of its own.

    Raises: VariantError: not an ONNX file, or too large for one.
    """
    onnx = onnx_package()
    try:
        model = onnx.load(str(path))
    except Exception as error:  # protobuf's own class of error is not public
        raise VariantError(f"{path.name} cannot be read as ONNX: {error}") from None
    if model.ByteSize() > _MAX_BYTES:
        raise VariantError(f"{path.name} is larger than 2 GiB with its weights, which no ONNX file can hold")
    name_nodes(model)
    return model


def name_nodes(model: Model) -> None:
    """Nodes are chosen by name: each gets one of its own, from its place where it has none."""
    taken: set[str] = set()
    for place, node in enumerate(model.graph.node):
        name = node.name or f"{node.op_type}_{place}"
        while name in taken:
            name = f"{name}_{place}"
        taken.add(name)
        node.name = name


def write_model(model: Model, path: Path) -> None:
    """The same model gives the same bytes: what has no order is sorted, and what says when and where it was made is gone."""
    for entries in (model.graph.value_info, model.graph.initializer, model.metadata_props):
        _sort(entries)
    model.doc_string = ""
    model.graph.doc_string = ""
    path.write_bytes(model.SerializeToString(deterministic=True))


def _sort(entries: Any) -> None:
    """By name; metadata by its key."""
    ordered = sorted(entries, key=lambda entry: getattr(entry, "name", "") or getattr(entry, "key", ""))
    copies = [type(entry).FromString(entry.SerializeToString(deterministic=True)) for entry in ordered]
    del entries[:]
    entries.extend(copies)


def drop_unused_weights(model: Model) -> None:
    """Weights that no node and no output takes any more."""
    used = {name for node in model.graph.node for name in node.input} | {
        out.name for out in model.graph.output
    }
    used |= {name for node in model.graph.node for name in _outer_names(node)}
    for tensor in [tensor for tensor in model.graph.initializer if tensor.name not in used]:
        model.graph.initializer.remove(tensor)


def _outer_names(node: Any) -> set[str]:
    """What the graphs inside a node (of If, Loop and Scan) may take from around it."""
    graphs = [attribute.g for attribute in node.attribute if attribute.HasField("g")]
    return {name for graph in graphs for inner in graph.node for name in [*inner.input, *_outer_names(inner)]}


def initializers(model: Model) -> dict[str, Any]:
    """Weights by name, without constants that are nodes."""
    return {tensor.name: tensor for tensor in model.graph.initializer}


def weight_names(model: Model) -> set[str]:
    """Names of tensors that no request chooses."""
    constants = {node.output[0] for node in model.graph.node if node.op_type == "Constant"}
    return constants | set(initializers(model))


def versions() -> dict[str, str]:
    """Of what makes variants: another version may make other bytes, or what this one cannot."""
    return {"trivet": __version__} | {name: version(name) for name in ("onnx", "onnxruntime")}


def rows_digest(source: Source, places: Iterable[int]) -> str:
    """Identifies the rows that a build used, with their labels."""
    digest = hashlib.sha256()
    for place in places:
        for name, array in sorted(source.rows[place].items()):
            data = array.tolist() if array.dtype == object else np.ascontiguousarray(array).tobytes()
            digest.update(f"{name}{array.dtype}{array.shape}".encode())
            digest.update(data if isinstance(data, bytes) else repr(data).encode())
        if source.labels is not None:
            digest.update(repr(source.labels[place]).encode())
    return digest.hexdigest()
