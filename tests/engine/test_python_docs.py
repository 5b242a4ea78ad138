"""The examples of docs/python-engines.md do what the page says."""

import re
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from python_support import bytes_array

from trivet.engine.python.engine import PythonEngine
from trivet.engine.python.process import PythonSpec

PAGE = Path(__file__).parents[2] / "docs" / "python-engines.md"


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    for code in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        name = re.match(r"# (\w+\.py)\n", code)
        (tmp_path / name[1]).write_text(code)
    return tmp_path


def test_the_function(examples: Path) -> None:
    with closing(PythonEngine(PythonSpec("steps.py:softmax", examples))) as engine:
        outputs = engine.run({"logits": np.zeros((2, 3), np.float32)})
    assert np.allclose(outputs["probabilities"], 1 / 3)


def test_the_class(examples: Path) -> None:
    with closing(PythonEngine(PythonSpec("model.py:Lookup", examples))) as engine:
        assert engine.run({"word": bytes_array(b"three", b"four")})["length"].tolist() == [5, 0]


def test_the_generator(examples: Path) -> None:
    with closing(PythonEngine(PythonSpec("talk.py:talk", examples))) as engine:
        chunks = engine.stream({"prompt": bytes_array(b"a stand for hot things")})
        assert [chunk["word"][0] for chunk in chunks] == b"a stand for hot things".split()
