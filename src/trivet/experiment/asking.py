"""Asks a server one request after the other and keeps whole answers: for passes that are judged, not timed."""

import contextlib
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from trivet.errors import TrivetError
from trivet.load.connection import READ_BYTES, Target
from trivet.load.http import AnswerReader, BadAnswerError, request_bytes
from trivet.load.job import HttpRequest

TIMEOUT_S = 30.0


class NoAnswerError(TrivetError):
    """The target gave no whole answer to a request of a pass; the message says which one and why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One whole answer; names of headers in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Conversation:
    """One keep-alive connection, one request at a time; opened when it is needed, and again when it was closed."""

    def __init__(self, target: str, timeout_s: float = TIMEOUT_S) -> None:
        self._target = Target.parse(target)
        self._host = "localhost" if target.startswith("unix:") else target
        self._timeout_s = timeout_s
        self._socket: socket.socket | None = None

    def ask(self, request: HttpRequest) -> Answer:
        """Raises: OSError: no connection, or it broke.  BadAnswerError: not HTTP."""
        whole = request_bytes(request.method, request.path, self._host, request.headers, request.body)
        is_fresh = self._socket is None
        try:
            return self._exchange(whole)
        except ConnectionError:
            if is_fresh:
                raise
            return self._exchange(whole)  # a server may close an idle connection at any time
        except BaseException:
            self.close()
            raise

    def _exchange(self, whole: bytes) -> Answer:
        sock = self._connected()
        reader = AnswerReader()
        try:
            sock.sendall(whole)
            while data := sock.recv(READ_BYTES):
                if reader.feed(data):
                    return self._answer(reader)
        except ConnectionError:
            self.close()
            raise
        if not reader.end():
            self.close()
            raise ConnectionResetError(f"{self._target.name} closed the connection without a whole answer")
        return self._answer(reader)

    def _answer(self, reader: AnswerReader) -> Answer:
        head = reader.head
        if not head.keep_alive:
            self.close()
        return Answer(head.status, _headers(head.raw), reader.body())

    def _connected(self) -> socket.socket:
        if self._socket is None:
            sock = self._target.socket()
            sock.settimeout(self._timeout_s)
            try:
                sock.connect(self._target.address)
            except OSError:
                sock.close()
                raise
            self._socket = sock
        return self._socket

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def ask_all(
    target: str, requests: Sequence[HttpRequest], *, num_connections: int = 1, timeout_s: float = TIMEOUT_S
) -> list[Answer]:
    """Ask every request once; answers in the order of the requests, whatever their status.

    Args: num_connections: requests in flight at a time: 1 asks each alone, more let a server form batches.
    Raises: NoAnswerError: one got none, after which no more are asked.
    """
    answers: list[Answer | None] = [None] * len(requests)
    failures: list[NoAnswerError] = []
    places = iter(range(len(requests)))
    lock = threading.Lock()

    def work() -> None:
        with contextlib.closing(Conversation(target, timeout_s)) as conversation:
            while not failures:
                with lock:
                    i = next(places, None)
                if i is None:
                    return
                try:
                    answers[i] = conversation.ask(requests[i])
                except (OSError, BadAnswerError) as error:
                    failures.append(NoAnswerError(f"{target} did not answer request {i + 1}: {error}"))

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(num_connections, len(requests)))]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
    except BaseException:  # Ctrl-C: nobody waits for what is under way
        failures.append(NoAnswerError("stopped"))
        raise
    if failures:
        raise failures[0]
    return [answer for answer in answers if answer is not None]


def _headers(raw: bytes) -> dict[str, str]:
    lines = raw.decode("latin-1").split("\r\n")[1:]
    pairs = (line.partition(":") for line in lines if line)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}
