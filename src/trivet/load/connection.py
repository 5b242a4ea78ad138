"""One keep-alive connection with at most one request in flight. Sockets never block: epoll tells when."""

import errno
import os
import select
import socket
from dataclasses import dataclass

from trivet.errors import SpecError, UserError
from trivet.load.http import AnswerReader

READ_BYTES = 256 * 1024
NO_REQUEST = -1

# As plain ints: looking an attribute of `select` up on each event costs more than testing its bit.
READABLE, WRITABLE = select.EPOLLIN, select.EPOLLOUT
BROKEN = select.EPOLLERR | select.EPOLLHUP
LEFT = select.EPOLLRDHUP  # the server sends nothing more


class TargetError(UserError):
    """Nothing answers at the target's address."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect: `host:port` of this host's loopback or elsewhere, or `unix:PATH`."""

    family: socket.AddressFamily
    address: tuple[str, int] | str
    name: str

    @classmethod
    def parse(cls, text: str) -> "Target":
        """Raises: SpecError: neither form."""
        if text.startswith("unix:") and len(text) > 5:
            return cls(socket.AF_UNIX, text[5:], text)
        host, _, port = text.rpartition(":")
        if not host or not port.isdecimal() or int(port) > 65_535:
            raise SpecError(f"target {text!r} is neither host:port nor unix:PATH")
        return cls(socket.AF_INET6 if ":" in host else socket.AF_INET, (host.strip("[]"), int(port)), text)

    def resolved(self) -> "Target":
        """With a number for a host name, so that no connection waits for a name server. Raises: TargetError."""
        if isinstance(self.address, str):
            return self
        try:
            found = socket.getaddrinfo(*self.address, type=socket.SOCK_STREAM)
        except OSError as error:
            raise TargetError(f"no host of the name {self.address[0]} ({error}); check the target") from None
        # IPv4 where there is a choice: `localhost` has both, and most servers listen on that.
        family, _, _, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
        return Target(family, (str(address[0]), self.address[1]), self.name)

    def socket(self) -> socket.socket:
        sock = socket.socket(self.family, socket.SOCK_STREAM)
        if self.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock


class Connection:
    """Errors of the socket come out as OSError: the client turns each into a row."""

    __slots__ = ("fd", "is_open", "reader", "request", "sock", "unsent")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.reader = AnswerReader()
        self.request = NO_REQUEST
        self.unsent: bytes | memoryview = b""  # what the socket has not taken yet
        self.is_open = True  # false while the connect is under way, and after `close`

    @classmethod
    def opened(cls, target: Target, timeout_s: float) -> "Connection":
        """Connect and wait for it. Raises: TargetError."""
        sock = target.socket()
        sock.settimeout(timeout_s)
        try:
            sock.connect(target.address)
        except OSError as error:
            sock.close()
            raise TargetError(f"nothing answers at {target.name} ({error}); start the server first") from None
        sock.setblocking(False)
        return cls(sock)

    @classmethod
    def opening(cls, target: Target) -> "Connection":
        """Start to connect; writable when that is done. Raises: OSError."""
        sock = target.socket()
        sock.setblocking(False)
        code = sock.connect_ex(target.address)
        if code not in (0, errno.EINPROGRESS):
            sock.close()
            raise OSError(code, os.strerror(code))
        connection = cls(sock)
        connection.is_open = code == 0
        return connection

    def finish_opening(self) -> None:
        """To be called when a connection under way has become writable. Raises: OSError: it was refused."""
        code = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
        self.is_open = True

    def flush(self) -> bool:
        """Give the socket what it takes of the request; True when nothing is left. Raises: OSError."""
        try:
            num_sent = self.sock.send(self.unsent)
        except BlockingIOError:
            return False
        if num_sent < len(self.unsent):
            self.unsent = memoryview(self.unsent)[num_sent:]
            return False
        self.unsent = b""
        return True

    def close(self) -> None:
        self.is_open = False
        self.sock.close()
