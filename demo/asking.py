"""The end of the demo: a few files classified over HTTP, and what is measured beside what was predicted."""

import json
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from demo.commands import output
from demo.file_types import FileTypes
from demo.labelled_files import File, LabelledFiles
from trivet.catalog.catalog import Catalog
from trivet.catalog.study import Study

NUM_ASKED = 8
PATIENT = {
    "timeout": 10_000_000
}  # µs, in the deadline's place: a busy machine is slow, and has an answer all the same
DURATION = "15s"
INVALID = 2  # how `trivet bench` ends where a run says more about the load generator than about the server


def ask_about(address: str, model: FileTypes, found: LabelledFiles) -> None:
    """One file of each of some extensions, each a plain POST."""
    url = f"{address}/v2/models/file-type/infer"
    print(f"\n$ curl -d '{{\"inputs\": [...]}}' {url}")
    for file in _one_of_each(found):
        features = model.features(file.path)
        tensor = {
            "name": "bytes",
            "datatype": "INT32",
            "shape": [1, len(features)],
            "data": features.tolist(),
        }
        body = msgspec.json.encode({"inputs": [tensor], "parameters": PATIENT})
        with urllib.request.urlopen(urllib.request.Request(url, data=body), timeout=30) as response:
            scores = json.load(response)["outputs"][0]["data"]
        best = max(range(len(scores)), key=scores.__getitem__)
        print(f"  {file.path.name[:44]:44s} -> {model.labels[best]:16s} {scores[best]:.3f}", flush=True)
    print()


def _one_of_each(found: LabelledFiles) -> Sequence[File]:
    """Files that nothing was fitted to, of different extensions."""
    chosen: dict[str, File] = {}
    for file, part in zip(found.files, found.parts, strict=True):
        if part == "test":
            chosen.setdefault(file.extension, file)
    return list(chosen.values())[:NUM_ASKED]


def beside_the_forecast(folder: Path, service: str) -> None:
    """The p99 at the study's reference rate: measured now, and as the study has it."""
    study = last_study(folder)
    rate = f"{study.reference_rate_rps:g}"
    words = ["bench", service, "--rate", rate, "--duration", DURATION, "--labelled", "0"]
    print(f"$ trivet {' '.join(words)}", flush=True)
    run = json.loads(output(folder, *words, "--json", codes=(0, INVALID)))
    said = [f"measured {_figure(run['figures']['latency_p99_ms'])}"]
    if run["state"] == "invalid":
        said.append("the machine was too busy to measure that: the run is INVALID")
    if study.recommendation is not None:
        (trial,) = (one for one in study.trials if one.id == study.recommendation.trial)
        for figures, word in ((trial.predicted, "predicted"), (trial.measured, "measured by the study")):
            if "latency_p99_ms" in figures:
                said.append(f"{word} {_figure(msgspec.to_builtins(figures['latency_p99_ms']))}")
    print(f"  p99 at {rate} requests/s: {'; '.join(said)}")


def last_study(folder: Path) -> Study:
    return Catalog.open(str(folder / ".trivet"), create=False).study("last")


def _figure(figure: dict[str, Any]) -> str:
    low, high = figure.get("low"), figure.get("high")
    if low is None or high is None:
        return f"{figure['estimate']:.1f} ms (too few requests for an interval)"
    return f"{figure['estimate']:.1f} [{low:.1f}, {high:.1f}] ms"
