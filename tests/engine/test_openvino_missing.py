"""Without openvino the engine says which extra it needs."""

import sys
from pathlib import Path

import pytest

from trivet.engine.openvino import OpenVinoEngine
from trivet.errors import ExtraMissingError


def test_the_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(
        ExtraMissingError, match=r"engine openvino needs an extra: pip install 'trivet\[openvino\]'"
    ):
        OpenVinoEngine(Path("model.onnx"))
