"""Packages of the extra `variants`, imported where they are needed, with an error that names the extra."""

from importlib import import_module
from typing import Any

from trivet.errors import ExtraMissingError

EXTRA = "variants"


def onnx(feature: str) -> Any:
    """The package onnx with the parts that are used here. Raises: ExtraMissingError."""
    return _package(feature, "onnx", "checker", "helper", "numpy_helper", "shape_inference")


def sparse(feature: str) -> Any:
    """scipy.sparse. Raises: ExtraMissingError."""
    return _package(feature, "scipy.sparse")


def threadpools(feature: str) -> Any:
    """threadpoolctl. Raises: ExtraMissingError."""
    return _package(feature, "threadpoolctl")


def _package(feature: str, name: str, *parts: str) -> Any:
    try:
        package = import_module(name)
        for part in parts:
            import_module(f"{name}.{part}")
    except ImportError:
        raise ExtraMissingError(feature, EXTRA) from None
    return package
