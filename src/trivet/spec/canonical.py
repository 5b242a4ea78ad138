"""One text for one value: canonical JSON after RFC 8785 (JCS), so that equal declarations have equal hashes.

Differs from the RFC in one point: integers of any size are written in full (the RFC rounds them to a double).
"""

import json
import math
from typing import Any


def canonical_json(value: Any) -> bytes:
    """UTF-8 of the value: keys sorted by UTF-16 code units, no spaces, numbers as ECMAScript writes them.

    Raises: ValueError: a number that is not finite.  TypeError: a value that JSON does not have.
    """
    return _text(value).encode()


def _text(value: Any) -> str:
    match value:
        case None | bool() | str():
            return json.dumps(value, ensure_ascii=False)
        case int():
            return str(value)
        case float():
            return _number(value)
        case dict():
            items = sorted(value.items(), key=lambda item: item[0].encode("utf-16-be"))
            return "{" + ",".join(f"{_text(key)}:{_text(item)}" for key, item in items) + "}"
        case list() | tuple():
            return "[" + ",".join(_text(item) for item in value) + "]"
    raise TypeError(f"JSON has no {type(value).__name__}")


def _number(value: float) -> str:
    """ECMAScript's Number::toString: Python's digits (both are the shortest that round-trip) laid out so."""
    if not math.isfinite(value):
        raise ValueError(f"{value} is not a finite number")
    sign = "-" if value < 0 else ""
    mantissa, _, exponent = f"{abs(value)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    if not digits:
        return "0"
    leading_zeros = len(whole + fraction) - len(digits)
    point = len(whole) + int(exponent or 0) - leading_zeros  # value == 0.digits * 10**point
    digits = digits.rstrip("0")
    if len(digits) <= point <= 21:
        return sign + digits.ljust(point, "0")
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    tail = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{tail}e{point - 1:+d}"
