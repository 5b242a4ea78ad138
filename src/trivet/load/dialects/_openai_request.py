"""What requests to OpenAI-compatible endpoints have in common."""

import json
from collections.abc import Mapping
from typing import Any

from trivet.errors import SpecError
from trivet.load.dialects.contract import Row
from trivet.load.job import HttpRequest


def post(path: str, headers: Mapping[str, str], body: Mapping[str, Any]) -> HttpRequest:
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return HttpRequest(path=path, headers={"Content-Type": "application/json", **headers}, body=text.encode())


def text_of(row: Row, name: str | None, number: int) -> str:
    """The text of a row: its input `name`, else its only one.

    Raises: SpecError: there is none, several, or it is not one text; names the row.
    """
    if name is None:
        if len(row) != 1:
            known = ", ".join(row) or "none"
            raise SpecError(f"row {number} has the inputs {known}: say which one is the text")
        name = next(iter(row))
    if name not in row:
        raise SpecError(f"row {number}: no input {name!r}; it has {', '.join(row)}")
    array = row[name]
    if array.size != 1 or array.dtype != object:
        raise SpecError(
            f"row {number}: input {name!r} is {array.dtype} of shape {list(array.shape)}; expected one text"
        )
    value = array.reshape(-1)[0]
    try:
        return value.decode() if isinstance(value, bytes) else str(value)
    except UnicodeDecodeError:
        raise SpecError(f"row {number}: input {name!r} is not UTF-8 text") from None


def check_usable(number: int, payload: Any, needed: str) -> None:
    """Raises: SpecError: a body taken from a file that cannot be one of this endpoint."""
    if not isinstance(payload, dict) or needed not in payload:
        raise SpecError(f"payload {number}: expected an object with {needed!r}")
