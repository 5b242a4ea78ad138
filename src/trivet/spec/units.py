"""Durations and sizes as people write them (`50ms`, `1.5s`, `2MiB`); exact: digits in, an integer out. Shares as percent."""

import re
from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Annotated

import msgspec

from trivet.errors import SpecError

# Types of fields: a Struct holds the integer, a YAML file the text (convert.py reads the unit).
Duration = Annotated[int, msgspec.Meta(ge=0, extra={"unit": "duration"})]  # nanoseconds; written `50ms`
Size = Annotated[int, msgspec.Meta(ge=0, extra={"unit": "size"})]  # bytes; written `2MiB`
Percent = Annotated[
    float, msgspec.Meta(ge=0, le=1, extra={"unit": "percent"})
]  # a share; written `10%` or 0.1

NS_OF_UNIT: Mapping[str, int] = MappingProxyType(
    {
        "ns": 1,
        "us": 1_000,
        "ms": 1_000_000,
        "s": 1_000_000_000,
        "min": 60_000_000_000,
        "h": 3_600_000_000_000,
    }
)
BYTES_OF_UNIT: Mapping[str, int] = MappingProxyType(
    {
        "B": 1,
        "kB": 10**3,
        "KiB": 2**10,
        "MB": 10**6,
        "MiB": 2**20,
        "GB": 10**9,
        "GiB": 2**30,
        "TB": 10**12,
        "TiB": 2**40,
    }
)
# Spellings that people try first, and what to write instead: "m" and "K" each mean two things.
_DURATION_HINTS = {"m": "ms or min", "sec": "s", "µs": "us", "μs": "us", "hours": "h", "d": "h"}
_SIZE_HINTS = {
    "b": "B",
    "k": "kB or KiB",
    "kb": "kB or KiB",
    "m": "MB or MiB",
    "mb": "MB or MiB",
    "g": "GB or GiB",
}

_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+) ?([A-Za-zµμ]+)")
_PERCENT = re.compile(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+) ?%")
_MAX_LENGTH = 40  # longer than any honest quantity; keeps the arithmetic small
MAX_VALUE = 2**63 - 1  # fits the signed 64 bits of every protocol and file that carries it


def parse_duration_ns(text: object) -> int:
    """Nanoseconds of `50ms`, `1.5s`, `200us`, `2min`, `1h`.

    Raises: SpecError: no unit, an unknown one, or not a whole number of nanoseconds.
    """
    return _parse(text, NS_OF_UNIT, _DURATION_HINTS, "a duration such as 50ms or 1.5s", "nanoseconds")


def parse_size(text: object) -> int:
    """Bytes of `2MiB`, `10kB`, `512B`.

    Raises: SpecError: no unit, an unknown one, or not a whole number of bytes.
    """
    return _parse(text, BYTES_OF_UNIT, _SIZE_HINTS, "a size such as 2MiB or 10kB", "bytes")


def parse_percent(value: object) -> float:
    """The share that `10%` or 0.1 names.

    Raises: SpecError: neither, or outside 0% to 100%.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        share = float(value)
    else:
        match = _PERCENT.fullmatch(value) if isinstance(value, str) and len(value) <= _MAX_LENGTH else None
        if match is None:
            raise SpecError(f"expected a share such as 10% or 0.1, got {repr(value)[:_MAX_LENGTH]}")
        share = float(Decimal(match[1]) / 100)
    if not 0 <= share <= 1:
        raise SpecError(f"expected a share from 0% to 100%, got {repr(value)[:_MAX_LENGTH]}; 0.1 is 10%")
    return share


def format_percent(share: float) -> str:
    """The share as percent: 0.1 -> `10%`; `parse_percent` gives the same number back."""
    text = f"{(Decimal(repr(share)) * 100).normalize():f}%"
    return text if parse_percent(text) == share else repr(share)


def format_duration(duration_ns: int) -> str:
    """The exact duration in the largest unit up to seconds that it fills: 1_500_000 -> `1.5ms`.

    `parse_duration_ns` gives the same number back.
    """
    for unit in ("s", "ms", "us"):
        if duration_ns >= NS_OF_UNIT[unit]:
            value = Decimal(duration_ns) / NS_OF_UNIT[unit]
            return f"{value.normalize():f}{unit}"
    return f"{duration_ns}ns" if duration_ns else "0ms"


def format_size(num_bytes: int) -> str:
    """The size in the largest unit that divides it, binary first: 2_097_152 -> `2MiB`, 10_000 -> `10kB`.

    `parse_size` gives the same number back.
    """
    for unit in ("TiB", "GiB", "MiB", "KiB", "TB", "GB", "MB", "kB"):
        if num_bytes and num_bytes % BYTES_OF_UNIT[unit] == 0:
            return f"{num_bytes // BYTES_OF_UNIT[unit]}{unit}"
    return f"{num_bytes}B"


def _parse(
    text: object, factors: Mapping[str, int], hints: Mapping[str, str], expected: str, base: str
) -> int:
    if isinstance(text, int | float) and not isinstance(text, bool):
        raise SpecError(f"expected {expected}, got {text!r} without a unit; units: {', '.join(factors)}")
    match = _QUANTITY.fullmatch(text) if isinstance(text, str) and len(text) <= _MAX_LENGTH else None
    if match is None:
        shown = repr(text) if len(repr(text)) <= _MAX_LENGTH else repr(text)[:_MAX_LENGTH] + "…"
        raise SpecError(f"expected {expected}, got {shown}")
    number, unit = match.groups()
    if unit not in factors:
        hint = hints.get(unit) or hints.get(unit.lower())
        advice = f"; write {hint}" if hint else ""
        raise SpecError(f"unknown unit {unit!r} in {text!r}{advice}; units: {', '.join(factors)}")
    value = Decimal(number) * factors[unit]
    if value != value.to_integral_value():
        raise SpecError(f"{text!r} is not a whole number of {base}")
    if value > MAX_VALUE:
        raise SpecError(f"{text!r} is too large: at most {MAX_VALUE} {base}")
    return int(value)
