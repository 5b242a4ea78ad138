"""A plain tree (from YAML) becomes msgspec Structs, strictly; errors name place, value and expectation.

msgspec's own `convert` knows no units and names a place only roughly; this one walks the same type
information. Meaning beyond the types comes from two hooks on them: `Meta(extra={"unit": "duration"})` on a
number, and a class attribute `shorthand` on a Struct: the field that a lone text stands for
(`decode: argmax` is `decode: {by: argmax}`).
"""

import operator
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from trivet.errors import SpecError
from trivet.spec.fields import FieldError, FieldPath, close, dotted, nearest, place
from trivet.spec.units import parse_duration_ns, parse_percent, parse_size

S = TypeVar("S", bound=msgspec.Struct)

_PARSE_UNIT: dict[str, Callable[[object], int | float]] = {
    "duration": parse_duration_ns,
    "size": parse_size,
    "percent": parse_percent,
}
_EXPECTED_UNIT = {
    "duration": "a duration such as 50ms",
    "size": "a size such as 2MiB",
    "percent": "a share such as 10%",
}
_MAX_SHOWN = 60


def convert(tree: Any, cls: type[S], path: FieldPath = ()) -> S:
    """The Struct that a tree declares.

    Raises: FieldError: an unknown, missing or repeated key, or a value that does not fit.
    """
    return _struct(tree, _type_info(cls), path)  # type: ignore[no-any-return]  # type information is untyped


@cache
def _type_info(cls: type[msgspec.Struct]) -> inspect.StructType:
    info = inspect.type_info(cls)
    if not isinstance(info, inspect.StructType):
        raise TypeError(f"{cls!r} is not a Struct")
    return info


def _value(value: Any, info: inspect.Type, path: FieldPath) -> Any:
    if isinstance(info, inspect.Metadata):
        return _unit(value, info, path)
    if isinstance(info, inspect.UnionType):
        return _union(value, info, path)
    if isinstance(info, inspect.StructType):
        return _struct(value, info, path)
    if isinstance(info, inspect.DictType):
        return _dict(value, info, path)
    if isinstance(info, inspect.VarTupleType):
        if not isinstance(value, list):
            raise _mismatch(value, info, path)
        return tuple(_value(item, info.item_type, (*path, index)) for index, item in enumerate(value))
    if not _fits(value, info):
        raise _mismatch(value, info, path)
    _check_bounds(value, info, path)
    return float(value) if isinstance(info, inspect.FloatType) else value


def _struct(value: Any, info: inspect.StructType, path: FieldPath) -> Any:
    shorthand = getattr(info.cls, "shorthand", None)
    if shorthand is not None and isinstance(value, str):
        value = {shorthand: value}
    if not isinstance(value, dict):
        raise _mismatch(value, info, path)
    fields = {field.encode_name: field for field in info.fields}
    for key in value:
        if key not in fields:
            raise FieldError((*path, key), f"unknown key {key!r}{place(path)}{nearest(key, fields)}")
    for key, field in fields.items():
        if field.required and key not in value:
            raise FieldError(path, f"key {key!r} is missing{place(path)}")
    given = {fields[key].name: _value(item, fields[key].type, (*path, key)) for key, item in value.items()}
    try:
        return info.cls(**given)
    except FieldError as error:  # the Struct's own check
        raise FieldError((*path, *error.path), error.message) from None
    except SpecError as error:
        raise FieldError(path, str(error)) from None


def _dict(value: Any, info: inspect.DictType, path: FieldPath) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _mismatch(value, info, path)
    for key in value:
        if not key:
            raise FieldError((*path, key), f"an empty key{place(path)}; give it a name")
    return {key: _value(item, info.value_type, (*path, key)) for key, item in value.items()}


def _unit(value: Any, info: inspect.Metadata, path: FieldPath) -> int | float:
    unit = (info.extra or {})["unit"]
    try:
        return _PARSE_UNIT[unit](value)
    except SpecError as error:
        raise FieldError(path, f"{dotted(path)}: {error}") from None


