"""Typed access to the fields of a text-format message, with errors and warnings that name file and line."""

from collections.abc import Sequence

from trivet.errors import SpecError
from trivet.spec.pbtxt import Block, Entry, Value, Word


class Fields:
    """Reads one file's messages. A field that is absent is None; one that is given twice is an error."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._warnings: list[tuple[int, str]] = []

    def _one(self, block: Block, name: str) -> Entry | None:
        entries = [entry for entry in block.entries if entry.name == name]
        if len(entries) > 1:
            raise self.error(entries[1].line, f"{name} is given twice; first on line {entries[0].line}")
        return entries[0] if entries else None

    def text(self, block: Block, name: str) -> str | None:
        entry = self._one(block, name)
        if entry is None:
            return None
        if not isinstance(entry.value, str) or isinstance(entry.value, Word):
            raise self.error(entry.line, f"{name}: expected text in quotes, got {_shown(entry.value)}")
        return entry.value

    def word(self, block: Block, name: str) -> str | None:
        entry = self._one(block, name)
        if entry is None:
            return None
        if not isinstance(entry.value, Word):
            raise self.error(entry.line, f"{name}: expected a word without quotes, got {_shown(entry.value)}")
        return str(entry.value)

    def number(self, block: Block, name: str, at_least: int) -> int | None:
        entry = self._one(block, name)
        return None if entry is None else self.checked_number(entry, at_least)

    def checked_number(self, entry: Entry, at_least: int) -> int:
        if not isinstance(entry.value, int):
            raise self.error(entry.line, f"{entry.name}: expected a whole number, got {_shown(entry.value)}")
        if entry.value < at_least:
            raise self.error(entry.line, f"{entry.name}: expected at least {at_least}, got {entry.value}")
        return entry.value

    def block(self, block: Block, name: str) -> Block | None:
        found = [inside for _, inside in self.blocks(block, name)]
        self._one(block, name)
        return found[0] if found else None

    def blocks(self, block: Block, name: str) -> Sequence[tuple[Entry, Block]]:
        found = []
        for entry in block.entries:
            if entry.name == name:
                if not isinstance(entry.value, Block):
                    raise self.error(entry.line, f"{name}: expected {{…}}, got {_shown(entry.value)}")
                found.append((entry, entry.value))
        return found

    def warn(self, line: int, message: str) -> None:
        self._warnings.append((line, message))

    def error(self, line: int, message: str) -> SpecError:
        return SpecError(message, f"{self._file}:{line}")

    def warnings(self) -> tuple[str, ...]:
        """What was warned of, each once, in the order of the file."""
        return tuple(f"{self._file}:{line}: {message}" for line, message in sorted(set(self._warnings)))


def line_of(block: Block, name: str, default: int = 1) -> int:
    """The line of a field's first value, or `default` where it has none."""
    return next((entry.line for entry in block.entries if entry.name == name), default)


def _shown(value: Value) -> str:
    return "{…}" if isinstance(value, Block) else str(value) if isinstance(value, Word) else repr(value)
