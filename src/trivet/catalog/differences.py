"""In which fields do two environments differ, and could that be the cause of something?

A cause is a property of code, libraries or machine. Noise is what went on meanwhile: two runs never agree in it to
the last digit, so a field of noise is named only where the two are further apart than its tolerance.
"""

import math
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import msgspec


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """field: a path with dots, such as `packages.numpy`.  a, b: None where that side does not have it;
    of lists of words only what the other side lacks."""

    field: str
    a: Any
    b: Any
    is_noise: bool = False

    def __str__(self) -> str:
        return f"{self.field}: {_shown(self.a)} -> {_shown(self.b)}"


# Fields of noise: (absolute, relative) distance within which two values count as equal.
_TOLERANCE: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "host": (0, 0),  # a name explains nothing; what the machine is stands in the other fields
        "load.average_1min": (0.5, 0),
        "load.average_5min": (math.inf, 0),  # the minute says what matters
        "load.average_15min": (math.inf, 0),
        "load.runnable": (2, 0),
        "conditions.elapsed_s": (math.inf, 0),
        "conditions.steal_share": (0.01, 0),
        "conditions.busy_share": (math.inf, 0),  # mostly the run itself: its figures say it better
        "conditions.frequency_mhz": (0, 0.05),
        "conditions.throttled_ms": (1, 0.1),
        "conditions.swapped_pages": (100, 0),
        "conditions.others": (0.1, 0),
        "noise_before.core": (math.inf, 0),  # pinning says it
        "noise_before.piece_us": (0, 0.05),
        "noise_before.jitter": (0.1, 0),
        "noise_before.longest_us": (5000, 0),
        "noise_before.steal_share": (0.02, 0),
    }
)


def differences_of(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Difference]:
    """Of two environments as plain dictionaries; causes first, each group by field."""
    sides = dict(_leaves(a)), dict(_leaves(b))
    found = []
    for field in sorted(sides[0].keys() | sides[1].keys()):
        left, right = sides[0].get(field), sides[1].get(field)
        tolerance = _tolerance(field)
        if left == right or (tolerance is not None and _is_near(left, right, tolerance)):
            continue
        left, right = _only(left, right), _only(right, left)
        found.append(Difference(field=field, a=left, b=right, is_noise=tolerance is not None))
    return sorted(found, key=lambda difference: difference.is_noise)


def _leaves(value: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """What is empty or None is as good as absent. Lists of numbers and words are leaves."""
    for key, item in value.items():
        if isinstance(item, Mapping):
            yield from _leaves(item, f"{path}{key}.")
        elif isinstance(item, list | tuple) and any(isinstance(part, Mapping) for part in item):
            yield from _leaves({str(index): part for index, part in enumerate(item)}, f"{path}{key}.")
        elif item not in (None, "", [], ()):
            yield f"{path}{key}", list(item) if isinstance(item, tuple) else item


def _tolerance(field: str) -> tuple[float, float] | None:
    field = field.replace("noise_after.", "noise_before.")
    if field.startswith("conditions.others."):
        field = "conditions.others"
    is_noise = field.partition(".")[0] in ("load", "conditions", "noise_before")
    return _TOLERANCE.get(field, (0, 0) if is_noise else None)


def _is_near(a: Any, b: Any, tolerance: tuple[float, float]) -> bool:
    absolute, relative = tolerance
    if math.isinf(absolute):
        return True
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(_is_near(x, y, tolerance) for x, y in zip(a, b, strict=True))
    numbers = [0 if value is None else value for value in (a, b)]  # a program that was not there used no core
    if not all(isinstance(value, int | float) for value in numbers):
        return False
    return bool(math.isclose(*numbers, rel_tol=relative, abs_tol=absolute))


def _only(value: Any, other: Any) -> Any:
    """Of a list of words, those that the other side lacks: a hundred flags that agree say nothing."""
    if isinstance(value, list) and isinstance(other, list) and all(isinstance(v, str) for v in value + other):
        return [word for word in value if word not in other]
    return value


def _shown(value: Any) -> str:
    match value:
        case None:
            return "absent"
        case list():
            return " ".join(map(str, value)) or "none"
    return str(value)
