"""The engine contract, run over every engine that is installed."""

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from contract_models import onnx_model
from engine_contract import BytesContract, EngineContract, Make
from python_support import spec

from trivet.engine.contract import Engine
from trivet.engine.onnx import OnnxEngine
from trivet.engine.python.engine import PythonEngine
from trivet.spec.signature import VARIABLE, Signature, TensorSpec


class TestOnnx(EngineContract, BytesContract):
    @pytest.fixture
    def make(self, tmp_path: Path) -> Make:
        return lambda name: OnnxEngine(onnx_model(name, tmp_path))


PYTHON_MODELS = {
    "two_inputs": ("two_inputs", "two_inputs_in_order"),
    "gather": ("Gather", "AsyncGather"),
    "identity": ("identity", "async_identity"),
}


@pytest.fixture(scope="module")
def processes() -> Iterator[dict[tuple[str, str], Engine]]:
    """Python engines that tests share: starting one takes longer than a test."""
    with ExitStack() as stack:
        engines: dict[tuple[str, str], Engine] = {}
        yield engines
        for engine in engines.values():
            stack.enter_context(closing(engine))


class PythonContract(EngineContract, BytesContract):
    variant: int

    @pytest.fixture
    def make(self, processes: dict[tuple[str, str], Engine]) -> Make:
        def make(name: str) -> Engine:
            kind, _, datatype = name.partition(" ")
            target = PYTHON_MODELS[kind][self.variant if datatype in ("", "FP32") else 0]
            if (target, datatype) not in processes:
                declared = self.declared(kind, datatype)
                processes[target, datatype] = PythonEngine(spec(target, signature=declared))
            return processes[target, datatype]

        return make

    def declared(self, kind: str, datatype: str) -> Signature | None:
        if kind == "gather" or (kind == "two_inputs" and self.variant == 0):
            return None  # these declare it themselves
        names = {"identity": (["x"], ["y"]), "two_inputs": (["a", "b"], ["total", "difference"])}[kind]
        inputs, outputs = (
            tuple(TensorSpec(name, datatype or "FP32", (VARIABLE, VARIABLE)) for name in side)
            for side in names
        )
        return Signature(inputs, outputs, batch_axis=True)


class TestPython(PythonContract):
    variant = 0


class TestPythonOtherForms(PythonContract):
    """A list in the order of the outputs, async methods."""

    variant = 1
