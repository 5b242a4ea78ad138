"""The models of the engine contract as ONNX files."""

from pathlib import Path

from benchmarks import models


def onnx_model(name: str, folder: Path) -> Path:
    """`name` as in engine_contract: `identity FP32`, `two_inputs`, `gather`."""
    kind, _, datatype = name.partition(" ")
    make = {
        "identity": lambda: models.identity(datatype),
        "two_inputs": models.two_inputs,
        "gather": models.gather,
    }
    return models.write(make[kind](), folder / f"{kind}{datatype}.onnx")
