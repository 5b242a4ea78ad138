"""Where in a JSON answer a value stands: `$.result[0].score`, `$["odd key"]`, `$.data[*].embedding`."""

import json
import re
from collections.abc import Sequence
from typing import Any

from trivet.errors import SpecError
from trivet.wire.tensor import shown
from trivet.wire.v2_client import BadResponseError

_STEP = re.compile(r"\.([^.\[\]\s]+)|\[(-?\d+)\]|\[(\*)\]|\[(\"(?:[^\"\\]|\\.)*\")\]|\[('[^'\\]*')\]")
_ALL = ...
_Step = Any  # a key, an index, or _ALL: every element


class JsonPath:
    """Raises: SpecError: not a path of this subset of RFC 9535."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._steps: list[_Step] = []
        at = 1
        while at < len(text):
            match = _STEP.match(text, at) if text.startswith("$") else None
            if match is None:
                raise SpecError(_expected(text))
            self._steps.append(_step(match))
            at = match.end()
        if not text.startswith("$"):
            raise SpecError(_expected(text))

    def find(self, value: Any) -> Any:
        """The value there; a list of values where the path has a [*].

        Raises: BadResponseError: the answer has no such place; says how far it goes.
        """
        return self._walk(value, self._steps, "$")

    def _walk(self, value: Any, steps: Sequence[_Step], place: str) -> Any:
        for i, step in enumerate(steps):
            if step is _ALL:
                if not isinstance(value, list):
                    raise self._missing(place, value, "a list")
                return [self._walk(one, steps[i + 1 :], f"{place}[{at}]") for at, one in enumerate(value)]
            if isinstance(step, int):
                if not isinstance(value, list) or not -len(value) <= step < len(value):
                    raise self._missing(place, value, f"a list with an element {step}")
                place += f"[{step}]"
            else:
                if not isinstance(value, dict) or step not in value:
                    raise self._missing(place, value, f"an object with {step!r}")
                place += f".{step}"
            value = value[step]
        return value

    def _missing(self, place: str, value: Any, expected: str) -> BadResponseError:
        keys = f" ({', '.join(map(str, list(value)[:8]))})" if isinstance(value, dict) else ""
        return BadResponseError(
            f"no {self._text} in the answer: {place} is {shown(value)}{keys}, not {expected}"
        )


def _step(match: re.Match[str]) -> _Step:
    key, index, every, double, single = match.groups()
    if key is not None:
        return key
    if every is not None:
        return _ALL
    if index is not None:
        return int(index)
    return json.loads(double) if double is not None else single[1:-1]


def _expected(text: str) -> str:
    return f'{text!r} is not a path: expected $, then .key, [0], [*] or ["key"], as in $.result[0].score'
