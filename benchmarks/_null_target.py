"""A server that answers every request at once with a constant: what is left is the load generator's own cost.

usage: python -m benchmarks._null_target PORT
"""

import asyncio
import sys
from typing import cast

import uvloop

BODY = b'{"outputs":[{"name":"y","shape":[1,2],"datatype":"FP32","data":[0.5,0.5]}]}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY


class NullProtocol(asyncio.Protocol):
    """Finds the end of each request by its Content-Length; knows no other framing."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        num_answers = 0
        while (head_end := self._buffer.find(b"\r\n\r\n") + 4) > 3:
            head = self._buffer[:head_end].lower()
            start = head.find(b"content-length:")
            end = head_end + (int(head[start + 15 : head.index(b"\r\n", start)]) if start >= 0 else 0)
            if len(self._buffer) < end:
                break
            self._buffer = self._buffer[end:]
            num_answers += 1
        if num_answers:
            self._transport.write(ANSWER * num_answers)


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(NullProtocol, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
