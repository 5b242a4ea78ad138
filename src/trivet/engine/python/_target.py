"""Child: from `module:attribute` or `file.py:attribute` to what can be called, and its signature."""

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from trivet.errors import SpecError
from trivet.spec.signature import VARIABLE, Signature, TensorSpec

HOW_TO_DECLARE = (
    "declare `inputs` and `outputs` in the service file, or as attributes of the function or class, "
    'each a list like [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]'
)


@dataclass(frozen=True, slots=True)
class Target:
    """What the user's code turned out to be. `call` takes the inputs by name; `load` is done once, before."""

    name: str
    call: Callable[[dict[str, Any]], Any]
    load: Callable[[], Awaitable[None] | None] | None
    signature: Signature
    streams: bool  # `call` gives a generator
    is_async: bool  # `call` or `load` needs an event loop


def resolve(name: str, root: Path, declared: Signature | None) -> Target:
    """Import and, for a class, instantiate; `load` is left to the caller.

    Raises: SpecError: nothing there that can be called, or no signature. Whatever the user's code raises.
    """
    place, separator, attribute = name.rpartition(":")
    if not (place and separator and attribute):
        raise SpecError(f"{name!r} names no attribute; expected module:attribute or file.py:attribute")
    module = _import_file(root / place) if place.endswith(".py") else _import_module(place, root)
    found: Any = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise SpecError(f"{place} has no attribute {attribute!r}")
        found = getattr(found, part)
    signature = declared or _own_signature(found)
    model = found() if isinstance(found, type) else found
    call = getattr(model, "predict", model)
    if not callable(call):
        raise SpecError(
            f"{attribute!r} in {place} is a {type(model).__name__}; expected a function or a predict()"
        )
    load = getattr(model, "load", None) if call is not model else None
    # An instance with __call__ is asked through that method: inspect knows functions and methods only.
    code = call if inspect.isroutine(call) else type(call).__call__
    is_async = inspect.iscoroutinefunction(code) or inspect.isasyncgenfunction(code)
    return Target(
        name=name,
        call=call,
        load=load,
        signature=signature,
        streams=inspect.isgeneratorfunction(code) or inspect.isasyncgenfunction(code),
        is_async=is_async or (load is not None and inspect.iscoroutinefunction(load)),
    )


def _import_module(name: str, root: Path) -> ModuleType:
    _search_first(root)
    return importlib.import_module(name)


def _import_file(path: Path) -> ModuleType:
    """Import one file, which finds its neighbours as a script would."""
    if not path.is_file():
        raise SpecError(f"no file {path}")
    _search_first(path.parent)
    # A file may bear the name of a library (tokenize.py): others must go on finding theirs.
    taken = path.stem in sys.modules or path.stem in sys.stdlib_module_names
    name = f"_served_{path.stem}" if taken else path.stem
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise SpecError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _search_first(folder: Path) -> None:
    sys.path.insert(0, str(folder.resolve()))


def _own_signature(found: Any) -> Signature:
    inputs, outputs = getattr(found, "inputs", None), getattr(found, "outputs", None)
    if inputs is None or outputs is None:
        raise SpecError(f"its inputs and outputs are not known: {HOW_TO_DECLARE}")
    return make_signature(inputs, outputs, getattr(found, "batch_axis", None))


def make_signature(inputs: Any, outputs: Any, batch_axis: bool | None) -> Signature:
    """The signature that the lists declare. If nothing is said, axis 0 is the batch's if -1 everywhere.

    Raises: SpecError: not lists of tensors.
    """
    specs = []
    for kind, tensors in (("inputs", inputs), ("outputs", outputs)):
        try:
            plain = [msgspec.to_builtins(tensor) for tensor in tensors]
            specs.append(msgspec.convert(plain, tuple[TensorSpec, ...]))
        except (TypeError, msgspec.ValidationError) as error:
            raise SpecError(f"{kind} cannot be read ({error}): {HOW_TO_DECLARE}") from None
    if batch_axis is None:
        batch_axis = all(tensor.shape[:1] == (VARIABLE,) for tensor in (*specs[0], *specs[1]))
    return Signature(specs[0], specs[1], bool(batch_axis))
