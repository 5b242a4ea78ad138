"""Telling a client that has left from one that only sends no more.

Both look the same to a reader: the end of the stream. A Unix socket whose peer is gone reports a hang-up at once. A TCP
peer that is gone answers whatever we send with a reset, which also is reported as a hang-up, without anybody reading
or writing. So a socket at whose end of stream answers are still due is watched for hang-ups alone.
"""

import asyncio
import select
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trivet.serve.http.connection import Connection


class Hangups:
    """One for all connections of a worker."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._poll = select.epoll()
        self._watched: dict[Connection, int] = {}
        loop.add_reader(self._poll.fileno(), self._on_hangup)

    def watch(self, connection: "Connection", transport: asyncio.Transport) -> bool:
        """Abort the connection when its client turns out to have left. False: that cannot be told here."""
        descriptor = transport.get_extra_info("socket").fileno()
        self._poll.register(descriptor, 0)  # hang-ups and errors are reported without being asked for
        self._watched[connection] = descriptor
        return True

    def forget(self, connection: "Connection") -> None:
        if self._watched:
            self._watched.pop(connection, None)  # closing the socket takes it out of the epoll set

    def _on_hangup(self) -> None:
        connections = {descriptor: connection for connection, descriptor in self._watched.items()}
        for descriptor, _ in self._poll.poll(0):
            self._poll.unregister(descriptor)
            connection = connections.get(descriptor)
            if connection is not None:  # else it is being closed just now
                connection.abort()


class NoHangups:
    """Without sockets: a client whose stream ends has left."""

    def watch(self, _connection: "Connection", _transport: asyncio.Transport) -> bool:
        return False

    def forget(self, _connection: "Connection") -> None: ...
