"""A cascade whose last model runs on another server: `tests/support/cascades.py` with `rest` behind an address."""

from pathlib import Path

from tests.support.cascades import write_cascade

FAR = """  rest:
    remote:
      protocol: v2
      model: rest
      inputs: [{name: h, datatype: FP32, shape: [-1, 4]}]
      outputs: [{name: y, datatype: FP32, shape: [-1, 2]}]
      upstreams: ["http://ADDRESS"]
"""
FAILURES = """  - model: rest
    failures: {timeout: 2s, breaker: {failures: 2, open: 20ms, max_open: 20ms}, fallback: [{model: front}]}
"""


def write_far_cascade(folder: Path, address: str, *, audit: str = "0%", num_rows: int = 240) -> Path:
    """front.onnx, rest.onnx, rows.csv, and service.yaml, which asks for `rest` at `address` and may lose 5 %."""
    path = write_cascade(folder, audit=audit, num_rows=num_rows)
    text = path.read_text()
    for before, after in (
        ("  rest: {file: rest.onnx}\n", FAR.replace("ADDRESS", address)),
        ("  - model: rest\n", FAILURES),
        ("max_loss: 2%", "max_loss: 5%"),
    ):
        assert before in text
        text = text.replace(before, after)
    path.write_text(text)
    return path
