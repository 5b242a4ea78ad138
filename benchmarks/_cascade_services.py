"""The ladder of Banking77 as services: the cascade with its thresholds, and each rung alone. Measured live."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks._ladder import MAX_TOKENS, STEP, Ladder
from benchmarks._trivet import Trivet
from trivet.experiment.asking import ask_all
from trivet.load.job import HttpRequest

_STEPS = (
    STEP
    + f"""

class Tokenize:
    def __init__(self):
        from tokenizers import Tokenizer

        self.tokenizer = Tokenizer.from_file(str(Path(__file__).with_name("tokenizer.json")))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation({MAX_TOKENS})

    def __call__(self, inputs):
        ids = np.array([self.tokenizer.encode(inputs["text"][0].decode()).ids], np.int64)
        return {{"input_ids": ids, "attention_mask": np.ones_like(ids)}}
"""
)
_HEAD = """name: NAME
inputs: [{name: text, datatype: BYTES, shape: [1]}]
models:
MODELS
pipeline:
PIPELINE
slo: {deadline: 10s}
"""
_TEXT = "inputs: [{name: text, datatype: BYTES, shape: [1]}]"
_RAGGED = "ragged: {input_ids: {axis: 1, pad: 0}, attention_mask: {axis: 1, pad: 0}}"


def write_service(ladder: Ladder, rungs: Mapping[str, float | None], name: str) -> Path:
    """A service of these rungs, from cheap to dear. Args: rungs: the confidence of each exit; None: the last model."""
    (ladder.folder / "steps.py").write_text(_STEPS)
    models, pipeline = [], []
    is_tokenized = False
    for place, (rung, threshold) in enumerate(rungs.items()):
        takes = f", {_TEXT}" if place else ""
        if rung == "linear":
            models.append("  linear: {file: linear.onnx, levers: {threads: 1}}")
            pipeline.append(f"  - {{preprocess: steps.py:Grams, files: [grams.json]{takes}}}")
        else:
            models.append(f"  {rung}: {{file: {rung}.onnx, levers: {{threads: 1}}, {_RAGGED}}}")
            if not is_tokenized:
                pipeline.append(f"  - {{preprocess: steps.py:Tokenize, files: [tokenizer.json]{takes}}}")
                is_tokenized = True
        exit_ = "" if threshold is None else f", exit: {{output: logits, at_least: {min(1.0, threshold)}}}"
        pipeline.append(f"  - {{model: {rung}{exit_}}}")
    path = ladder.folder / f"{name}.yaml"
    text = _HEAD.replace("NAME", name).replace("MODELS", "\n".join(models))
    path.write_text(text.replace("PIPELINE", "\n".join(pipeline)))
    return path


def requests_of(ladder: Ladder, name: str, rows: Sequence[int]) -> list[HttpRequest]:
    return [_request(name, ladder.texts[row]) for row in rows]


def _request(name: str, text: str) -> HttpRequest:
    tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "data": [text]}
    body = json.dumps({"inputs": [tensor]}).encode()
    headers = {"Content-Type": "application/json"}
    return HttpRequest(path=f"/v2/models/{name}/infer", headers=headers, body=body)


def cpu_per_request(
    ladder: Ladder, services: Mapping[str, Path], rows: Sequence[int], *, core: int, blocks: int, seed: int
) -> dict[str, list[float]]:
    """Processor time of the whole server a request, in ms, of each service in each block.

    All servers stay up; in each block each is asked the same rows, one at a time, in an order drawn anew.
    """
    asked = {name: requests_of(ladder, name, rows) for name in services}
    running: dict[str, Trivet] = {}
    found: dict[str, list[float]] = {name: [] for name in services}
    rng = np.random.default_rng(seed)
    try:
        for name, path in services.items():
            running[name] = Trivet.serve(name, [path], cores=[core], first=asked[name][0])
            ask_all(running[name].target, asked[name][:100], num_connections=1)
        for _ in range(blocks):
            for name in rng.permutation(list(services)).tolist():
                server = running[name]
                members = server.members()
                before = server.cpu_ns(members)
                answers = ask_all(server.target, asked[name], num_connections=1)
                spent = server.cpu_ns(members) - before
                bad = [one.status for one in answers if one.status != 200]
                if bad:
                    raise RuntimeError(f"{name}: {len(bad)} requests were answered {bad[0]}")
                found[name].append(spent / len(answers) / 1e6)
    finally:
        for server in running.values():
            server.stop()
    return found
