"""The demo's service as a user would have it: a folder with a model, labels, a labelled sample and a service.yaml."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort

from demo.file_types import FileTypes
from demo.labelled_files import LabelledFiles
from trivet.stats.interval import Interval
from trivet.stats.proportion import proportion_interval

DROP_POINTS = 2.0  # of accuracy: what answers may get worse for speed
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
  accuracy_drop: {points:g} points   # the model as it is has {accuracy:.4f}; compared on the same files

data:
  path: files.npz            # {words}
  columns: {{bytes: features}}
  label: label
  cohort: extension
  split: part

decode: {{by: argmax, labels: labels.txt}}
metric: accuracy

variants:
  distilled: {{minutes: 0.25}}
  exclude: [optimized, fp16, bf16, int8-certified, openvino-int8, pruned, early-exit]   # quick; without this line all
"""


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Of the model as it is, on the files that variants are judged by."""

    interval: Interval
    num_rows: int

    def in_words(self) -> str:
        """What so many rows can show."""
        most = proportion_interval(0, self.num_rows, 0.9).high  # one-sided: 95 %
        low, estimate, high = (
            100 * x for x in (self.interval.low, self.interval.estimate, self.interval.high)
        )
        return (
            f"accuracy of the model as it is: {estimate:.1f} % [{low:.1f}, {high:.1f}] of {self.num_rows:,} labels; a "
            f"variant may be {DROP_POINTS:g} points worse. So many files certify no less than {100 * most:.2g} points "
            "(95 % sure, of a variant that never errs where the model is right): smaller promises need more files"
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
            accuracy=accuracy.interval.estimate,
            points=DROP_POINTS,
            words=f"{len(found.files):,} files of this machine, digest {found.digest[:12]}",
        )
    )
    return accuracy


def _accuracy(model: FileTypes, found: LabelledFiles) -> Accuracy:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(model.path), options, providers=["CPUExecutionProvider"])
    rows = [place for place, part in enumerate(found.parts) if part == "test"]
    right = 0
    for start in range(0, len(rows), _BATCH):
        places = rows[start : start + _BATCH]
        scores = session.run(None, {"bytes": found.features[places]})[0]
        answers = [model.labels[index] for index in scores.argmax(axis=1)]
        right += sum(
            answer == found.files[place].label for answer, place in zip(answers, places, strict=True)
        )
    return Accuracy(proportion_interval(right, max(1, len(rows)), 0.95), len(rows))
