"""The questions about levers: what changes when one goes to another value, and what two do only together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import msgspec

from trivet.catalog.study import LeverRecord

Choice = Mapping[str, Any]
_MAX_OTHERS = 4  # of one lever, beside its default


@dataclass(frozen=True, slots=True, eq=False)  # a question is itself: choices are no keys
class Contrast:
    """A ratio of figures: the product over `above` divided by the product over `below`.

    One lever: changed over unchanged. Two: (both * neither) / (one * other), which is 1 where each does what it does
    whatever the other is.
    """

    levers: tuple[str, ...]
    from_to: tuple[tuple[Any, Any], ...]
    above: tuple[Choice, ...]
    below: tuple[Choice, ...]

    @property
    def choices(self) -> tuple[Choice, ...]:
        return (*self.above, *self.below)


def key_of(choice: Choice) -> str:
    """The same text for the same values, in whatever order."""
    return msgspec.json.encode(dict(choice), order="sorted").decode()


def single_contrasts(around: Choice, levers: Sequence[LeverRecord]) -> list[Contrast]:
    """Each lever to its default and to the values beside it, all others as they are."""
    return [
        _single(around, lever.name, value)
        for lever in levers
        if lever.name in around
        for value in other_values(lever, around[lever.name])
    ]


def pair_contrasts(around: Choice, targets: Mapping[str, Any]) -> list[Contrast]:
    """Each two of the levers named, both to the value given."""
    return [_pair(around, first, second, targets) for first, second in combinations(targets, 2)]


def other_values(lever: LeverRecord, value: Any) -> list[Any]:
    """The default first, then what lies beside the value in the lever's list; all words, as they have no order."""
    default = [lever.default] if lever.default != value else []
    words = [other for other in lever.values if not _is_size(other)]
    sizes = [
        other for other in lever.values if _is_size(other)
    ]  # ascending but for the default, which stands first
    sizes.sort(key=lambda size: (isinstance(size, str), size if not isinstance(size, str) else 0))
    if value in sizes:
        place = sizes.index(value)
        sizes = sizes[max(0, place - 1) : place] + sizes[place + 1 : place + 2]
    elif len(sizes) > 1:
        sizes = [sizes[0], sizes[-1]]
    others = [other for other in (*sizes, *words) if other not in (value, lever.default)]
    return [*default, *others[:_MAX_OTHERS]]


def _is_size(value: Any) -> bool:
    """A number, or a duration as service.yaml says it."""
    return (isinstance(value, int | float) and not isinstance(value, bool)) or (
        isinstance(value, str) and value[:1].isdigit()
    )


def _single(around: Choice, name: str, value: Any) -> Contrast:
    changed = {**around, name: value}
    return Contrast((name,), ((around[name], value),), (changed,), (around,))


def _pair(around: Choice, first: str, second: str, targets: Mapping[str, Any]) -> Contrast:
    one, other = {**around, first: targets[first]}, {**around, second: targets[second]}
    both = {**one, second: targets[second]}
    moves = tuple((around[name], targets[name]) for name in (first, second))
    return Contrast((first, second), moves, (both, around), (one, other))
