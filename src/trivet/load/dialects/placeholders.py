"""JSON text with places for the values of a row: `{"text": "{{text}}", "x": {{x[0]}}}`.

Inside quotes a value is written as text, escaped; elsewhere as JSON. So every row gives valid JSON.
"""

import base64
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivet.errors import SpecError
from trivet.load.dialects.contract import Row
from trivet.spec.fields import nearest

_PLACE = re.compile(r"\{\{\s*([^\s{}|\[\]]+)((?:\[\d+\])*)\s*(?:\|\s*(\w+)\s*)?\}\}")
# A string, a place outside one, or any other character: what is quoted is known without a parser.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|\{\{[^{}]*\}\}|.', re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Place:
    name: str
    indices: tuple[int, ...]
    as_base64: bool
    quoted: bool

    def fill(self, row: Row, number: int) -> str:
        if self.name not in row:
            raise SpecError(f"row {number}: no input {self.name!r} for the template{nearest(self.name, row)}")
        where = f"row {number}: input {self.name!r}"
        array: Any = row[self.name]
        for index in self.indices:
            if not array.ndim or index >= len(array):
                raise SpecError(f"{where} has the shape {list(row[self.name].shape)}: no index {index}")
            array = np.asarray(array[index], array.dtype)
        if self.as_base64:
            raw = _only(array, where) if array.dtype == object else np.ascontiguousarray(array).tobytes()
            text = base64.b64encode(raw if isinstance(raw, bytes) else str(raw).encode()).decode()
            return text if self.quoted else json.dumps(text)
        if self.quoted:
            value = _plain(_only(array, where), where)
            return json.dumps(value if isinstance(value, str) else json.dumps(value))[1:-1]
        return json.dumps(_map(array.tolist(), lambda one: _plain(one, where)))


class Template:
    """Raises: SpecError: a place that cannot be read, or text that is not JSON once the places are filled."""

    def __init__(self, text: str) -> None:
        self._parts: list[str | _Place] = []
        for token in _TOKEN.findall(text):
            self._add(token, quoted=token.startswith('"'))
        sample = "".join(
            part if isinstance(part, str) else "x" if part.quoted else "0" for part in self._parts
        )
        try:
            json.loads(sample)
        except json.JSONDecodeError as error:
            raise SpecError(f"the template is not JSON: {error} in {sample!r}") from None
        self.names = tuple(dict.fromkeys(part.name for part in self._parts if isinstance(part, _Place)))

    def fill(self, row: Row, number: int) -> str:
        """Raises: SpecError: a value that is missing or has no form in JSON; names row and input."""
        return "".join(part if isinstance(part, str) else part.fill(row, number) for part in self._parts)

    def _add(self, token: str, *, quoted: bool) -> None:
        at = 0
        for match in _PLACE.finditer(token):
            name, indices, how = match.groups()
            if how not in (None, "base64"):
                raise SpecError(
                    f"{match[0]} in the template: {how!r} is no way to write a value; known: base64"
                )
            self._text(token[at : match.start()])
            numbers = tuple(int(index) for index in re.findall(r"\d+", indices))
            self._parts.append(_Place(name, numbers, how is not None, quoted))
            at = match.end()
        rest = token[at:]
        if "{{" in rest and "}}" in rest:
            raise SpecError(
                f"{rest!r} in the template: expected {{{{input}}}}, {{{{input[0]}}}} or {{{{input|base64}}}}"
            )
        self._text(rest)

    def _text(self, text: str) -> None:
        if self._parts and isinstance(self._parts[-1], str):
            self._parts[-1] += text
        elif text:
            self._parts.append(text)


def _only(array: NDArray[Any], where: str) -> Any:
    if array.size != 1:
        message = f"{where} has {array.size} elements: inside quotes stands one value"
        raise SpecError(f"{message}; write it without quotes, or choose one by its index")
    return array.reshape(-1).tolist()[0]


def _plain(value: Any, where: str) -> Any:
    """A JSON value: text for bytes. Raises: SpecError: it has none."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise SpecError(f"{where} is not UTF-8 text; write it with |base64") from None
    if isinstance(value, float) and not np.isfinite(value):
        raise SpecError(f"{where} is {value}, which JSON has no form for")
    return value


def _map(value: Any, change: Callable[[Any], Any]) -> Any:
    return [_map(one, change) for one in value] if isinstance(value, list) else change(value)
