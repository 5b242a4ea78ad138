"""Lookups in the worker's loop: entities in a table of features, inputs in a table of answers."""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks._tables import markdown_table
from trivet.runtime.features.file import FeatureFile
from trivet.runtime.features.joining import FeatureJoin
from trivet.runtime.fronts.answer_table import AnswersHeader, answers_table, publish, read_answers
from trivet.spec.features import Features
from trivet.spec.signature import Signature, TensorSpec
from trivet.wire.row_key import RowKeys
from trivet.wire.tensor import pack
from trivet.wire.v2_input import InferInput

QUESTION = "How long does a lookup in a table of features, or of answers, hold the loop?"
SHORT = False
_SIGNATURE = Signature(
    (TensorSpec("x", "FP32", (-1, 8)),), (TensorSpec("y", "FP32", (-1, 4)),), batch_axis=True
)
_WARM_UP = 200


def main(args: Sequence[str] = ()) -> int:
    made = argparse.ArgumentParser(prog="python -m benchmarks tables --", description=QUESTION)
    made.add_argument("--rows", type=int, default=1_000_000, help="entities, and answers [1000000]")
    made.add_argument("--lookups", type=int, default=20_000, help="of each kind [20000]")
    made.add_argument("--seed", type=int, default=1)
    options = made.parse_args(args)
    rng = np.random.default_rng(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        features = _features(Path(folder), options.rows, options.lookups, rng)
        answers = _answers(Path(folder), options.rows, options.lookups, rng)
    found = [
        ("features of one entity, 3 columns", *features),
        ("the answer to one row of 8 numbers", *answers),
    ]
    print(f"# {QUESTION}\n\n{options.rows} rows, {options.lookups} lookups of rows drawn at random.\n")
    rows = [[name, *(f"{value / 1e3:.1f}" for value in times), "20"] for name, *times in found]
    print(markdown_table(["lookup", "median, us", "p99, us", "goal, us"], rows))
    return 0


def _features(folder: Path, rows: int, lookups: int, rng: np.random.Generator) -> tuple[float, float]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, Any] = {name: rng.normal(size=rows).astype(np.float32) for name in ("a", "b", "c")}
    pq.write_table(pa.table({"user": np.arange(rows), **columns}), folder / "users.parquet")
    declared = Features(table="users.parquet", key="user", columns={"profile": ("a", "b", "c")})
    source = FeatureFile(declared, folder / "users.parquet", lambda _text: None)
    source.load()
    join = FeatureJoin(declared, source)
    asked = [{"user": np.array([user])} for user in rng.integers(0, rows, lookups)]
    return _timed(lambda i: join(asked[i]), lookups)


def _answers(folder: Path, rows: int, lookups: int, rng: np.random.Generator) -> tuple[float, float]:
    keys = rng.bytes(16 * rows)
    outputs: NDArray[np.float32] = rng.normal(size=(rows, 4)).astype(np.float32)
    inputs = [InferInput((1, 8), pack("FP32", row.tolist())) for row in rng.normal(size=(lookups, 8))]
    row_keys = RowKeys(_SIGNATURE)
    known = [row_keys.of([one])[0] for one in inputs] + [
        keys[16 * i : 16 * i + 16] for i in range(lookups, rows)
    ]
    table = answers_table(known, [{"y": row} for row in outputs], _SIGNATURE)
    header = AnswersHeader(configuration="c", created=datetime.now(UTC).isoformat(), num_rows=rows)
    publish(table, header, folder / "answers.parquet")
    answers = read_answers(folder / "answers.parquet", "c", _SIGNATURE)
    return _timed(lambda i: answers.find(row_keys.of([inputs[i]])), lookups)


def _timed(look_up: Callable[[int], object], lookups: int) -> tuple[float, float]:
    """Median and p99 in ns."""
    for i in range(min(_WARM_UP, lookups)):
        look_up(i)
    times = np.empty(lookups, np.int64)
    for i in range(lookups):
        started_ns = time.perf_counter_ns()
        look_up(i)
        times[i] = time.perf_counter_ns() - started_ns
    return float(np.median(times)), float(np.quantile(times, 0.99))
