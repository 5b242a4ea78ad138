"""Sentences as people write them, their tokenizer, and an encoder with an attention mask: one folder for all sides.

Real ones (Banking77) where they lie beside the project, else drawn with lengths like theirs. Weights and tokenizer
of MiniLM-L6 where there are peers, else drawn and made here.
"""

import csv
import json
import random
from pathlib import Path

from benchmarks import models
from benchmarks._minilm import encoder_weights
from benchmarks._records import OUT
from benchmarks._sides import SHARED
from trivet.load.job import HttpRequest

FOLDER = OUT / "sides" / "sentences"
MAX_TOKENS = 128
_LAYERS, _HIDDEN, _HEADS, _VOCABULARY = 6, 384, 12, 30_522
_NUM_WORDS = 2_000
_PATIENCE_US = 10_000_000  # a closed loop asks for the maximum, not for answers in time
_STEPS = '''from pathlib import Path

import numpy as np
from tokenizers import Tokenizer


class Tokenize:
    """One sentence to its token ids and their mask."""

    def __init__(self):
        self.tokenizer = Tokenizer.from_file(str(Path(__file__).with_name("tokenizer.json")))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation({max_tokens})

    def __call__(self, inputs):
        ids = np.array([self.tokenizer.encode(inputs["text"][0].decode()).ids], np.int64)
        return {{"input_ids": ids, "attention_mask": np.ones_like(ids)}}
'''
_SERVICE = """name: m
inputs: [{name: text, datatype: BYTES, shape: [1]}]
models:
  encoder:
    file: encoder.onnx
    ragged: {input_ids: {axis: 1, pad: 0}, attention_mask: {axis: 1, pad: 0}}
pipeline:
  - preprocess: steps.py:Tokenize
    files: [tokenizer.json]
  - model: encoder
"""


def prepare(peers: Path | None) -> Path:
    """Write the model, the tokenizer and trivet's service; the folder."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    weights = sorted((peers / "minilm").rglob("model.safetensors")) if peers is not None else []
    if weights:
        given = encoder_weights(weights[0])
        tokenizer = weights[0].with_name("tokenizer.json").read_text()
    else:
        given, tokenizer = None, _own_tokenizer(sentences())
    encoder = models.encoder(
        num_layers=_LAYERS, hidden=_HIDDEN, num_heads=_HEADS, vocabulary=_VOCABULARY, given=given
    )
    models.write(encoder, FOLDER / "encoder.onnx")
    (FOLDER / "tokenizer.json").write_text(tokenizer)
    (FOLDER / "steps.py").write_text(_STEPS.format(max_tokens=MAX_TOKENS))
    (FOLDER / "service.yaml").write_text(_SERVICE)
    return FOLDER


def source() -> Path | None:
    """Banking77's test part, where it lies beside the project."""
    path = SHARED / "data" / "banking77" / "test.csv"
    return path if path.exists() else None


def sentences() -> list[str]:
    path = source()
    if path is None:
        return drawn_sentences(1_000, seed=7)
    with path.open(newline="", encoding="utf-8") as file:
        return [row["text"] for row in csv.DictReader(file)]


def drawn_sentences(count: int, seed: int) -> list[str]:
    """Words that mean nothing, as many as customers take: 10 at the median, log-normal, 3 to 60."""
    generator = random.Random(seed)
    words = [
        "".join(generator.choices("abcdefghijklmnoprstuvw", k=generator.randint(2, 8)))
        for _ in range(_NUM_WORDS)
    ]
    lengths = [min(60, max(3, round(generator.lognormvariate(2.3, 0.5)))) for _ in range(count)]
    return [" ".join(generator.choices(words, k=length)) + "?" for length in lengths]


def requests(speaks: str, seed: int) -> list[HttpRequest]:
    """All sentences in an order of the seed's own: the same for every side."""
    texts = sentences()
    random.Random(seed).shuffle(texts)
    return [_request(text, speaks) for text in texts]


def _request(text: str, speaks: str) -> HttpRequest:
    headers = {"Content-Type": "application/json"}
    if speaks == "x":
        return HttpRequest(path="/predict", headers=headers, body=json.dumps({"text": text}).encode())
    tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "data": [text]}
    body = {"inputs": [tensor], "parameters": {"timeout": _PATIENCE_US}}
    return HttpRequest(path="/v2/models/m/infer", headers=headers, body=json.dumps(body).encode())


def _own_tokenizer(texts: list[str]) -> str:
    """A tokenizer that knows every word of the texts: as many tokens as words, and one at either end."""
    from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
    from tokenizers.models import WordLevel

    split = pre_tokenizers.BertPreTokenizer()
    words = {word for text in texts for word, _ in split.pre_tokenize_str(text.lower())}
    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *sorted(words)])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = split
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[(word, vocabulary[word]) for word in ("[CLS]", "[SEP]")],
    )
    text: str = tokenizer.to_str()
    return text
