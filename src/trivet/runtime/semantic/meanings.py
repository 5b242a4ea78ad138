"""When two answers mean the same: by the service's `decode:` where it has one, else where they are equal."""

import hashlib
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivet.judge.decode import Decoder
from trivet.judge.errors import JudgeError
from trivet.spec.fields import FieldError
from trivet.spec.service import Service
from trivet.spec.signature import Signature

_FLOATS = ("FP16", "BF16", "FP32", "FP64")
_MOST_MEANINGS = 200_000


class Meanings:
    """A number for each meaning that an answer has had; those not seen for longest are forgotten."""

    def __init__(self, service: Service, signature: Signature, root: Path) -> None:
        """Raises: FieldError: answers are real numbers, and nobody says what they mean."""
        self._decoder = None if service.decode is None else Decoder(service.decode, root)
        floats = [spec.name for spec in signature.outputs if spec.datatype in _FLOATS]
        if self._decoder is None and floats:
            raise FieldError(
                ("semantic_cache",),
                f"output {floats[0]!r} holds real numbers, of which no two are alike: declare `decode:` (argmax, threshold "
                "or a function), so that answers can be told to mean the same",
            )
        self._numbers: dict[Hashable, int] = {}
        self._next = 0

    def of(self, outputs: Mapping[str, NDArray[Any]]) -> int | None:
        """None: the answer means nothing that could be compared; so it equals no other."""
        try:
            meaning = self._meaning(outputs)
        except JudgeError:
            return None
        number = self._numbers.pop(meaning, None)
        if number is None:
            number, self._next = self._next, self._next + 1
            if len(self._numbers) >= _MOST_MEANINGS:
                del self._numbers[next(iter(self._numbers))]
        self._numbers[meaning] = number
        return number

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
