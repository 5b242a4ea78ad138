"""From what is declared of a model to a loaded engine and its signature."""

from pathlib import Path

from trivet.engine.contract import Engine
from trivet.engine.onnx import OnnxEngine
from trivet.engine.openvino import OpenVinoEngine
from trivet.engine.python.engine import PythonEngine
from trivet.engine.python.process import PythonSpec
from trivet.engine.remote.engine import RemoteEngine
from trivet.errors import EngineError, SpecError
from trivet.spec.service import Model
from trivet.spec.signature import Signature
from trivet.spec.sources import resolve_file

# Python code that says nothing for this long on a small batch of its profile is not going to.
_PROFILE_TIMEOUT_NS = 60_000_000_000
_DEFAULT_MAX_BATCH_SIZE = 64


def num_threads(model: Model) -> int:
    return 1 if model.levers.threads == "auto" else model.levers.threads


def wanted_batch_size(model: Model) -> int:
    return _DEFAULT_MAX_BATCH_SIZE if model.levers.max_batch_size == "auto" else model.levers.max_batch_size


def load_engine(model: Model, root: Path, declared: Signature | None) -> Engine:
    """Args: declared: of Python code, where the service file says it; None: the code does.

    Raises: SpecError: it cannot be loaded; says why.
    """
    threads = num_threads(model)
    if model.remote is not None:
        return RemoteEngine(model.remote, False if model.batching == "off" else model.batch_axis)
    if model.file is None:
        try:
            return PythonEngine(
                PythonSpec(model.source, root, declared, threads), timeout_ns=_PROFILE_TIMEOUT_NS
            )
        except EngineError as error:
            raise SpecError(str(error)) from None
    if model.engine == "openvino":
        return OpenVinoEngine(resolve_file(model.file, root), threads=threads)
    return OnnxEngine(
        resolve_file(model.file, root),
        threads=threads,
        providers=model.providers,
        graph_optimization=model.levers.graph_optimization,
        spinning=model.levers.spinning,
    )


def answers_in_chunks(engine: Engine) -> bool:
    """A generator, or a service that may stream: one request at a time, and no stage after it."""
    return isinstance(engine, PythonEngine | RemoteEngine) and engine.streams


def declared_batch_axis(engine: Engine, model: Model, name: str) -> Signature:
    """The engine's signature with the batch axis as declared, where it is."""
    found = engine.signature
    if model.batching == "off" or answers_in_chunks(engine):
        return Signature(found.inputs, found.outputs, False)
    if model.batch_axis == "auto":
        return found
    if model.batch_axis and any(not spec.shape for spec in (*found.inputs, *found.outputs)):
        raise SpecError(f"models.{name}.batch_axis is true, but a tensor of the model is a scalar")
    return Signature(found.inputs, found.outputs, model.batch_axis)
