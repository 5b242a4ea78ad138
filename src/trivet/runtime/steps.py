"""Python steps of a pipeline that run in the event loop: from the words of a service file to something to call.

A step that takes long runs in a process of its own, as a model does (`preparing/steps.py` decides).
"""

import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trivet.errors import EngineError, RequestError, SpecError
from trivet.spec.configuration import Resolution
from trivet.spec.sources import resolve_target

if TYPE_CHECKING:
    from trivet.runtime.features.joining import FeatureJoin

Tensors = Mapping[str, NDArray[Any]]
Step = Callable[[dict[str, NDArray[Any]]], Mapping[str, Any]]


@dataclass(slots=True)
class StepStage:
    """A short Python step that runs in the loop."""

    name: str
    call: Step
    resolution: Resolution
    profiled_ns: int = 0  # median on rows of data; 0 where there are none: short by promise
    joins: "FeatureJoin | None" = None  # what `call` is, where it looks features up

    def expected_ns(self) -> int:
        return self.profiled_ns


def call_step(stage: StepStage, tensors: Tensors) -> dict[str, NDArray[Any]]:
    """Raises: RequestError: as the step raised it; EngineError: it raised anything else or gave no mapping."""
    try:
        result = stage.call(dict(tensors))
    except RequestError:
        raise
    except Exception as error:
        raise EngineError(f"step {stage.name!r} failed: {type(error).__name__}: {error}") from error
    if not isinstance(result, Mapping):
        raise EngineError(
            f"step {stage.name!r} gave {type(result).__name__}; expected a dict of name -> array"
        )
    return {name: np.asarray(value) for name, value in result.items()}


def load_callable(target: str, root: Path) -> Step:
    """The Python callable that a service file names: a function, or a class with `predict` or `__call__`.

    Only the service file's own words decide what is imported.

    Raises: SpecError: no such file or attribute, not callable, async, or the code fails on import or load.
    """
    path, attribute = resolve_target(target, root)
    found: Any = _import(path, target, root)
    for part in attribute.split("."):
        found = getattr(found, part, None)
    try:
        if isinstance(found, type):
            found = found()
        call = getattr(found, "predict", found)
        if call is not found and (load := getattr(found, "load", None)) is not None:
            load()
    except Exception as error:
        raise SpecError(
            f"{attribute} fails to load: {type(error).__name__}: {error}", where=target
        ) from error
    if not callable(call):
        raise SpecError(f"{path.name} has no callable {attribute!r}", where=target)
    code = call if inspect.isroutine(call) else type(call).__call__
    if inspect.iscoroutinefunction(code) or inspect.isgeneratorfunction(code):
        raise SpecError(
            "an async step or a generator cannot run in the loop; write `execution: process`", where=target
        )
    result: Step = call
    return result


def _import(path: Path, target: str, root: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"_trivet_step_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise SpecError(f"{path} is not Python code", where=target)
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(root))
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise SpecError(
            f"{path.name} fails on import: {type(error).__name__}: {error}", where=target
        ) from error
    finally:
        sys.path.remove(str(root))
    return module
