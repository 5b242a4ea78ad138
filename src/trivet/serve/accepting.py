"""How a worker gets its connections, evenly among workers.

Every worker accepts from the same listening sockets. A connection that is accepted goes to the worker that holds
the fewest: to oneself directly, to another one through its inbox, a datagram socket that carries descriptors.
SO_REUSEPORT would spread by hash: of 8 connections one of two workers then holds 6 or more in 29 % of cases.
"""

import asyncio
import socket
from collections.abc import Sequence

from trivet.serve.board import Board
from trivet.serve.http.connection import Connection
from trivet.serve.http.router import Router

# Accept this many a turn, so that a storm of connections does not keep the loop from requests.
_ACCEPT_BURST = 32


class Acceptor:
    """Owns the worker's way to new connections, from open to close."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        router: Router,
        board: Board,
        index: int,
        listeners: Sequence[socket.socket],
        inboxes: Sequence[socket.socket],
    ) -> None:
        """Args: inboxes: the descriptors to send to, by worker; at `index` the one to read from."""
        self._loop = loop
        self._router = router
        self._board = board
        self._index = index
        self._listeners = listeners
        self._inboxes = inboxes
        self._adopting: set[asyncio.Task[object]] = set()

    async def open(self) -> None:
        for listener in self._listeners:
            listener.setblocking(False)
            self._loop.add_reader(listener, self._accept, listener)
        if self._inboxes:
            inbox = self._inboxes[self._index]
            inbox.setblocking(False)
            self._loop.add_reader(inbox, self._receive, inbox)

    def close(self) -> None:
        """Accept no more; what has been given to this worker already is still received."""
        for listener in self._listeners:
            self._loop.remove_reader(listener)
            listener.close()

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(_ACCEPT_BURST):
            try:
                client, _ = listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return  # another worker was quicker, or the client has left already
            except OSError as error:  # out of descriptors: the connection stays in the backlog
                self._loop.remove_reader(listener)
                self._loop.call_later(0.1, self._resume, listener)
                self._router.complain(f"cannot accept a connection: {error.strerror}")
                return
            self._place(client)

    def _resume(self, listener: socket.socket) -> None:
        if listener.fileno() >= 0:
            self._loop.add_reader(listener, self._accept, listener)

    def _place(self, client: socket.socket) -> None:
        target = self._board.emptiest() if self._inboxes else self._index
        if target != self._index and self._send(client, target):
            return
        self._board.give(self._index, self._index)
        self._adopt(client)

    def _send(self, client: socket.socket, target: int) -> bool:
        # Counted first: the other worker may answer it, and a next one come, before this one goes on.
        self._board.give(self._index, target)
        try:
            socket.send_fds(self._inboxes[target], [b"c"], [client.fileno()])
        except OSError:  # its inbox is full, or it has just died: keep the connection
            self._board.take_back(self._index, target)
            return False
        client.close()  # the other worker holds its own descriptor now
        return True

    def _receive(self, inbox: socket.socket) -> None:
        for _ in range(_ACCEPT_BURST):
            try:
                _, descriptors, _, _ = socket.recv_fds(inbox, 1, 1)
            except BlockingIOError:
                return
            for descriptor in descriptors:
                self._adopt(socket.socket(fileno=descriptor))

    def _adopt(self, client: socket.socket) -> None:
        client.setblocking(False)
        if client.family != socket.AF_UNIX:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        task = self._loop.create_task(self._attach(client))
        self._adopting.add(task)
        task.add_done_callback(self._adopting.discard)

    async def _attach(self, client: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: Connection(self._router), client)
        except OSError:  # the client left between accept and now
            self._router.on_closed()
