"""A real HTTP server whose every answer is scripted by the test: blocking sockets, a thread for each."""

import socket
import threading
from collections.abc import Callable
from pathlib import Path

Script = Callable[[socket.socket, bytes], None]


def ok(body: bytes = b"y", head: bytes = b"") -> bytes:
    return answer(200, body, head)


def answer(status: int, body: bytes = b"", head: bytes = b"") -> bytes:
    return b"HTTP/1.1 %d X\r\n%bContent-Length: %d\r\n\r\n%b" % (status, head, len(body), body)


def always(reply: bytes) -> Script:
    return lambda sock, request: sock.sendall(reply)


class ScriptedTarget:
    """Calls `script(connection, request)` for each request; the connection ends when the script closes it."""

    def __init__(self, script: Script, uds: Path | None = None) -> None:
        self._script = script
        self._listener = socket.socket(socket.AF_UNIX if uds else socket.AF_INET)
        self._listener.bind(str(uds) if uds else ("127.0.0.1", 0))
        self._listener.listen(64)
        self.name = f"unix:{uds}" if uds else f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.requests: list[bytes] = []
        self.num_connections = 0
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> "ScriptedTarget":
        self._threads[0].start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop_listening()
        for sock in self._sockets:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # ended already
        for thread in self._threads:
            thread.join()
        for sock in self._sockets:
            sock.close()
        self._listener.close()

    def stop_listening(self) -> None:
        """Refuse connections from now on."""
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.num_connections += 1
            self._sockets.append(sock)
            self._threads.append(threading.Thread(target=self._serve, args=(sock,)))
            self._threads[-1].start()

    def _serve(self, sock: socket.socket) -> None:
        try:
            while request := _read_request(sock):
                self.requests.append(request)
                self._script(sock, request)
        except OSError:
            return  # the script or the client closed it


def _read_request(sock: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = sock.recv(1 << 20)
        if not piece:
            return b""
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    _, _, length = head.lower().partition(b"content-length: ")
    missing = int(length.split(b"\r\n")[0] or 0) - len(body)
    pieces = [data]
    while missing > 0:
        pieces.append(sock.recv(1 << 20))
        missing -= len(pieces[-1])
    return b"".join(pieces)
