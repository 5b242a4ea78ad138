"""A BERT-like encoder as ONNX nodes, with weights drawn from a seed, or with given ones."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from onnx import NodeProto, TensorProto, helper

MAX_LENGTH = 512
EPSILON = 1e-12
MASKED = -1e9  # added to the score of a padded token: its share of attention is exactly 0 in float32


class Transformer:
    """Collects `nodes` and `weights`. Every tensor is named after the layer that makes it.

    `given`: all weights by the names that are drawn here, and of each norm `<name>.gain` and `<name>.offset`, which
    are ones and zeros where weights are drawn.
    """

    def __init__(
        self,
        seed: int,
        *,
        num_layers: int,
        hidden: int,
        num_heads: int,
        vocabulary: int,
        given: Mapping[str, ArrayLike] | None = None,
    ) -> None:
        if hidden % num_heads:
            raise ValueError(f"hidden {hidden} is not a multiple of num_heads {num_heads}")
        self.nodes: list[NodeProto] = []
        self.weights: dict[str, ArrayLike] = {}
        self._given = given
        self._rng = np.random.default_rng(seed)
        self._num_layers, self._hidden, self._num_heads, self._vocabulary = (
            num_layers,
            hidden,
            num_heads,
            vocabulary,
        )

    def op(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def layers(self, tokens: str, mask: str | None) -> str:
        """Hidden states FP32[N,L,hidden] of `tokens` INT64[N,L]."""
        states = self._embed(tokens)
        bias = self._attention_bias(mask) if mask else None
        for layer in range(self._num_layers):
            prefix = f"layer{layer}."
            attended = self._linear(
                self._attention(states, bias, prefix), self._hidden, self._hidden, prefix + "project"
            )
            states = self._norm(self.op("Add", [attended, states], prefix + "residual1"), prefix + "norm1")
            inner = self._linear(states, self._hidden, 4 * self._hidden, prefix + "widen")
            narrow = self._linear(
                self._gelu(inner, prefix), 4 * self._hidden, self._hidden, prefix + "narrow"
            )
            states = self._norm(self.op("Add", [narrow, states], prefix + "residual2"), prefix + "norm2")
        return states

    def pool(self, states: str, output: str, mask: str | None) -> str:
        """Mean of the real tokens' states, at length 1: FP32[N,hidden]."""
        if mask is None:
            mean = self.op("ReduceMean", [states], "pool.mean", axes=[1], keepdims=0)
        else:
            real = self.op(
                "Unsqueeze",
                [self.op("Cast", [mask], "pool.real", to=TensorProto.FLOAT), self._ints([2])],
                "pool.column",
            )
            kept = self.op("Mul", [states, real], "pool.kept")
            total = self.op("ReduceSum", [kept, self._ints([1])], "pool.total", keepdims=0)
            mean = self.op(
                "Div",
                [total, self.op("ReduceSum", [real, self._ints([1])], "pool.count", keepdims=0)],
                "pool.mean",
            )
        return self.op("LpNormalization", [mean], output, axis=-1, p=2)

    def _weight(self, name: str, shape: tuple[int, ...], scale: float) -> str:
        if self._given is not None:
            if np.shape(self._given[name]) != shape:
                raise ValueError(f"weight {name} has shape {np.shape(self._given[name])}; expected {shape}")
            return self._constant(name, self._given[name])
        self.weights[name] = (self._rng.standard_normal(shape, np.float32) * np.float32(scale)).astype(
            np.float32
        )
        return name

    def _constant(self, name: str, value: ArrayLike) -> str:
        self.weights.setdefault(name, value)
        return name

    def _ints(self, values: list[int]) -> str:
        return self._constant("ints_" + "_".join(map(str, values)), np.array(values, np.int64))

    def _float(self, value: float) -> str:
        return self._constant(f"float_{value:.9g}", np.array(value, np.float32))

    def _embed(self, tokens: str) -> str:
        words = self._weight("words", (self._vocabulary, self._hidden), 1.0)
        positions = self._weight("positions", (MAX_LENGTH, self._hidden), 0.1)
        length = self.op(
            "Gather", [self.op("Shape", [tokens], "embed.shape"), self._ints([1])], "embed.length", axis=0
        )
        zero = self._ints([0])
        used = self.op("Slice", [positions, zero, length, zero], "embed.positions")
        words = self.op("Gather", [words, tokens], "embed.words", axis=0)
        return self._norm(self.op("Add", [words, used], "embed.sum"), "embed.norm")

    def _attention_bias(self, mask: str) -> str:
        """0 for a real token, MASKED for padding; FP32[N,1,1,L], broadcast over heads and queries."""
        real = self.op("Cast", [mask], "bias.real", to=TensorProto.FLOAT)
        padded = self.op("Sub", [self._float(1), real], "bias.padded")
        return self.op(
            "Unsqueeze",
            [self.op("Mul", [padded, self._float(MASKED)], "bias.flat"), self._ints([1, 2])],
            "bias",
        )

    def _attention(self, states: str, bias: str | None, prefix: str) -> str:
        width = self._hidden // self._num_heads

        def heads(name: str, perm: list[int]) -> str:
            projected = self._linear(states, self._hidden, self._hidden, prefix + name)
            split = self.op(
                "Reshape", [projected, self._ints([0, 0, self._num_heads, width])], f"{prefix}{name}.split"
            )
            return self.op("Transpose", [split], f"{prefix}{name}.heads", perm=perm)

        query, key, value = (
            heads("query", [0, 2, 1, 3]),
            heads("key", [0, 2, 3, 1]),
            heads("value", [0, 2, 1, 3]),
        )
        scores = self.op(
            "Div",
            [self.op("MatMul", [query, key], prefix + "dots"), self._float(width**0.5)],
            prefix + "scores",
        )
        if bias:
            scores = self.op("Add", [scores, bias], prefix + "masked")
        shares = self.op("Softmax", [scores], prefix + "shares", axis=-1)
        mixed = self.op(
            "Transpose",
            [self.op("MatMul", [shares, value], prefix + "mixed")],
            prefix + "back",
            perm=[0, 2, 1, 3],
        )
        return self.op("Reshape", [mixed, self._ints([0, 0, self._hidden])], prefix + "joined")

    def _linear(self, states: str, num_inputs: int, num_outputs: int, name: str) -> str:
        weight = self._weight(name + ".weight", (num_inputs, num_outputs), num_inputs**-0.5)
        bias = self._weight(name + ".bias", (num_outputs,), 0.02)
        return self.op("Add", [self.op("MatMul", [states, weight], name + ".product"), bias], name)

    def _norm(self, states: str, name: str) -> str:
        if self._given is not None:
            gain, offset = (self._weight(f"{name}.{part}", (self._hidden,), 0) for part in ("gain", "offset"))
        else:
            gain = self._constant("norm.gain", np.ones(self._hidden, np.float32))
            offset = self._constant("norm.offset", np.zeros(self._hidden, np.float32))
        return self.op("LayerNormalization", [states, gain, offset], name, axis=-1, epsilon=EPSILON)

    def _gelu(self, states: str, prefix: str) -> str:
        """x / 2 * (1 + erf(x / sqrt 2)), in the five nodes that onnxruntime fuses into one."""
        scaled = self.op("Div", [states, self._float(2**0.5)], prefix + "gelu.scaled")
        curve = self.op(
            "Add", [self.op("Erf", [scaled], prefix + "gelu.erf"), self._float(1)], prefix + "gelu.curve"
        )
        product = self.op("Mul", [states, curve], prefix + "gelu.product")
        return self.op("Mul", [product, self._float(0.5)], prefix + "gelu")
