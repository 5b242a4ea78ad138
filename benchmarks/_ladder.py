"""Banking77 from cheap to dear: four classifiers, each row scored by heads that have not seen it.

The ladder: TF-IDF with logistic regression (n-grams looked up in a step, their weights summed in a small graph), MiniLM-L3
in int8, MiniLM-L6 in int8, MiniLM-L6 in fp32; heads are logistic regressions on the encoders' vectors. Rows are dealt into
folds; each row is scored by what was fitted on the other folds. The models that are served are those of fold 0, whose rows
they have not seen.
"""

import csv
import math
import re
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import models
from benchmarks._minilm import encoder_weights
from benchmarks._sides import SHARED

NAMES = ("linear", "small", "int8", "full")
FOLDS = 5
SEED = 11
MAX_TOKENS = 64
_HEAD_C = 30.0
_LINEAR_C = 20.0
_MIN_COUNT = 2
_WORD = re.compile(r"[a-z0-9']+")

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Ladder:
    """folder: models, tokenizer, vocabulary and steps.  texts, labels: all rows; label is a place in `names`.
    folds: of each row.  scores: logits of each rung, shape (rungs, rows, classes), by heads that have not seen the row."""

    folder: Path
    texts: list[str]
    labels: NDArray[np.int64]
    names: list[str]
    folds: NDArray[np.int64]
    scores: Floats


def ladder(packages: Path, folder: Path) -> Ladder:
    """Made once, then read from `folder`. Args: packages: a folder with both MiniLM packages."""
    texts, words = _rows()
    names = sorted(set(words))
    labels = np.array([names.index(word) for word in words], np.int64)
    folds = np.random.default_rng(SEED).permutation(len(texts)) % FOLDS
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "scores.npz"
    if not kept.exists():
        scores = _made(packages, folder, texts, labels, folds, len(names))
        np.savez(kept, scores=scores)
    scores = np.load(kept)["scores"]
    return Ladder(folder, texts, labels, names, folds, scores)


def _rows() -> tuple[list[str], list[str]]:
    texts, labels = [], []
    for part in ("train", "test"):
        path = SHARED / "data" / "banking77" / f"{part}.csv"
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                texts.append(row["text"])
                labels.append(row["category"])
    return texts, labels


def _made(
    packages: Path,
    folder: Path,
    texts: list[str],
    labels: NDArray[np.int64],
    folds: NDArray[np.int64],
    num_classes: int,
) -> Floats:
    _write_encoders(packages, folder)
    scores = np.zeros((len(NAMES), len(texts), num_classes), np.float32)
    scores[0] = _linear(folder, texts, labels, folds, num_classes)
    for rung, name in enumerate(NAMES[1:], 1):
        vectors = _vectors(folder, name, texts)
        for fold in range(FOLDS):
            seen = folds != fold
            weights, bias = _head(vectors[seen], labels[seen])
            scores[rung, ~seen] = vectors[~seen] @ weights + bias
            if fold == 0:
                _write_classifier(folder, name, weights, bias)
    return scores


# --- the encoders ---------------------------------------------------------------------------------------------------


def _write_encoders(packages: Path, folder: Path) -> None:
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    weights = next(packages.rglob("model.safetensors"))
    shutil.copyfile(weights.with_name("tokenizer.json"), folder / "tokenizer.json")
    full = models.encoder(
        num_layers=6, hidden=384, num_heads=12, vocabulary=30_522, given=encoder_weights(weights)
    )
    models.write(full, folder / "full.encoder.onnx")
    small = next(packages.rglob("paraphrase-MiniLM-L3-v2.onnx"))
    onnx.save(onnx.load(small), folder / "small32.encoder.onnx")
    for source, made in (("full", "int8"), ("small32", "small")):
        quantize_dynamic(
            folder / f"{source}.encoder.onnx", folder / f"{made}.encoder.onnx", weight_type=QuantType.QInt8
        )


def _vectors(folder: Path, name: str, texts: Sequence[str]) -> Floats:
    """Of unit length, one text at a time: as they are served."""
    import onnxruntime as ort
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(
        str(folder / f"{name}.encoder.onnx"), options, providers=["CPUExecutionProvider"]
    )
    output = _vector_output(session)
    found = []
    for text in texts:
        ids = np.array([tokenizer.encode(text).ids], np.int64)
        [vector] = session.run([output], {"input_ids": ids, "attention_mask": np.ones_like(ids)})
        found.append(vector[0] / np.linalg.norm(vector[0]))
    return np.stack(found).astype(np.float32)


def _vector_output(session: Any) -> str:
    """The output with one vector a text."""
    return next(
        str(one.name)
        for one in session.get_outputs()
        if len(one.shape) == 2 and isinstance(one.shape[1], int)
    )


def _head(vectors: Floats, labels: NDArray[np.int64]) -> tuple[Floats, Floats]:
    from sklearn.linear_model import LogisticRegression

    head = LogisticRegression(C=_HEAD_C, max_iter=300).fit(vectors, labels)
    return head.coef_.T.astype(np.float32), head.intercept_.astype(np.float32)


