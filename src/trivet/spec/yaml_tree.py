"""Strict YAML: a file becomes a plain tree of dict, list and scalars, and a map from each place to its line.

Scalars follow YAML 1.2's core schema, not 1.1: `on`, `off`, `yes`, `no` and dates are text, `1e-3` is a
number. Refused: duplicate keys, keys that are not text, several documents, aliases that expand too far,
and files that are larger or deeper than anything written by hand.
"""

import math
import re
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import yaml

from trivet.errors import SpecError
from trivet.spec.fields import FieldError, FieldPath

MAX_BYTES = 1 << 20  # a service file is written by hand: 1 MiB is far above any
MAX_NODES = 100_000  # counted after aliases are expanded, so that a few lines cannot become gigabytes
MAX_DEPTH = 40

_TEXT_TAG = "tag:yaml.org,2002:str"
_LIST_TAG = "tag:yaml.org,2002:seq"
_MAPPING_TAG = "tag:yaml.org,2002:map"
_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_MAX_NUMBER_LENGTH = 40


class _Loader(yaml.SafeLoader):
    """Its parser and composer only: the constructor, which makes objects, is never called."""

    _depth = 0

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}  # type: ignore[misc]  # untagged scalars stay text here

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self._depth > MAX_DEPTH:  # before the parser spends its stack on it
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]  # PyYAML is untyped here
            raise yaml.MarkedYAMLError(problem=f"nested deeper than {MAX_DEPTH} levels", problem_mark=mark)
        self._depth += 1
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node


class Document(msgspec.Struct, frozen=True):
    """A parsed file. `tree`: dict, list, str, int, float, bool, None. `lines`: the line of each place."""

    file: str
    tree: Any
    lines: dict[FieldPath, int]

    def error(self, path: FieldPath, message: str) -> SpecError:
        """An error that names file and line; a path that is not in the file takes its ancestor's line."""
        while path not in self.lines and path:
            path = path[:-1]
        return SpecError(message, f"{self.file}:{self.lines.get(path, 1)}")

    def located(self, error: FieldError) -> SpecError:
        return self.error(error.path, error.message)


def parse_file(file: Path) -> Document:
    """The one document of a YAML file. Raises: SpecError: names file and line."""
    try:
        size = file.stat().st_size
        if size > MAX_BYTES:
            raise SpecError(
                f"{size} bytes is too large for a hand-written file: at most {MAX_BYTES}", str(file)
            )
        text = file.read_bytes().decode()
    except OSError as error:
        raise SpecError(f"cannot be read: {error.strerror}", str(file)) from None
    except UnicodeDecodeError as error:
        raise SpecError(f"not UTF-8 text at byte {error.start}", str(file)) from None
    return parse_text(text, str(file))


def parse_text(text: str, file: str) -> Document:
    """The one document of a YAML text; `file` only names it in errors."""
    try:
        node = _compose(_Loader(text))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{file}:{mark.line + 1}" if mark else file
        raise SpecError(_advice(error, text), where) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise SpecError(f"character {error.character!r} is not allowed in YAML", f"{file}:{line}") from None
    if node is None:
        raise SpecError("the file is empty", file)
    builder = _Builder(file)
    return Document(file, builder.build(node, (), 0), builder.lines)


def _compose(loader: _Loader) -> yaml.Node | None:
    try:
        return loader.get_single_node()
    finally:
        loader.dispose()


def _advice(error: yaml.MarkedYAMLError, text: str) -> str:
    problem = " ".join(part for part in (error.context, error.problem) if part)
    if "another document" in problem:
        return "several documents in one file (`---`); write one file for each"
    mark = error.problem_mark
    lines = text.split("\n")
    line = lines[mark.line] if mark and mark.line < len(lines) else ""
    if "\t" in line[: len(line) - len(line.lstrip())] or "'\\t'" in problem:
        return "indented with a tab; YAML is indented with spaces"
    return f"not valid YAML: {problem}"


class _Builder:
    def __init__(self, file: str) -> None:
        self.lines: dict[FieldPath, int] = {}
        self._file = file
        self._num_nodes = 0

    def build(self, node: yaml.Node, path: FieldPath, depth: int) -> Any:
        """The value of a node. Every use of an alias is built anew, and counted."""
        self._num_nodes += 1
        if self._num_nodes > MAX_NODES:
            raise self._error(node, f"more than {MAX_NODES} values after its aliases are expanded")
        if depth > MAX_DEPTH:
            raise self._error(
                node, f"nested deeper than {MAX_DEPTH} levels, or an alias that contains itself"
            )
        self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            self._refuse_tag(node, _MAPPING_TAG)
            return self._mapping(node, path, depth)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        self._refuse_tag(node, _LIST_TAG)
        return [self.build(item, (*path, index), depth + 1) for index, item in enumerate(node.value)]

    def _mapping(self, node: yaml.MappingNode, path: FieldPath, depth: int) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self._scalar(key_node) if isinstance(key_node, yaml.ScalarNode) else key_node
            if not isinstance(key, str):
                shown = key_node.value if isinstance(key_node, yaml.ScalarNode) else "a list or mapping"
                raise self._error(key_node, f"a key must be text, got {shown}; write it in quotes")
            if key in values:
                first = self.lines[(*path, key)]
                raise self._error(key_node, f"key {key!r} is given twice; first on line {first}")
            if key == "<<":
                raise self._error(key_node, "merge keys (`<<`) are not part of YAML 1.2; write the keys out")
            self.lines[(*path, key)] = key_node.start_mark.line + 1
            values[key] = self.build(value_node, (*path, key), depth + 1)
        return values

    def _scalar(self, node: yaml.ScalarNode) -> str | int | float | bool | None:
        self._refuse_tag(node, _TEXT_TAG)
        if node.style is not None:  # quoted or a block: text, whatever it looks like
            return str(node.value)
        try:
            return plain_value(node.value)
        except ValueError as error:
            raise self._error(node, str(error)) from None

    def _refuse_tag(self, node: yaml.Node, expected: str) -> None:
        if node.tag != expected:
            raise self._error(
                node, f"tags such as {node.tag.replace('tag:yaml.org,2002:', '!!')} are not allowed"
            )

    def _error(self, node: yaml.Node, message: str) -> SpecError:
        return SpecError(message, f"{self._file}:{node.start_mark.line + 1}")


def plain_value(text: str) -> str | int | float | bool | None:
    """The value of an unquoted scalar in YAML 1.2's core schema.

    Raises: ValueError: a number that is not finite, or too long to be meant.
    """
    if text in _WORDS:
        return _WORDS[text]
    if len(text) > _MAX_NUMBER_LENGTH and _FLOAT.fullmatch(text):
        raise ValueError(f"a number of {len(text)} characters; at most {_MAX_NUMBER_LENGTH}")
    if _INT.fullmatch(text):
        return int(text, 0) if text[:2] in ("0x", "0o") else int(text)
    if _FLOAT.fullmatch(text) or _NOT_FINITE.fullmatch(text):
        value = float(text) if _FLOAT.fullmatch(text) else math.inf
        if not math.isfinite(value):
            raise ValueError(f"{text} is not a finite number")
        return value
    return text
