"""Messages over a socket pair that keeps packet boundaries (SOCK_SEQPACKET): each arrives whole or never."""

import socket
from collections import deque
from typing import Any, Generic, TypeVar

import msgspec

from trivet.errors import EngineError

# Under Linux's default socket buffer (net.core.wmem_default, 208 KiB), which a packet cannot exceed.
MAX_MESSAGE_BYTES = 128 * 1024

# Plain numbers: combining the enum's members anew would cost more than the call.
_DO_NOT_WAIT = int(socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)

Received = TypeVar("Received")


class Channel(Generic[Received]):
    """One end. `ended` is set once the other end is closed and everything that it sent has been received."""

    def __init__(self, sock: socket.socket, received: Any) -> None:
        """`received`: the union of the message types that may arrive here."""
        self._sock = sock
        self._decoder: msgspec.msgpack.Decoder[Received] = msgspec.msgpack.Decoder(received)
        self._encode = msgspec.msgpack.Encoder().encode
        self._buffer = memoryview(bytearray(MAX_MESSAGE_BYTES))
        self._backlog: deque[bytes] = deque()
        self.ended = False

    def fileno(self) -> int:
        return self._sock.fileno()

    def encode(self, message: msgspec.Struct) -> bytes:
        """Raises: EngineError: the message does not fit into a packet."""
        packet = self._encode(message)
        if len(packet) > MAX_MESSAGE_BYTES:
            raise EngineError(
                f"a {type(message).__name__} message of {len(packet)} bytes to or from a python engine; "
                f"at most {MAX_MESSAGE_BYTES} are possible: use fewer tensors"
            )
        return packet

    def send(self, message: msgspec.Struct) -> None:
        """Send, waiting for room if need be (child: a parent that is slow to read slows the child)."""
        self._sock.send(self.encode(message))

    def post(self, message: msgspec.Struct) -> None:
        """Send without ever waiting (parent: a hung child must not stop the event loop).

        What finds no room is kept, in order, and goes out with a later `flush`; what the caller has in flight
        bounds it. A closed other end is not an error here: `receive` finds it.
        """
        packet = self.encode(message)
        if self._backlog or not self._try_send(packet):
            self._backlog.append(packet)

    def flush(self) -> None:
        while self._backlog and self._try_send(self._backlog[0]):
            self._backlog.popleft()

    def _try_send(self, packet: bytes) -> bool:
        try:
            self._sock.send(packet, _DO_NOT_WAIT)
        except BlockingIOError:
            return False
        except (BrokenPipeError, ConnectionResetError):
            pass  # nobody will read it: as good as sent
        return True

    def receive(self, *, wait: bool) -> Received | None:
        """The next message; None when there is none (`wait=False`) or never will be (`ended`).

        Raises: msgspec.DecodeError: what came is no message of ours.
        """
        try:
            num_bytes = self._sock.recv_into(self._buffer, 0, 0 if wait else _DO_NOT_WAIT)
        except BlockingIOError:
            return None
        except ConnectionResetError:  # the other end left packets of ours unread; what it sent still follows
            return self.receive(wait=wait)
        if num_bytes == 0:
            self.ended = True
            return None
        return self._decoder.decode(self._buffer[:num_bytes])
