"""Server-sent events, from bytes to events. No sockets.   Source: WHATWG HTML, section 9.2.6."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_LINE = re.compile(rb"([^\r\n]*)(\r\n|\n|\r)")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_MAX_EVENT = 4 * 2**20


@dataclass(frozen=True, slots=True)
class Event:
    """`data` of one event, its lines joined; `end`: how many bytes of the body it took to have it whole."""

    data: bytes
    end: int


def read_events(body: bytes) -> Iterator[Event]:
    """The events of a body in order. One that no empty line ends is not given: it never came whole."""
    lines: list[bytes] = []
    start = len(_BYTE_ORDER_MARK) if body.startswith(_BYTE_ORDER_MARK) else 0
    # Not behind the last line end: a line without one would be searched again from each of its bytes.
    stop = max(body.rfind(b"\n"), body.rfind(b"\r")) + 1
    for match in _LINE.finditer(body, start, stop):
        line = match[1]
        if not line:
            if lines:
                yield Event(b"\n".join(lines), match.end())
            lines = []
            continue
        field, _, value = line.partition(b":")  # a comment's field is empty
        if field == b"data":
            lines.append(value.removeprefix(b" "))


class EventReader:
    """Events as their bytes come, in pieces of any size."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, piece: bytes) -> list[bytes]:
        """The data of the events that are whole with this piece.

        Raises: OverflowError: an event of more than 4 MiB.
        """
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size > _MAX_EVENT:
            raise OverflowError(f"an event has more than {_MAX_EVENT} bytes")
        if b"\n" not in piece and b"\r" not in piece:
            return []  # what has no line end ends no event: nothing is read twice for it
        data = b"".join(self._pieces)
        is_cut = data.endswith(b"\r")  # its \n may be in the next piece
        events = list(read_events(data[:-1] if is_cut else data))
        if events:
            # Behind an event an empty line says nothing, and keeps what follows from being taken for the beginning.
            data = b"\n" + data[events[-1].end :]
        self._pieces, self._size = [data], len(data)
        return [event.data for event in events]
