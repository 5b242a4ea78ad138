"""One line that is written over and over while load is offered; plain lines where nobody watches a terminal."""

import time
from types import TracebackType
from typing import Self, TextIO

from trivet.load.progress import Progress

NS_PER_S = 1_000_000_000
PLAIN_EVERY_NS = 2 * NS_PER_S  # a log is read later: few lines are enough
_CLEAR = "\r\x1b[K"


class LiveLine:
    """On a terminal the line is replaced; elsewhere a line is added every other second."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_terminal = stream.isatty()
        self._is_shown = False
        self._last: tuple[str, int, int] = ("", -1, 0)
        self._stepped_ns = -PLAIN_EVERY_NS

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clear()

    def show(self, label: str, block: int, progress: Progress) -> None:
        """Elapsed, rate, p50, p99 and errors of what is being measured."""
        text = f"{label} block {block + 1}: {progress}"
        if self._is_terminal:
            self._stream.write(_CLEAR + text)
            self._is_shown = True
        elif self._is_due(label, block, progress.elapsed_ns):
            self._stream.write(text + "\n")
        self._stream.flush()

    def step(self, text: str, now_ns: int | None = None) -> None:
        """How far something is that offers no load. Args: now_ns: monotonic; None: now."""
        now_ns = time.monotonic_ns() if now_ns is None else now_ns
        if self._is_terminal:
            self._stream.write(_CLEAR + text)
            self._is_shown = True
        elif now_ns - self._stepped_ns >= PLAIN_EVERY_NS:
            self._stream.write(text + "\n")
            self._stepped_ns = now_ns
        self._stream.flush()

    def say(self, text: str) -> None:
        """A line that stays."""
        self._clear()
        self._stream.write(f"trivet: {text}\n")
        self._stream.flush()

    def _is_due(self, label: str, block: int, elapsed_ns: int) -> bool:
        last_label, last_block, last_ns = self._last
        if (label, block) == (last_label, last_block) and elapsed_ns - last_ns < PLAIN_EVERY_NS:
            return False
        self._last = (label, block, elapsed_ns)
        return True

    def _clear(self) -> None:
        if self._is_shown:
            self._stream.write(_CLEAR)
            self._is_shown = False
