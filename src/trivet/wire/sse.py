"""Server-sent events, from bytes to events. No sockets.   Source: WHATWG HTML, section 9.2.6."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_LINE = re.compile(rb"([^\r\n]*)(\r\n|\n|\r)")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Event:
    """`data` of one event, its lines joined; `end`: how many bytes of the body it took to have it whole."""

    data: bytes
    end: int


def read_events(body: bytes) -> Iterator[Event]:
    """The events of a body in order. One that no empty line ends is not given: it never came whole."""
    lines: list[bytes] = []
    start = len(_BYTE_ORDER_MARK) if body.startswith(_BYTE_ORDER_MARK) else 0
    for match in _LINE.finditer(body, start):
        line = match[1]
        if not line:
            if lines:
                yield Event(b"\n".join(lines), match.end())
            lines = []
            continue
        field, _, value = line.partition(b":")  # a comment's field is empty
        if field == b"data":
            lines.append(value.removeprefix(b" "))
