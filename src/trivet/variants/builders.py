"""All builders by the name of what they build, in the order in which they are tried; each is imported when it is needed."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, cast

import msgspec

from trivet.spec.convert import convert
from trivet.spec.fields import FieldError
from trivet.variants.builder import Builder


def _of(module: str, name: str) -> Callable[[], Builder]:
    """The builder of this class in variants/, with its options at their defaults."""
    return lambda: cast(Builder, getattr(import_module(f"trivet.variants.{module}"), name)())


BUILDERS: dict[str, Callable[[], Builder]] = {
    "optimized": _of("optimized", "Optimized"),
    "fp16": _of("fp16", "Fp16"),
    "bf16": _of("openvino_bf16", "Bf16"),
    "int8-dynamic": _of("int8", "Int8Dynamic"),
    "int8-static": _of("int8", "Int8Static"),
    "int8-certified": _of("certified", "Int8Certified"),
    "openvino-int8": _of("openvino_int8", "OpenVinoInt8"),
    "distilled": _of("learned.distil", "Distilled"),
    "pruned": _of("learned.prune", "Pruned"),
    "early-exit": _of("early_exit", "EarlyExit"),
}


def builder_of(name: str, options: Mapping[str, Any]) -> Builder:
    """The builder of a known variant with its options as `variants:` of the service file has them.

    Raises: FieldError: an option that it does not have, or a value that does not fit; names the place in the file.
    """
    builder = BUILDERS[name]()
    if not options:
        return builder
    if not isinstance(builder, msgspec.Struct):
        raise FieldError(("variants", name), f"{name} has no options; leave them out")
    return cast(Builder, convert(_tree(options), type(builder), ("variants", name)))


def _tree(options: Mapping[str, Any]) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in options.items()}
