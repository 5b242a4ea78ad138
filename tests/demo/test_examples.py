"""Both examples as their READMEs say, up to the service that is tuned; their models are small ones here."""

import csv
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from benchmarks import models
from benchmarks._sentences import _own_tokenizer
from trivet.spec.service_file import load_configuration

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(folder: Path, *words: str) -> str:
    done = subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_digits_are_trained_converted_and_right(tmp_path: Path) -> None:
    folder = tmp_path / "digits"
    shutil.copytree(EXAMPLES / "digits", folder)
    assert "1,797 rows" in run(folder, "prepare.py")
    converted = run(folder, "-m", "trivet.cli.main", "convert", "digits.py:model", "--to", "digits.onnx")
    assert "label: largest difference 0" in converted
    found = load_configuration(folder / "service.yaml")
    rows = np.load(folder / "digits.npz")
    judged = rows["part"] == "test"
    session = ort.InferenceSession(str(folder / "digits.onnx"), providers=["CPUExecutionProvider"])
    answers = session.run(["label"], {"x": rows["pixels"][judged]})[0]
    assert np.mean(answers == rows["digit"][judged]) > (found.service.slo.accuracy or 1)


@pytest.fixture(scope="module")
def intent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of three labels with words of their own, one label that is too rare, and a row without one."""
    folder = tmp_path_factory.mktemp("examples") / "intent"
    shutil.copytree(EXAMPLES / "intent", folder)
    words = {
        "card": "card lost stolen pin",
        "rate": "exchange rate euro dollar",
        "app": "login phone screen app",
    }
    rng = np.random.default_rng(0)
    rows = [
        (" ".join(rng.choice(text.split(), 3)), label) for label, text in words.items() for _ in range(60)
    ]
    rows += [("who are you", "rare"), ("nothing", "")]
    with (folder / "questions.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("question", "topic"), *rows])
    models.write(models.encoder(hidden=64), folder / "encoder.onnx")
    (folder / "own-tokenizer.json").write_text(_own_tokenizer([text for text, _ in rows]))
    return folder


def test_any_csv_becomes_a_service(intent: Path) -> None:
    options = ["--encoder", "encoder.onnx", "--tokenizer", "own-tokenizer.json"]
    said = run(intent, "prepare.py", "questions.csv", "--text", "question", "--label", "topic", *options)
    assert "1 rows without a text or a label are left out" in said
    assert "1 rows of labels with fewer than 10 are left out" in said
    assert "180 texts with 3 labels" in said
    found = load_configuration(intent / "service.yaml")
    service = found.service
    assert service.data is not None
    assert service.inputs is not None
    session = ort.InferenceSession(str(intent / "intent.onnx"), providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == ["scores"]
    part = {row["part"] for row in csv.DictReader((intent / "texts.csv").read_text().splitlines())}
    assert part == {"fit", "validation", "test"}
    _judged_rows_are_right(intent)


def _judged_rows_are_right(folder: Path) -> None:
    """The head has learned: tokens through the graph that is served."""
    code = """
import csv, numpy as np, onnxruntime as ort
from steps import Tokenize
session = ort.InferenceSession("intent.onnx", providers=["CPUExecutionProvider"])
names = open("labels.txt").read().split()
rows = [row for row in csv.DictReader(open("texts.csv")) if row["part"] == "test"]
right = [
    names[session.run(None, Tokenize()({"text": np.array([row["text"].encode()], object)}))[0].argmax()]
    == row["label"]
    for row in rows
]
print(len(right), sum(right))
"""
    num, right = map(int, run(folder, "-c", code).split())
    assert num == 54
    assert right >= 50


def test_a_missing_column_is_named(intent: Path) -> None:
    done = subprocess.run(
        [sys.executable, "prepare.py", "questions.csv", "--text", "quesion"],
        cwd=intent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "has no column 'quesion'; its columns: question, topic" in done.stderr
