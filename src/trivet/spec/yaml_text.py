"""Text that the strict reader of YAML reads back as it was: single values, and a whole service."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import inspect

from trivet.spec.configuration import Configuration
from trivet.spec.service import Service
from trivet.spec.units import format_duration, format_percent, format_size
from trivet.spec.yaml_tree import plain_value

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-")
_FORMAT_UNIT: Mapping[str, Callable[[Any], str]] = {
    "duration": format_duration,
    "size": format_size,
    "percent": format_percent,
}
_SHOWN_DIGEST = 12


def quoted(text: str) -> str:
    """The text as a YAML scalar that is read back as exactly this text."""
    if text and set(text) <= _PLAIN and text[0] not in "-./" and plain_value(text) == text:
        return text
    return '"' + "".join(_escaped(character) for character in text) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    return character if character.isprintable() else f"\\U{ord(character):08x}"


def configuration_text(configuration: Configuration) -> str:
    """What is served, for people: the hash, the files with their digests, and every setting with its value."""
    files = [f"#   {file.digest[:_SHOWN_DIGEST]}  {_one_line(file.path)}" for file in configuration.files]
    return "\n".join([f"# configuration {configuration.hash}", *files, service_yaml(configuration.service)])


def service_yaml(service: Service) -> str:
    """The service as a service.yaml with every default written out; it parses to the same service."""
    return "\n".join(_struct(service, 0)) + "\n"


def _struct(value: msgspec.Struct, indent: int) -> list[str]:
    info = inspect.type_info(type(value))
    lines: list[str] = []
    for field in info.fields if isinstance(info, inspect.StructType) else ():
        item = getattr(value, field.name)
        if item is not None and item not in ((), {}):
            lines += _entry(field.encode_name, item, _unit(field.type), indent)
    return lines


def _entry(key: str, item: Any, unit: str | None, indent: int) -> list[str]:
    start = f"{' ' * indent}{quoted(key)}:"
    if isinstance(item, msgspec.Struct):
        return [start, *_struct(item, indent + 2)]
    if isinstance(item, Mapping):
        if not item:
            return [f"{start} {{}}"]
        return [
            start,
            *(line for name, value in item.items() for line in _entry(name, value, None, indent + 2)),
        ]
    if isinstance(item, tuple) and isinstance(item[0], msgspec.Struct):
        lines = [start]
        for value in item:
            first, *rest = _struct(value, indent + 4)
            lines += [f"{' ' * (indent + 2)}- {first.lstrip()}", *rest]
        return lines
    return [f"{start} {_scalar(item, unit)}"]


def _scalar(item: Any, unit: str | None) -> str:
    match item:
        case bool():
            return "true" if item else "false"
        case int() | float() if unit is not None:
            return _FORMAT_UNIT[unit](item)
        case str():
            return quoted(item)
        case tuple():
            return f"[{', '.join(_scalar(value, None) for value in item)}]"
    return repr(item)


def _unit(info: inspect.Type) -> str | None:
    """The unit of a field that is a duration, a size or a share, also beside `auto`."""
    members = info.types if isinstance(info, inspect.UnionType) else (info,)
    units = [
        member.extra["unit"] for member in members if isinstance(member, inspect.Metadata) and member.extra
    ]
    return units[0] if units else None


def _one_line(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)
