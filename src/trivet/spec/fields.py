"""Places inside a declaration, and errors that name them."""

from collections.abc import Iterable

from trivet.errors import SpecError

FieldPath = tuple[str | int, ...]  # ("pipeline", 0, "model")


class FieldError(SpecError):
    """Something is wrong at one place of a declaration; whoever knows the file adds its name and line."""

    def __init__(self, path: FieldPath, message: str) -> None:
        super().__init__(message, dotted(path))
        self.path = path
        self.message = message


def dotted(path: FieldPath) -> str:
    """`("pipeline", 0, "model")` as `pipeline[0].model`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def place(path: FieldPath) -> str:
    """` in models.encoder`, or nothing at the top of the file."""
    return f" in {dotted(path)}" if path else ""


def close(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the nearest known word, or nothing: the end of an error message."""
    import difflib  # only a mistake needs it

    by_lower = {candidate.lower(): candidate for candidate in known}
    matches = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return f"; did you mean {by_lower[matches[0]]!r}?" if matches else ""


def nearest(word: str, known: Iterable[str]) -> str:
    """Like `close`, but with the list of all known words where none is near."""
    words = list(known)
    return close(word, words) or (f"; known: {', '.join(words)}" if words else "")