def _write_classifier(folder: Path, name: str, weights: Floats, bias: Floats) -> None:
    """The encoder with its vector brought to unit length and the head behind it."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(folder / f"{name}.encoder.onnx")
    vector = next(
        one.name
        for one in model.graph.output
        if len(one.type.tensor_type.shape.dim) == 2 and one.type.tensor_type.elem_type == TensorProto.FLOAT
    )
    graph = model.graph
    graph.initializer.extend(
        [numpy_helper.from_array(weights, "head.weights"), numpy_helper.from_array(bias, "head.bias")]
    )
    graph.node.extend(
        [
            helper.make_node("LpNormalization", [vector], ["unit"], axis=1, p=2),
            helper.make_node("MatMul", ["unit", "head.weights"], ["head.product"]),
            helper.make_node("Add", ["head.product", "head.bias"], ["logits"]),
        ]
    )
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", len(bias)]))
    for one in graph.input:  # one name for the rows' axis
        one.type.tensor_type.shape.dim[0].dim_param = "N"
    onnx.save(model, folder / f"{name}.onnx")


# --- TF-IDF ---------------------------------------------------------------------------------------------------------


def grams(text: str) -> list[str]:
    """Words, pairs of them, and the beginnings of longer ones."""
    words = _WORD.findall(text.lower())
    pairs = [f"{a} {b}" for a, b in pairwise(words)]
    return [*words, *pairs, *(word[:4] + "*" for word in words if len(word) > 4)]


STEP = '''"""Words of a text as rows of a table with their TF-IDF weights, of unit length together."""

import json
import math
import re
from pathlib import Path

import numpy as np

_WORD = re.compile(r"[a-z0-9']+")


class Grams:
    def __init__(self):
        self.known = {gram: (place, weight) for gram, place, weight in json.loads(
            Path(__file__).with_name("grams.json").read_text())}

    def __call__(self, inputs):
        words = _WORD.findall(inputs["text"][0].decode().lower())
        found, known = {}, self.known
        for gram in (*words, *map(" ".join, zip(words, words[1:])), *[w[:4] + "*" for w in words if len(w) > 4]):
            one = known.get(gram)
            if one is not None:
                found[one[0]] = found.get(one[0], 0.0) + one[1]
        if not found:
            found = {0: 0.0}
        values = np.array(list(found.values()), np.float32)
        norm = math.sqrt(float(values @ values)) or 1.0
        return {
            "places": np.array([list(found)], np.int64),
            "weights": (values / norm)[None],
        }
'''


def _linear(
    folder: Path, texts: list[str], labels: NDArray[np.int64], folds: NDArray[np.int64], num_classes: int
) -> Floats:
    from scipy.sparse import csr_matrix
    from sklearn.linear_model import LogisticRegression

    all_grams = [Counter(grams(text)) for text in texts]
    scores = np.zeros((len(texts), num_classes), np.float32)
    for fold in range(FOLDS):
        seen = folds != fold
        counts = Counter(
            gram for row, is_seen in zip(all_grams, seen, strict=True) if is_seen for gram in row
        )
        kept = sorted(gram for gram, count in counts.items() if count >= _MIN_COUNT)
        places = {gram: place for place, gram in enumerate(kept)}
        num = int(seen.sum())
        idf = [1 + math.log((1 + num) / (1 + counts[gram])) for gram in kept]
        values, columns, starts = [], [], [0]
        for row in all_grams:
            found = {places[gram]: count * idf[places[gram]] for gram, count in row.items() if gram in places}
            norm = math.sqrt(sum(value * value for value in found.values())) or 1.0
            columns += list(found)
            values += [value / norm for value in found.values()]
            starts.append(len(columns))
        table = csr_matrix((values, columns, starts), (len(texts), len(kept)))
        model = LogisticRegression(C=_LINEAR_C, max_iter=200).fit(table[seen], labels[seen])
        scores[~seen] = table[~seen] @ model.coef_.T + model.intercept_
        if fold == 0:
            _write_linear(folder, kept, idf, model.coef_.T, model.intercept_)
    return scores


def _write_linear(
    folder: Path, kept: list[str], idf: list[float], weights: NDArray[Any], bias: NDArray[Any]
) -> None:
    import json

    from onnx import helper

    table = [(gram, place, idf[place]) for place, gram in enumerate(kept)]
    (folder / "grams.json").write_text(json.dumps(table))
    nodes = [
        helper.make_node("Gather", ["table", "places"], ["rows"], axis=0),
        helper.make_node("Unsqueeze", ["weights", "first"], ["row"]),
        helper.make_node("MatMul", ["row", "rows"], ["sums"]),
        helper.make_node("Squeeze", ["sums", "first"], ["flat"]),
        helper.make_node("Add", ["flat", "bias"], ["logits"]),
    ]
    inputs = [models.tensor("places", "INT64", ["N", "K"]), models.tensor("weights", "FP32", ["N", "K"])]
    given = {
        "table": weights.astype(np.float32),
        "bias": bias.astype(np.float32),
        "first": np.array([1], np.int64),
    }
    outputs = [models.tensor("logits", "FP32", ["N", len(bias)])]
    models.write(models.build("linear", nodes, inputs, outputs, given), folder / "linear.onnx")
