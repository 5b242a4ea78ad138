"""Small ONNX models, made from seeds: the same bytes on every machine. Tests and benchmarks share them.

tiny            x FP32[N,30] -> y FP32[N,2]      gradient boosted trees, the model of a few microseconds
text            x INT64[N,L] -> y FP32[N,384]    an encoder with the shape of MiniLM-L6, random weights
encoder         input_ids, attention_mask INT64[N,L] -> pooled FP32[N,H] or hidden FP32[N,L,H]: ragged input
identity        x -> y of any datatype
matmul, busy    x FP32[N,K] -> y FP32[N,M]; `busy` costs as much as it is told to
two_inputs      a, b FP32[N,M] -> total, difference FP32[N,M]
gather          x INT64[N] -> y FP32[N,2]: an index out of range makes the whole batch fail
centred         x FP32[N,M] -> y FP32[N,M]: answers depend on who shares the batch
total           x FP32[N,M] -> y FP32[]: no batch axis in the output
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from onnx import ModelProto, TensorProto, checker, helper, numpy_helper
from onnx.onnx_pb import NodeProto, ValueInfoProto

from benchmarks._transformer import Transformer

Dimension = int | str

OPSET = 17
IR_VERSION = 9  # what onnxruntime 1.19, the oldest that we accept, reads
TREES = 100
DEPTH = 3
FEATURES = 30

ONNX_OF_DATATYPE = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BF16": TensorProto.BFLOAT16,
    "BYTES": TensorProto.STRING,
}


def write(model: ModelProto, path: Path) -> Path:
    """Write `model` to `path`, folders included; the same model gives the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString(deterministic=True))
    return path


def tensor(name: str, datatype: str, shape: Sequence[Dimension]) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, ONNX_OF_DATATYPE[datatype], shape)


def build(
    name: str,
    nodes: Sequence[NodeProto],
    inputs: Sequence[ValueInfoProto],
    outputs: Sequence[ValueInfoProto],
    weights: dict[str, ArrayLike] | None = None,
) -> ModelProto:
    """A checked model of the given nodes."""
    initializers = [numpy_helper.from_array(np.asarray(value), key) for key, value in (weights or {}).items()]
    graph = helper.make_graph(nodes, name, inputs, outputs, initializers)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(
        graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="trivet-benchmarks"
    )
    checker.check_model(model)
    return model


