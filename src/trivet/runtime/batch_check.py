"""Does a model give the same answers whatever shares its batch? Asked once at load, before requests may share one."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivet.engine.contract import Engine
from trivet.errors import EngineError
from trivet.judge.equality import AnswerEquality, OutputEquality, compare_answers
from trivet.runtime.profile import random_inputs
from trivet.spec.signature import Signature

_NUM_ROWS = 4


def check_batching(engine: Engine, signature: Signature, max_batch_size: int, length: int) -> AnswerEquality:
    """Compares the rows of one batch of different inputs with the same inputs run one at a time."""
    rows = min(_NUM_ROWS, max_batch_size)
    singles = [random_inputs(signature, 1, length, seed=1 + i) for i in range(rows)]
    together = {name: np.concatenate([one[name] for one in singles]) for name in singles[0]}
    try:
        batched = engine.run(together)
    except EngineError as error:
        failed = OutputEquality("", False, float("inf"), float("inf"), f"a batch of {rows} fails: {error}")
        return AnswerEquality((failed,))
    alone = [engine.run(one) for one in singles]
    bf16 = [spec.name for spec in signature.outputs if spec.datatype == "BF16"]
    return compare_answers(batched, _joined(alone), bf16=bf16)


def _joined(answers: list[dict[str, NDArray[Any]]]) -> Mapping[str, NDArray[Any]]:
    return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}
