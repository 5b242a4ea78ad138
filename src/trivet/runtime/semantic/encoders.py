"""From a text to a vector of length 1, as the service declares it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from trivet.engine.contract import Engine
from trivet.errors import EngineError, SpecError
from trivet.judge.errors import JudgeError
from trivet.judge.user_code import load_function
from trivet.runtime.preparing.engines import load_engine
from trivet.runtime.semantic import hashed
from trivet.spec.semantic import HASHED, SemanticCache
from trivet.spec.service import Service
from trivet.spec.signature import Signature, TensorSpec

_TRIED = "what is this service for?"  # an encoder proves itself on it at load
Vector = NDArray[np.float32]


class Encoder(Protocol):
    """size: of its vectors.  is_quick: it may run in the event loop."""

    size: int
    is_quick: bool

    def encode(self, text: str) -> Vector:
        """Shape (size,); zeros where the text says nothing.

        Raises: EngineError: it failed on this text.
        """

    def close(self) -> None: ...


class HashedEncoder:
    size = hashed.SIZE
    is_quick = True

    def encode(self, text: str) -> Vector:
        return hashed.encode(text)

    def close(self) -> None:
        pass


class CalledEncoder:
    """User code or a model, in a thread: given one text, it returns the numbers of one vector."""

    is_quick = False

    def __init__(
        self, name: str, call: Callable[[str], Any], close: Callable[[], None] = lambda: None
    ) -> None:
        """Raises: SpecError: it does not give one vector for one text."""
        self._name, self._call = name, call
        self.close = close
        self.size = 0
        try:
            self.size = len(self.encode(_TRIED))
        except EngineError as error:
            raise SpecError(f"semantic_cache.encoder: {error}") from None

    def encode(self, text: str) -> Vector:
        try:
            found = np.asarray(self._call(text), np.float32)
        except EngineError:
            raise
        except Exception as error:
            raise EngineError(f"{self._name} raised {type(error).__name__}: {error}") from error
        while found.ndim > 1 and len(found) == 1:
            found = found[0]
        if found.ndim == 2:  # one vector a token
            found = found.mean(axis=0)
        if found.ndim != 1 or not found.size or self.size not in (0, found.size):
            expected = f"one vector of {self.size or 'some'} numbers"
            raise EngineError(
                f"{self._name} gave an array of the shape {list(found.shape)}; expected {expected}"
            )
        length = float(np.sqrt(found @ found))
        if not np.isfinite(length):
            raise EngineError(f"{self._name} gave numbers that are not finite")
        return found / np.float32(length) if length else found


def load_encoder(declared: SemanticCache, service: Service, root: Path) -> Encoder:
    """Blocking. Raises: SpecError: it cannot be loaded, or is no encoder of texts."""
    if declared.encoder == HASHED:
        return HashedEncoder()
    model = declared.encoder_model
    if model is not None:
        return _model_encoder(model, service, root)
    try:
        function = load_function(declared.encoder, root)
    except JudgeError as error:
        raise SpecError(f"semantic_cache.encoder: {error}") from None
    return CalledEncoder(declared.encoder, lambda text: function([text]))


def _model_encoder(name: str, service: Service, root: Path) -> Encoder:
    assert service.semantic_cache is not None  # its encoder is asked for
    model = service.models[name]
    declared = None
    if model.python is not None:
        text = TensorSpec(service.semantic_cache.input, "BYTES", (1,))
        declared = Signature((text,), (TensorSpec("embedding", "FP32", (-1,)),), False)
    engine = load_engine(model, root, declared)
    try:
        return CalledEncoder(f"model {name!r}", _run_on(engine, name), engine.close)
    except BaseException:
        engine.close()
        raise


def _run_on(engine: Engine, name: str) -> Callable[[str], Any]:
    """Raises: SpecError: the model takes anything else than one text."""
    inputs = engine.signature.inputs
    if len(inputs) != 1 or inputs[0].datatype != "BYTES":
        taken = ", ".join(f"{spec.name} {spec.datatype}" for spec in inputs)
        raise SpecError(
            f"semantic_cache.encoder: model {name!r} takes {taken}; an encoder takes one text (BYTES). Wrap its "
            "tokenizer and the model in Python code: `encoder: file.py:function`"
        )
    shape = tuple(1 for _ in inputs[0].shape)
    given, wanted = inputs[0].name, engine.signature.outputs[0].name
    return lambda text: engine.run({given: np.array([text.encode()], object).reshape(shape)})[wanted]
