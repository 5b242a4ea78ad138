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

NUM_ASKED = 8
SECONDS = 15


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
        body = msgspec.json.encode({"inputs": [tensor]})
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
    study = json.loads(output(folder, "tune", "--list", "--json"))[0]
    rate = study["reference_rate_rps"]
    print(f"$ trivet bench {service} --rate {rate:g} --duration {SECONDS}s", flush=True)
    run = json.loads(
        output(folder, "bench", service, "--rate", f"{rate:g}", "--duration", f"{SECONDS}s", "--json")
    )
    measured = run["runs"][0]["figures"]
    print(f"  p99 at {rate:g} requests/s: measured {_figure(measured['latency_p99_ms'])}", end="")
    recommended = study.get("recommended") or {}
    for word in ("predicted", "measured"):
        figure = recommended.get(word, {}).get("latency_p99_ms")
        if figure:
            print(f"; {word} by the study {_figure(figure)}", end="")
    print()


def _figure(figure: dict[str, Any]) -> str:
    low, high = figure.get("low"), figure.get("high")
    interval = "" if low is None or high is None else f" [{low:.1f}, {high:.1f}]"
    return f"{figure['estimate']:.1f}{interval} ms"
