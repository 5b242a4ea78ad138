"""The demo's service as a user would have it: a folder with a model, labels, a labelled sample and a service.yaml."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort

from demo.file_types import FileTypes
from demo.labelled_files import LabelledFiles
from trivet.stats.proportion import proportion_interval

FLOOR_POINTS = 2.0  # of accuracy: what an answer may get worse for speed
LATENCY = "60ms"
_BATCH = 8

SERVICE = """\
name: file-type

models:
  file-type:
    file: file-type.onnx

slo:
  percentile: 99
  latency: {latency}
  deadline: 200ms
  accuracy: {floor:.4f}      # the original has {accuracy:.4f} on the rows to choose by; {points:g} points less are accepted

data:
  path: files.npz            # {words}
  columns: {{bytes: features}}
  label: label
  cohort: extension
  split: part

decode: {{by: argmax, labels: labels.txt}}
metric: accuracy
"""


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Of the model as it is, on rows that nothing is judged by; `num_judged`: rows that variants are judged by."""

    estimate: float
    num_rows: int
    num_judged: int

    def in_words(self) -> str:
        """What so many rows can show."""
        most = proportion_interval(0, self.num_judged, 0.9).high  # one-sided: 95 %
        return (
            f"accuracy of the model as it is: {self.estimate:.1%} of {self.num_rows:,} labels; a variant may be "
            f"{FLOOR_POINTS:g} points worse. With {self.num_judged:,} files to judge by, one that never errs where the "
            f"model is right is shown to lose at most {100 * most:.2g} points (95 % sure); smaller promises need more files"
        )


def write_service(folder: Path, model: FileTypes, found: LabelledFiles) -> Accuracy:
    """Everything that `trivet tune service.yaml` needs, in one folder."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(model.path, folder / "file-type.onnx")
    (folder / "labels.txt").write_text("".join(f"{label}\n" for label in model.labels))
    np.savez(
        folder / "files.npz",
        features=found.features,
        label=np.array([file.label for file in found.files]),
        extension=np.array([file.extension for file in found.files]),
        part=np.array(found.parts),
    )
    accuracy = _accuracy(model, found)
    (folder / "service.yaml").write_text(
        SERVICE.format(
            latency=LATENCY,
            floor=accuracy.estimate - FLOOR_POINTS / 100,
            accuracy=accuracy.estimate,
            points=FLOOR_POINTS,
            words=f"{len(found.files):,} files of this machine, digest {found.digest[:12]}",
        )
    )
    return accuracy


def _accuracy(model: FileTypes, found: LabelledFiles) -> Accuracy:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(model.path), options, providers=["CPUExecutionProvider"])
    rows = [place for place, part in enumerate(found.parts) if part == "validation"]
    right = 0
    for start in range(0, len(rows), _BATCH):
        places = rows[start : start + _BATCH]
        scores = session.run(None, {"bytes": found.features[places]})[0]
        answers = [model.labels[index] for index in scores.argmax(axis=1)]
        right += sum(
            answer == found.files[place].label for answer, place in zip(answers, places, strict=True)
        )
    return Accuracy(right / max(1, len(rows)), len(rows), found.parts.count("test"))
