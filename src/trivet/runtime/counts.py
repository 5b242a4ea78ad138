"""Counts of what shortcuts and repairs did, by family and labels: made on first use, read when somebody asks.

The families are declared in `serve/metric_families.py`.
"""

from typing import Any


class Count:
    """One number of a family. Who counts for every request keeps it and adds to `value`."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: int | float = 0


class Counts:
    """Of one live configuration in one worker; not thread-safe."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[tuple[str, tuple[tuple[str, str], ...]], Count] = {}

    def add(self, family: str, amount: int | float = 1, **labels: str) -> None:
        self.of(family, **labels).value += amount

    def set(self, family: str, value: int | float, **labels: str) -> None:
        """Of a gauge. What is shown is the sum over the workers."""
        self.of(family, **labels).value = value

    def of(self, family: str, **labels: str) -> Count:
        key = (family, tuple(sorted(labels.items())))
        found = self._counts.get(key)
        if found is None:
            found = self._counts[key] = Count()
        return found

    def snapshot(self) -> list[list[Any]]:
        """`[family, labels, value]` of each count."""
        return [[family, dict(labels), count.value] for (family, labels), count in self._counts.items()]
