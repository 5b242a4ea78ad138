"""When two answers mean the same: by the service's `decode:` where it has one, else where they are equal."""

import hashlib
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trivet.judge.decode import Decoder
from trivet.judge.errors import JudgeError
from trivet.spec.fields import FieldError
from trivet.spec.service import Decode
from trivet.spec.signature import TensorSpec

_FLOATS = ("FP16", "BF16", "FP32", "FP64")
_MOST_MEANINGS = 200_000
_LONGEST_WORD = 100


class Meaning(NamedTuple):
    """number: equal for answers that mean the same.  word: for people; empty where there is none."""

    number: int
    word: str


class Meanings:
    """A number for each meaning that an answer has had; those not seen for longest are forgotten."""

    def __init__(self, decode: Decode | None, outputs: Sequence[TensorSpec], root: Path) -> None:
        """Raises: FieldError: answers are real numbers, and nobody says what they mean."""
        self._decoder = None if decode is None else Decoder(decode, root)
        floats = [spec.name for spec in outputs if spec.datatype in _FLOATS]
        if self._decoder is None and floats:
            raise FieldError(
                ("semantic_cache",),
                f"output {floats[0]!r} holds real numbers, of which no two are alike: declare `decode:` (argmax, threshold "
                "or a function), so that answers can be told to mean the same",
            )
        self._numbers: dict[Hashable, int] = {}
        self._next = 0

    def of(self, outputs: Mapping[str, NDArray[Any]]) -> Meaning | None:
        """None: the answer means nothing that could be compared; so it equals no other."""
        try:
            found = self._meaning(outputs)
        except JudgeError:
            return None
        number = self._numbers.pop(found, None)
        if number is None:
            number, self._next = self._next, self._next + 1
            if len(self._numbers) >= _MOST_MEANINGS:
                del self._numbers[next(iter(self._numbers))]
        self._numbers[found] = number
        return Meaning(number, "" if isinstance(found, bytes | tuple) else str(found)[:_LONGEST_WORD])

    def _meaning(self, outputs: Mapping[str, NDArray[Any]]) -> Hashable:
        if self._decoder is None:
            return tuple(_plain(outputs[name]) for name in sorted(outputs))
        found = self._decoder(outputs)
        if found is None:
            raise JudgeError("nothing was decoded")
        if isinstance(found, np.ndarray):
            return _plain(found)
        return found if isinstance(found, int | float | str | bool) else repr(found)


def _plain(array: NDArray[Any]) -> Hashable:
    """Texts joined, so that an answer in chunks means the same however it was cut."""
    if array.dtype.kind == "O":
        data = b"".join(part if isinstance(part, bytes) else str(part).encode() for part in array.reshape(-1))
    else:
        data = repr(array.shape).encode() + np.ascontiguousarray(array).tobytes()
    return hashlib.blake2b(data, digest_size=16).digest()