def _union(value: Any, info: inspect.UnionType, path: FieldPath) -> Any:
    """The first member whose kind fits decides, so that its own error (a bound, a unit) is the one shown."""
    members = sorted(info.types, key=lambda member: not isinstance(member, inspect.LiteralType))
    for member in members:
        if _fits(value, member):
            return _value(value, member, path)
    units = [member for member in members if isinstance(member, inspect.Metadata)]
    if units and isinstance(value, int | float) and not isinstance(value, bool):
        return _unit(value, units[0], path)
    raise _mismatch(value, info, path)


def _fits(value: Any, info: inspect.Type) -> bool:
    """Whether a value is of the kind that a type describes; bounds and insides are checked afterwards."""
    match info:
        case inspect.LiteralType():
            return any(type(value) is type(known) and value == known for known in info.values)
        case inspect.BoolType():
            return isinstance(value, bool)
        case inspect.IntType():
            return isinstance(value, int) and not isinstance(value, bool)
        case inspect.FloatType():
            return isinstance(value, int | float) and not isinstance(value, bool)
        case inspect.StrType() | inspect.Metadata():
            return isinstance(value, str)
        case inspect.NoneType():
            return False  # a key without a value is a mistake: leave the key out
        case inspect.VarTupleType():
            return isinstance(value, list)
        case inspect.StructType():
            return isinstance(value, dict) or (isinstance(value, str) and hasattr(info.cls, "shorthand"))
        case inspect.DictType():
            return isinstance(value, dict)
        case inspect.UnionType():
            return any(_fits(value, member) for member in info.types)
    raise TypeError(f"a declaration cannot hold {info!r}")


def _check_bounds(value: Any, info: inspect.Type, path: FieldPath) -> None:
    if isinstance(info, inspect.StrType):
        if info.min_length and len(value) < info.min_length:
            raise FieldError(path, f"{dotted(path)}: empty text; write a value or leave the key out")
        return
    if not isinstance(info, inspect.IntType | inspect.FloatType):
        return
    bounds = (
        ("more than", info.gt, operator.gt),
        ("at least", info.ge, operator.ge),
        ("less than", info.lt, operator.lt),
        ("at most", info.le, operator.le),
    )
    for word, bound, holds in bounds:
        if bound is not None and not holds(value, bound):
            raise FieldError(path, f"{dotted(path)}: expected {word} {bound:g}, got {value!r}")


def _mismatch(value: Any, info: inspect.Type, path: FieldPath) -> FieldError:
    hint = ""
    words = _literals(info)
    if isinstance(value, str) and words:
        hint = close(value, words)
    elif isinstance(value, int | float) and _fits("text", info):
        hint = "; write it in quotes"
    where = dotted(path) or "the file"
    return FieldError(path, f"{where}: expected {expectation(info)}, got {_shown(value)}{hint}")


def _literals(info: inspect.Type) -> list[str]:
    members = info.types if isinstance(info, inspect.UnionType) else (info,)
    return [
        str(word) for member in members if isinstance(member, inspect.LiteralType) for word in member.values
    ]


def expectation(info: inspect.Type) -> str:
    """What a type takes, in a reader's words."""
    match info:
        case inspect.UnionType():
            parts = [expectation(member) for member in info.types if not isinstance(member, inspect.NoneType)]
            return " or ".join(parts)
        case inspect.LiteralType():
            return " or ".join(str(word) for word in info.values)
        case inspect.Metadata():
            return _EXPECTED_UNIT[(info.extra or {})["unit"]]
        case inspect.StructType():
            return f"a mapping with the keys {', '.join(field.encode_name for field in info.fields)}"
        case inspect.VarTupleType():
            return "a list"
        case inspect.DictType():
            return "a mapping"
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType():
            return "a whole number"
        case inspect.FloatType():
            return "a number"
    return "text"


def _shown(value: Any) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case dict():
            return "a mapping"
        case list():
            return "a list"
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "…"
