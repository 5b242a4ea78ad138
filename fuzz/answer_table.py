"""Answer tables: Parquet files that `trivet precompute` writes, cut off, damaged, or somebody else's."""

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from trivet.runtime.fronts.answer_table import (
    AnswersHeader,
    AnswerTable,
    TableError,
    answers_table,
    publish,
    read_answers,
)
from trivet.spec.signature import Signature, TensorSpec

_LONGEST_MESSAGE = 4000
_HASH = "c" * 64
_SIGNATURE = Signature(
    (TensorSpec("text", "BYTES", (-1, 1)),),
    (TensorSpec("label", "BYTES", (-1, 1)), TensorSpec("scores", "FP32", (-1, -1))),
    batch_axis=True,
)
_folder = tempfile.TemporaryDirectory()
_PATH = Path(_folder.name, f"answers-{os.getpid()}.parquet")
_KEYS = [number.to_bytes(16, "big") for number in (1, 7, 1 << 100)]


def _file(keys: list[bytes], signature: Signature = _SIGNATURE, **header: Any) -> bytes:
    rows = [
        {"label": np.array([b"l%d" % i], object), "scores": np.arange(i + 1, dtype=np.float32)}
        for i in range(len(keys))
    ]
    fields: dict[str, Any] = {
        "configuration": _HASH,
        "created": "2026-01-01T00:00:00+00:00",
        "num_rows": len(keys),
    }
    publish(answers_table(keys, rows, signature), AnswersHeader(**(fields | header)), _PATH)
    return _PATH.read_bytes()


SEEDS = {
    "whole": _file(_KEYS),
    "empty": _file([]),
    "twice": _file([_KEYS[0]] * 2),
    "others": _file(_KEYS, configuration="d" * 64),
    "fewer": _file(_KEYS[:1], num_rows=2),
    "old": _file(_KEYS[:1], created="0001-01-01T00:00:00"),
}
TOKENS = [
    b"PAR1", b"trivet.answers", b"ARROW:schema", b'"configuration":', b'"created":', b'"num_rows":', b'"format":',
    b"key", b"label", b"scores", b".shape", b"\x15\x00", b"\x00\x00\x00\x00", b"\xff\xff\xff\xff",
]  # fmt: skip


def check(data: bytes) -> bool:
    """A table in which every key that was written finds a whole answer or none; or an error that names the file.

    True: the former.
    """
    _PATH.write_bytes(data)
    try:
        table = read_answers(_PATH, _HASH, _SIGNATURE)
    except TableError as error:
        if error.reason not in ("unreadable", "mismatch") or len(str(error)) > _LONGEST_MESSAGE:
            raise AssertionError(f"{error.reason}: {len(str(error))} characters") from error
        return False
    for keys in ([key] for key in _KEYS):
        _check_found(table, keys)
    _check_found(table, _KEYS)
    return True


def _check_found(table: AnswerTable, keys: list[bytes]) -> None:
    found = table.find(keys)
    if found is None:
        return
    for spec in _SIGNATURE.outputs:
        array = found[spec.name]
        if len(array) != len(keys) or (spec.datatype == "FP32") != (array.dtype == np.float32):
            raise AssertionError(f"{spec.name}: {array.dtype} {array.shape} for {len(keys)} keys")
