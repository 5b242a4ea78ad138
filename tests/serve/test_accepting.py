"""A connection that is handed to another worker: on the board before anybody can answer it, and gone from it if it stays."""

import asyncio
import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from trivet.serve import board as boards
from trivet.serve.accepting import Acceptor


@pytest.fixture
def board() -> Iterator[boards.Board]:
    made = boards.Board(boards.create(2), 2)
    made.give(0, 0)  # the other worker is the emptier one
    yield made
    made.close()


def accept_one(board: boards.Board) -> None:
    """Worker 0 of two accepts one connection, whichever worker holds it then."""

    async def accept() -> None:
        loop = asyncio.get_running_loop()
        router: Any = SimpleNamespace(on_closed=lambda: None)
        mine, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener = socket.create_server(("127.0.0.1", 0))
        acceptor = Acceptor(loop, router, board, 0, [listener], [mine, other])
        with mine, other, socket.create_connection(listener.getsockname()):
            await acceptor.open()
            while board.total_connections() < 2:
                await asyncio.sleep(0)
            loop.remove_reader(mine)
            acceptor.close()

    asyncio.run(accept())


def test_it_counts_before_the_other_worker_can_see_it(
    board: boards.Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = []

    def send(*_: object) -> None:
        counts.append([board.num_connections(worker) for worker in range(2)])

    monkeypatch.setattr("trivet.serve.accepting.socket.send_fds", send)
    accept_one(board)
    assert counts == [[1, 1]]


def test_it_counts_where_it_stays_when_the_other_workers_inbox_is_full(
    board: boards.Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    def send(*_: object) -> None:
        raise BlockingIOError

    adopted: list[socket.socket] = []
    monkeypatch.setattr("trivet.serve.accepting.socket.send_fds", send)
    monkeypatch.setattr(Acceptor, "_adopt", lambda _, client: adopted.append(client))
    accept_one(board)
    assert [board.num_connections(worker) for worker in range(2)] == [2, 0]
    assert len(adopted) == 1
    adopted[0].close()
