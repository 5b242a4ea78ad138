"""What a model answers to rows, one request each, as the server would ask it."""

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from trivet.engine.contract import Engine, Tensors
from trivet.variants.learned.reading import Arrays


def answers_of(engine: Engine, rows: Sequence[Arrays]) -> list[dict[str, NDArray[Any]]]:
    """Of each row all outputs. Raises: EngineError: the model fails on one."""
    names = [spec.name for spec in engine.signature.inputs]
    answers = []
    for row in rows:
        inputs: Tensors = {name: row[name] for name in names}
        answers.append(engine.run(inputs))
    return answers
