"""Which units can be cut out, and what the model answers without them: exactly the same where they did nothing."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import NodeProto, helper

from benchmarks.models import build, tensor, write
from tests.variants.learned_models import layers, number_rows
from trivet.engine.onnx import OnnxEngine
from trivet.variants.learned.activity import activities, importance
from trivet.variants.learned.chains import chains_of
from trivet.variants.learned.onnx_model import OnnxModel
from trivet.variants.learned.surgery import cut_units

ROWS = number_rows(40, 3)


def _whole(random: np.random.Generator, *shape: int) -> NDArray[np.float64]:
    """Small integers: sums of products are exact in float32, whatever their order."""
    return random.integers(-3, 4, shape).astype(np.float64)


def _answers(model: bytes, rows: list[dict[str, Any]]) -> NDArray[Any]:
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, row)[0] for row in rows])


def _without_idle(path: Path, rows: list[dict[str, Any]]) -> tuple[Any, int]:
    """The model without the units that do not matter on these rows, and how many they are."""
    model = OnnxModel(path)
    chains = chains_of(model)
    seen = activities(model, chains, rows)
    kept = [(chain, np.flatnonzero(importance(chain, model, seen) > 0)) for chain in chains]
    return cut_units(model, kept, seen), sum(chain.size - len(units) for chain, units in kept)


@settings(max_examples=15, deadline=None)
@example(seed=330, idle={4}, gemm=False)  # it varies with the others by no more than rounding
@given(seed=st.integers(0, 1000), idle=st.sets(st.integers(0, 5), max_size=5), gemm=st.booleans())
def test_units_that_do_nothing_go_and_the_answers_stay(
    tmp_path_factory: pytest.TempPathFactory, seed: int, idle: set[int], gemm: bool
) -> None:
    random = np.random.default_rng(seed)
    weights, biases = [_whole(random, 3, 6), _whole(random, 6, 4)], [_whole(random, 6), _whole(random, 4)]
    weights[0][0], weights[1][:, 0] = 1 + np.arange(6), 1  # every unit moves and is heard, but for these:
    for unit in idle:
        if unit % 2:
            weights[1][unit] = 0  # nobody listens
        else:
            weights[0][:, unit] = 0  # says the same to every row
    path = layers(tmp_path_factory.mktemp("m") / "m.onnx", weights, biases, gemm=gemm)
    model, num_cut = _without_idle(path, ROWS)
    assert num_cut >= len(idle)
    np.testing.assert_array_equal(
        _answers(model.SerializeToString(), ROWS), _answers(path.read_bytes(), ROWS)
    )


def test_the_cut_model_is_smaller_in_every_constant(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    weights = [_whole(random, 3, 6), _whole(random, 6, 5), _whole(random, 5, 2)]
    weights[1][[1, 4]], weights[2][[0]] = 0, 0
    path = layers(tmp_path / "m.onnx", weights, [np.ones(6), np.ones(5), np.ones(2)], gemm=False)
    model, num_cut = _without_idle(path, ROWS)
    assert num_cut >= 3
    shapes = {t.name: tuple(t.dims) for t in model.graph.initializer}
    hidden = shapes["w0"][1], shapes["w1"][1]
    assert shapes == {
        "w0": (3, hidden[0]), "b0": hidden[:1], "w1": hidden, "b1": hidden[1:], "w2": (hidden[1], 2), "b2": (2,)
    }  # fmt: skip
    assert hidden[0] <= 4
    assert hidden[1] <= 4


def test_units_that_repeat_others_are_taken_over(tmp_path: Path) -> None:
    """Least squares finds that the third unit is the sum of the first two."""
    first = np.array([[1.0, 0, 1, 2], [0, 1, 1, 0], [0, 0, 0, 1]])
    second = np.array([[1.0, 2], [3, -1], [2, 2], [1, 0]])
    path = layers(tmp_path / "m.onnx", [first, second], [np.full(4, 9.0), np.zeros(2)])  # Relu never bends
    model = OnnxModel(path)
    chains = chains_of(model)
    cut = cut_units(model, [(chains[0], np.array([0, 1, 3]))], activities(model, chains, ROWS))
    np.testing.assert_allclose(
        _answers(cut.SerializeToString(), ROWS), _answers(path.read_bytes(), ROWS), rtol=2e-3, atol=2e-3
    )


def _image_model(path: Path, random: np.random.Generator, *, flat: bool) -> Path:
    """Two convolutions with what stands between them, then a product over places (flat) or over their mean."""
    size = 3 * 4 if flat else 3
    weights: dict[str, Any] = {
        "k0": _whole(random, 4, 2, 3, 3), "c0": _whole(random, 4), "g": np.array([1.0, 2, 0, 1]), "h": _whole(random, 4),
        "m": np.zeros(4), "v": np.full(4, 1.0), "k1": _whole(random, 3, 4, 1, 1), "c1": _whole(random, 3),
        "w": _whole(random, size, 2),
    }  # fmt: skip
    weights["h"][2] = 5  # scale 0: a channel that says 5 everywhere
    weights["k1"][1], weights["c1"][1] = 0, 0
    weights = {name: value.astype(np.float32) for name, value in weights.items()}
    weights["shape"] = np.array([0, -1], np.int64)
    nodes = [
        helper.make_node("Conv", ["x", "k0", "c0"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["a", "g", "h", "m", "v"], ["n"], epsilon=0.0),
        helper.make_node("Relu", ["n"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["p", "k1", "c1"], ["b"]),
        helper.make_node("Relu", ["b"], ["s"]),
    ]
    if flat:
        nodes.append(helper.make_node("Flatten", ["s"], ["f"]))
    else:
        nodes.append(helper.make_node("GlobalAveragePool", ["s"], ["mean"]))
        nodes.append(helper.make_node("Reshape", ["mean", "shape"], ["f"]))
    nodes.append(helper.make_node("MatMul", ["f", "w"], ["y"]))
    if flat:
        del weights["shape"]
    return write(
        build(
            "image", nodes, [tensor("x", "FP32", ["b", 2, 4, 4])], [tensor("y", "FP32", ["b", 2])], weights
        ),
        path,
    )


@pytest.mark.parametrize("flat", [True, False])
def test_channels_of_images_are_units(tmp_path: Path, flat: bool) -> None:
    random = np.random.default_rng(4)
    path = _image_model(tmp_path / "m.onnx", random, flat=flat)
    rows = [{"x": _whole(random, 1, 2, 4, 4).astype(np.float32)} for _ in range(30)]
    chains = chains_of(OnnxModel(path))
    assert [(chain.size, len(chain.uses)) for chain in chains] == [(4, 1), (3, 1)]
    model, num_cut = _without_idle(path, rows)
    assert num_cut >= 2
    np.testing.assert_allclose(
        _answers(model.SerializeToString(), rows), _answers(path.read_bytes(), rows), rtol=1e-6
    )


def _feed_forward(between: list[NodeProto], **more: Any) -> Any:
    """x -> MatMul -> h -> `between` -> r -> MatMul -> y."""
    nodes = [
        helper.make_node("MatMul", ["x", "w0"], ["h"]),
        *between,
        helper.make_node("MatMul", ["r", "w1"], ["y"]),
    ]
    constants = {"w0": np.ones((3, 6), np.float32), "w1": np.ones((6, 2), np.float32), **more}
    return build("m", nodes, [tensor("x", "FP32", ["b", 3])], [tensor("y", "FP32", ["b", 2])], constants)


GELU = [
    helper.make_node("Div", ["h", "root"], ["d"]),
    helper.make_node("Erf", ["d"], ["e"]),
    helper.make_node("Add", ["e", "one"], ["o"]),
    helper.make_node("Mul", ["h", "o"], ["m"]),
    helper.make_node("Mul", ["m", "half"], ["r"]),
]
SCALARS = {"root": np.float32(1.4), "one": np.ones(1, np.float32), "half": np.float32(0.5)}
EACH = {"each": np.ones(6, np.float32)}


@pytest.mark.parametrize(
    ("between", "constants", "num_cuts"),
    [
        (GELU, SCALARS, 1),
        ([helper.make_node("Add", ["each", "h"], ["a"]), helper.make_node("Relu", ["a"], ["r"])], EACH, 2),
        ([helper.make_node("Sigmoid", ["h"], ["s"]), helper.make_node("Mul", ["s", "h"], ["r"])], {}, 1),
    ],
)
def test_what_works_on_each_unit_alone_is_followed(
    tmp_path: Path, between: list[NodeProto], constants: dict[str, Any], num_cuts: int
) -> None:
    (chain,) = chains_of(OnnxModel(write(_feed_forward(between, **constants), tmp_path / "m.onnx")))
    assert chain.size == 6
    assert len(chain.cuts) == num_cuts


@pytest.mark.parametrize(
    "between",
    [
        [helper.make_node("Softmax", ["h"], ["r"])],
        [
            helper.make_node("ReduceMean", ["h"], ["mean"], axes=[-1]),
            helper.make_node("Sub", ["h", "mean"], ["r"]),
        ],
        [helper.make_node("Transpose", ["h"], ["t"]), helper.make_node("Transpose", ["t"], ["r"])],
        [helper.make_node("Concat", ["h", "h"], ["hh"], axis=0), helper.make_node("Relu", ["hh"], ["r"])],
    ],
)
def test_units_that_others_see_together_stay(tmp_path: Path, between: list[NodeProto]) -> None:
    assert chains_of(OnnxModel(write(_feed_forward(between), tmp_path / "m.onnx"))) == []


def test_weights_that_two_layers_share_stay(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "w"], ["y"]),
    ]
    ends = [tensor("x", "FP32", ["b", 6])], [tensor("y", "FP32", ["b", 6])]
    model = build("m", nodes, *ends, {"w": np.ones((6, 6), np.float32)})
    assert chains_of(OnnxModel(write(model, tmp_path / "m.onnx"))) == []


def test_units_that_are_answered_stay(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w0"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "w1"], ["y"]),
    ]
    constants = {"w0": np.ones((3, 6), np.float32), "w1": np.ones((6, 2), np.float32)}
    outputs = [tensor("y", "FP32", ["b", 2]), tensor("r", "FP32", ["b", 6])]
    model = build("m", nodes, [tensor("x", "FP32", ["b", 3])], outputs, constants)
    assert chains_of(OnnxModel(write(model, tmp_path / "m.onnx"))) == []


def test_a_layer_without_a_bias_gets_one_for_what_is_lost(tmp_path: Path) -> None:
    """The unit says 2 to every row; its mean goes into a new sum behind the product."""
    weights = {"w0": np.array([[1, 0], [0, 0], [1, 0]], np.float32), "w1": np.array([[1], [3]], np.float32)}
    nodes = [
        helper.make_node("Gemm", ["x", "w0", "b0"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "w1"], ["y"]),
    ]
    ends = [tensor("x", "FP32", ["b", 3])], [tensor("y", "FP32", ["b", 1])]
    path = write(
        build("m", nodes, *ends, {**weights, "b0": np.array([0, 2], np.float32)}), tmp_path / "m.onnx"
    )
    model, num_cut = _without_idle(path, ROWS)
    assert num_cut == 1
    assert [node.op_type for node in model.graph.node] == ["Gemm", "Relu", "MatMul", "Add"]
    np.testing.assert_array_equal(
        _answers(model.SerializeToString(), ROWS), _answers(path.read_bytes(), ROWS)
    )
    (tmp_path / "cut.onnx").write_bytes(model.SerializeToString())
    assert OnnxEngine(tmp_path / "cut.onnx").signature == OnnxEngine(path).signature
