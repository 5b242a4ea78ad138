"""A few questions to a server before the run: blocking, one connection each, with a time limit."""

import http.client
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trivet.load.connection import Target, TargetError


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: bytes

    def json(self) -> Any:
        """What the body holds; None for an empty body or one that is not JSON."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


def ask(
    target: str,
    path: str,
    *,
    method: str = "GET",
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    timeout_s: float = 5.0,
) -> Reply:
    """One request, one answer.

    Raises: TargetError: nothing answers there, or not in HTTP.  SpecError: not a target.
    """
    connection = _Connection(Target.parse(target), timeout_s)
    try:
        connection.request(method, path, body, dict(headers or {}))
        response = connection.getresponse()
        return Reply(response.status, response.read())
    except (OSError, http.client.HTTPException) as error:
        reason = str(error) or type(error).__name__
        raise TargetError(f"nothing answers at {target} ({reason}); start the server first") from None
    finally:
        connection.close()


class _Connection(http.client.HTTPConnection):
    """To a Target, which may be a Unix socket."""

    def __init__(self, target: Target, timeout_s: float) -> None:
        unix = target.family == socket.AF_UNIX
        super().__init__("localhost" if unix else target.name, timeout=timeout_s)
        self._target = target

    def connect(self) -> None:
        self.sock = self._target.socket()
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._target.address)
