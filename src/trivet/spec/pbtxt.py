"""A reader for protobuf's text format, as far as `config.pbtxt` files use it; it needs no schema.

Grammar: https://protobuf.dev/reference/protobuf/textformat-spec. Not read: extensions and `Any`
(`[name] {…}`) and octal numbers. Enum values, `true` and `inf` stay words: only a schema tells them apart.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from trivet.errors import SpecError

MAX_CHARACTERS = 1 << 20
MAX_DEPTH = 40

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\f\v]+|\#[^\n]*)
      |(?P<newline>\n)
      |(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
      |(?P<number>[-+]?(?:0[xX][0-9a-fA-F]+|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)[fF]?)
      |(?P<word>[A-Za-z_][A-Za-z0-9_]*)
      |(?P<sign>[{}<>:\[\],;-])""",
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(?:([0-7]{1,3})|[xX]([0-9a-fA-F]{1,2})|(.))", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


class Word(str):
    """An unquoted word: an enum value, `true` or `false`."""

    __slots__ = ()


Value: TypeAlias = "Word | str | int | float | Block"


@dataclass(frozen=True, slots=True)
class Entry:
    """One value of one field, and the line it stands on. A list counts as several entries."""

    name: str
    value: Value
    line: int


@dataclass(frozen=True, slots=True)
class Block:
    """A message: its entries in the order of the text."""

    line: int
    entries: list[Entry] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    line: int


def parse(text: str, file: str) -> Block:
    """The message that a text holds; `file` names it in errors.

    Raises: SpecError: not text format; names file and line.
    """
    if len(text) > MAX_CHARACTERS:
        raise SpecError(f"{len(text)} characters are too many; at most {MAX_CHARACTERS}", file)
    return _Parser(list(_tokens(text, file)), file).block(_Token("start", "", 1), "", 0)


def _tokens(text: str, file: str) -> Iterator[_Token]:
    at, line = 0, 1
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise SpecError(f"{text[at]!r} does not belong here", f"{file}:{line}")
        kind = match.lastgroup or ""
        if kind == "newline":
            line += 1
        elif kind != "space":
            yield _Token(kind, match.group(), line)
        at = match.end()
    yield _Token("end", "the end of the file", line)


class _Parser:
    def __init__(self, tokens: list[_Token], file: str) -> None:
        self._tokens = tokens
        self._at = 0
        self._file = file

    def block(self, opening: _Token, closing: str, depth: int) -> Block:
        """Entries up to the closing sign; "" is the end of the file."""
        if depth > MAX_DEPTH:
            raise self._error(opening, f"nested deeper than {MAX_DEPTH} levels")
        block = Block(opening.line)
        while True:
            token = self._take()
            if token.kind == "end" and closing:
                raise self._error(opening, f"{opening.text!r} is never closed")
            if token.kind == "end" or (token.kind == "sign" and token.text == closing):
                return block
            if token.kind != "word":
                raise self._error(token, f"expected the name of a field, got {_shown(token)}")
            block.entries.extend(self._values(token, depth))
            if self._peek().text in (",", ";"):
                self._take()

    def _values(self, name: _Token, depth: int) -> Iterator[Entry]:
        """The value after a field's name, or the values of a list."""
        token = self._take()
        if token.text == ":" and token.kind == "sign":
            token = self._take()
        elif token.text not in ("{", "<", "["):
            raise self._error(token, f"expected ':' or '{{' after {name.text!r}, got {_shown(token)}")
        if token.kind != "sign" or token.text != "[":
            yield Entry(name.text, self._value(token, depth), token.line)
            return
        while (token := self._take()).text != "]" or token.kind != "sign":
            yield Entry(name.text, self._value(token, depth), token.line)
            if self._peek().text == ",":
                self._take()
            elif self._peek().text != "]":
                raise self._error(self._peek(), f"expected ',' or ']' in a list, got {_shown(self._peek())}")

    def _value(self, token: _Token, depth: int) -> Value:
        match token.kind, token.text:
            case "sign", "{":
                return self.block(token, "}", depth + 1)
            case "sign", "<":
                return self.block(token, ">", depth + 1)
            case "word", word:
                return Word(word)
            case "number", _:
                return self._number(token)
            case "string", text:
                parts = [_unquoted(text)]
                while self._peek().kind == "string":  # neighbours are one string
                    parts.append(_unquoted(self._take().text))
                return "".join(parts)
        raise self._error(token, f"expected a value, got {_shown(token)}")

    def _number(self, token: _Token) -> int | float:
        text = token.text
        if len(text) > 40:
            raise self._error(token, f"a number of {len(text)} characters")
        if re.fullmatch(r"[-+]?0[xX][0-9a-fA-F]+", text):
            return int(text, 16)
        if re.fullmatch(r"[-+]?[0-9]+", text):
            return int(text)
        return float(text.rstrip("fF"))

    def _peek(self) -> _Token:
        return self._tokens[self._at]

    def _take(self) -> _Token:
        token = self._tokens[self._at]
        if token.kind != "end":
            self._at += 1
        return token

    def _error(self, token: _Token, message: str) -> SpecError:
        return SpecError(message, f"{self._file}:{token.line}")


def _shown(token: _Token) -> str:
    return token.text if token.kind == "end" else repr(token.text)


def _unquoted(text: str) -> str:
    def character(match: re.Match[str]) -> str:
        octal, hexadecimal, other = match.groups()
        if octal or hexadecimal:
            return chr(int(octal, 8) if octal else int(hexadecimal, 16))
        return _ESCAPED.get(other, other)

    return _ESCAPE.sub(character, text[1:-1])
