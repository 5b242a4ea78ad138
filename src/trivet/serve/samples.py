"""Rows on their way from a worker to the background process: one socket for all workers, whole messages.

A worker never waits for it: what the socket does not take gathers in a bounded buffer, and what does not fit there is
dropped and counted. The socket outlives the background process, so that a killed one loses only what it had read.
"""

import socket
from collections import deque
from collections.abc import Sequence
from itertools import islice

import msgspec

from trivet.spec.row import Row

# What a worker holds while the background process is slow or gone: at 1 kB a row 4 MB.
MAX_WAITING = 4096
# Encoding this many takes about 50 us, as long as the loop can well be kept from its requests.
ROWS_A_MESSAGE = 64
# No message is larger: a row's texts are bounded (sampled_row.py), so that 64 of them fit any socket's buffer.
MAX_MESSAGE = 1 << 18


class Sample(msgspec.Struct, frozen=True, array_like=True):
    """A row, and the caller's `traceparent` where spans are made of it."""

    row: Row
    traceparent: str = ""


class Outlet:
    """A worker's end. `num_kept` counts the samples given, `num_dropped` those that will never arrive."""

    def __init__(self, end: socket.socket, max_waiting: int = MAX_WAITING) -> None:
        """Args: end: a SOCK_SEQPACKET socket; becomes this outlet's, and does not block from now on."""
        end.setblocking(False)
        self._end = end
        self._max_waiting = max_waiting
        self._waiting: deque[Sample] = deque()
        self._is_blocked = False
        self._encode = msgspec.msgpack.Encoder().encode
        self.num_kept = 0
        self.num_dropped = 0

    @property
    def is_full(self) -> bool:
        return len(self._waiting) >= self._max_waiting

    @property
    def num_waiting(self) -> int:
        return len(self._waiting)

    def drop(self) -> None:
        """Count a sample that is not even made because the buffer is full."""
        self.num_kept += 1
        self.num_dropped += 1

    def put(self, sample: Sample) -> None:
        """Only while not `is_full`."""
        self.num_kept += 1
        self._waiting.append(sample)
        if len(self._waiting) >= ROWS_A_MESSAGE and not self._is_blocked:
            self.flush()

    def flush(self) -> None:
        """Send what the socket takes; the rest waits for the next call."""
        waiting = self._waiting
        self._is_blocked = False
        while waiting:
            message = list(islice(waiting, ROWS_A_MESSAGE))
            try:
                self._end.send(self._encode(message))
            except BlockingIOError:
                self._is_blocked = True
                return
            except (BrokenPipeError, ConnectionResetError):
                # Nobody will ever read: the supervisor is gone, and the background process with it.
                self.num_dropped += len(waiting)
                waiting.clear()
                return
            for _ in message:
                waiting.popleft()

    def close(self) -> None:
        self._end.close()


def decode(message: bytes) -> Sequence[Sample]:
    """Raises: msgspec.DecodeError: not a message of an `Outlet`."""
    return msgspec.msgpack.decode(message, type=list[Sample])
