"""Small servers that speak as others do: handlers by method and path, on a real socket."""

import json
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.load.scripted_target import ScriptedTarget, answer

Handler = Callable[[bytes], bytes]  # from the body of a request to a whole answer


def reply(value: Any, status: int = 200, head: bytes = b"") -> bytes:
    """JSON; None: an empty body, as Triton answers health."""
    return answer(status, b"" if value is None else json.dumps(value).encode(), head)


def speaker(
    handlers: Mapping[str, bytes | Handler], uds: Path | None = None, unknown: bytes | None = None
) -> ScriptedTarget:
    """Args: handlers: by `GET /path`.  unknown: the answer to everything else."""

    def script(sock: socket.socket, request: bytes) -> None:
        head, _, body = request.partition(b"\r\n\r\n")
        handler = handlers.get(b" ".join(head.split(b" ")[:2]).decode())
        if handler is None:
            handler = unknown or reply({"error": "no such path"}, 404)
        sock.sendall(handler if isinstance(handler, bytes) else handler(body))

    return ScriptedTarget(script, uds)