class Trees:
    """Complete binary trees in arrays: node i has the children 2i + 1 (value <= threshold) and 2i + 2."""

    def __init__(
        self, seed: int, num_trees: int = TREES, depth: int = DEPTH, num_features: int = FEATURES
    ) -> None:
        rng = np.random.default_rng(seed)
        self.depth = depth
        self.num_inner = 2**depth - 1
        self.feature: NDArray[np.int64] = rng.integers(0, num_features, (num_trees, self.num_inner))
        self.threshold = rng.normal(size=(num_trees, self.num_inner)).astype(np.float32)
        # A tenth for each of 100 trees: the sum has the spread of one logit, so answers do not saturate.
        self.weight = (rng.normal(size=(num_trees, self.num_inner + 1)) * 0.1).astype(np.float32)

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities by the formula, one tree level at a time. Shape (n, features) -> (n, 2)."""
        trees = np.arange(len(self.weight))
        score = np.zeros(len(x))
        for row, values in enumerate(x):
            node = np.zeros(len(trees), np.int64)
            for _ in range(self.depth):
                right = values[self.feature[trees, node]] > self.threshold[trees, node]
                node = 2 * node + 1 + right
            score[row] = self.weight[trees, node - self.num_inner].sum(dtype=np.float64)
        positive = 1 / (1 + np.exp(-score))
        return np.stack([1 - positive, positive], axis=1).astype(np.float32)


def tiny(seed: int = 0, num_features: int = FEATURES) -> ModelProto:
    """A gradient boosting classifier: 100 trees of depth 3 over 30 features, probabilities of two classes."""
    trees = Trees(seed, num_features=num_features)
    num_trees, num_leaves = trees.weight.shape
    size = trees.num_inner + num_leaves
    node = np.arange(size)
    inner = node < trees.num_inner
    leaf_columns = np.zeros((num_trees, num_leaves))
    attributes = {
        "nodes_treeids": np.repeat(np.arange(num_trees), size),
        "nodes_nodeids": np.tile(node, num_trees),
        "nodes_featureids": np.hstack([trees.feature, leaf_columns]).astype(np.int64).ravel(),
        "nodes_values": np.hstack([trees.threshold, leaf_columns]).astype(np.float32).ravel(),
        "nodes_truenodeids": np.tile(np.where(inner, 2 * node + 1, 0), num_trees),
        "nodes_falsenodeids": np.tile(np.where(inner, 2 * node + 2, 0), num_trees),
        "class_treeids": np.repeat(np.arange(num_trees), num_leaves),
        "class_nodeids": np.tile(node[~inner], num_trees),
        "class_ids": np.zeros(num_trees * num_leaves, np.int64),
        "class_weights": trees.weight.ravel(),
    }
    classifier = helper.make_node(
        "TreeEnsembleClassifier",
        ["x"],
        ["label", "y"],
        domain="ai.onnx.ml",
        post_transform="LOGISTIC",
        classlabels_int64s=[0, 1],
        nodes_modes=["BRANCH_LEQ" if is_inner else "LEAF" for is_inner in inner] * num_trees,
        **{key: value.tolist() for key, value in attributes.items()},
    )
    return build(
        "tiny", [classifier], [tensor("x", "FP32", ["N", num_features])], [tensor("y", "FP32", ["N", 2])]
    )


def text(seed: int = 0) -> ModelProto:
    """The compute of MiniLM-L6 (6 layers, 384 wide, 12 heads), random weights; all tokens are real."""
    transformer = Transformer(seed, num_layers=6, hidden=384, num_heads=12, vocabulary=30_522)
    transformer.pool(transformer.layers("x", mask=None), "y", mask=None)
    inputs = [tensor("x", "INT64", ["N", "L"])]
    return build("text", transformer.nodes, inputs, [tensor("y", "FP32", ["N", 384])], transformer.weights)


def encoder(
    seed: int = 0,
    *,
    num_layers: int = 1,
    hidden: int = 32,
    num_heads: int = 4,
    vocabulary: int = 1000,
    pooled: bool = True,
    given: Mapping[str, ArrayLike] | None = None,
) -> ModelProto:
    """An encoder that keeps to its attention mask: padding (mask 0) changes no real token's answer.

    Output `pooled` FP32[N,hidden], the mean over real tokens; or, with `pooled=False`, `hidden`
    FP32[N,L,hidden], which a batch of ragged requests has to cut along axis 1. `given`: weights, not drawn.
    """
    transformer = Transformer(
        seed,
        num_layers=num_layers,
        hidden=hidden,
        num_heads=num_heads,
        vocabulary=vocabulary,
        given=given,
    )
    states = transformer.layers("input_ids", mask="attention_mask")
    if pooled:
        transformer.pool(states, "pooled", mask="attention_mask")
        outputs = [tensor("pooled", "FP32", ["N", hidden])]
    else:
        transformer.op("Identity", [states], "hidden")
        outputs = [tensor("hidden", "FP32", ["N", "L", hidden])]
    inputs = [tensor("input_ids", "INT64", ["N", "L"]), tensor("attention_mask", "INT64", ["N", "L"])]
    return build("encoder", transformer.nodes, inputs, outputs, transformer.weights)


def identity(datatype: str = "FP32", shape: Sequence[Dimension] = ("N", "M")) -> ModelProto:
    """Gives back what it takes, in any datatype of the Open Inference Protocol."""
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    return build("identity", nodes, [tensor("x", datatype, shape)], [tensor("y", datatype, shape)])


def matmul(num_inputs: int = 8, num_outputs: int = 4, seed: int = 0) -> ModelProto:
    """One linear layer without bias; its weight is the initializer `w`, shape (num_inputs, num_outputs)."""
    weight = np.random.default_rng(seed).normal(size=(num_inputs, num_outputs)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    inputs, outputs = [tensor("x", "FP32", ["N", num_inputs])], [tensor("y", "FP32", ["N", num_outputs])]
    return build("matmul", nodes, inputs, outputs, {"w": weight})


def busy(num_layers: int, width: int = 256, seed: int = 0, *, num_weights: int | None = None) -> ModelProto:
    """Dense layers, x FP32[N,width] -> y FP32[N,width]: about 2 * width**2 * num_layers operations a row.

    Args: num_weights: so many matrices that layers take in turn, so that few stay in a core's own cache; None: one each.
    """
    num_weights = num_weights or num_layers
    rng = np.random.default_rng(seed)
    weights: dict[str, ArrayLike] = {}
    nodes = []
    for layer in range(num_layers):
        weight = f"w{layer % num_weights}"
        if layer < num_weights:
            weights[weight] = (rng.normal(size=(width, width)) / width**0.5).astype(np.float32)
        nodes.append(helper.make_node("MatMul", [f"h{layer}" if layer else "x", weight], [f"m{layer}"]))
        last = layer == num_layers - 1
        nodes.append(helper.make_node("Tanh", [f"m{layer}"], ["y" if last else f"h{layer + 1}"]))
    return build(
        "busy", nodes, [tensor("x", "FP32", ["N", width])], [tensor("y", "FP32", ["N", width])], weights
    )


def two_inputs(shape: Sequence[Dimension] = ("N", "M")) -> ModelProto:
    """total = a + b, difference = a - b."""
    nodes = [
        helper.make_node("Add", ["a", "b"], ["total"]),
        helper.make_node("Sub", ["a", "b"], ["difference"]),
    ]
    inputs = [tensor("a", "FP32", shape), tensor("b", "FP32", shape)]
    return build(
        "two_inputs", nodes, inputs, [tensor("total", "FP32", shape), tensor("difference", "FP32", shape)]
    )


def gather(num_rows: int = 10) -> ModelProto:
    """Row i of a table is (i, i squared); an index outside is an error of the engine, for the whole batch."""
    table = np.stack([np.arange(num_rows), np.arange(num_rows) ** 2], axis=1).astype(np.float32)
    nodes = [helper.make_node("Gather", ["table", "x"], ["y"], axis=0)]
    inputs, outputs = [tensor("x", "INT64", ["N"])], [tensor("y", "FP32", ["N", 2])]
    return build("gather", nodes, inputs, outputs, {"table": table})


def centred() -> ModelProto:
    """Subtracts the batch's mean: the model that must never be batched, though its batch axis is symbolic."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[0], keepdims=1),
        helper.make_node("Sub", ["x", "mean"], ["y"]),
    ]
    return build("centred", nodes, [tensor("x", "FP32", ["N", "M"])], [tensor("y", "FP32", ["N", "M"])])


def total() -> ModelProto:
    """The sum of everything, a scalar."""
    nodes = [helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0)]
    return build("total", nodes, [tensor("x", "FP32", ["N", "M"])], [tensor("y", "FP32", [])])
