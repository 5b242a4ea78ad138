"""The HTTP front of a worker, fed with arbitrary bytes in arbitrary pieces, and with what happens around them.

The input is a script: a byte says what happens, and how many of the bytes behind it are sent.
"""

import gzip
from functools import cache
from unittest.mock import patch

from fuzz._world import World
from tests.serve.http_support import (
    SECOND_NS,
    Client,
    Front,
    infer,
    parse_answers,
    request,
    tensors,
    write_echo,
)
from trivet.serve.http import reader
from trivet.spec.deployment import Limits

_LONGEST_COMPARED = 900  # below every limit that counts what one read brought
_LONGEST_PIECE = 200  # a byte below: so many bytes are sent; from here on: something else happens
_RUN, _TIME, _PAUSE, _RESUME, _DRAIN = range(_LONGEST_PIECE, _LONGEST_PIECE + 5)


def _script(data: bytes, piece: int = 150) -> bytes:
    return b"".join(
        bytes([len(data[i : i + piece])]) + data[i : i + piece] for i in range(0, len(data), piece)
    )


_BODY = tensors(b"1.5", b"2")
_BINARY = b'{"inputs":[{"name":"x","shape":[1,1],"datatype":"FP32","parameters":{"binary_data_size":4}}]}'
SEEDS = {
    "infer": _script(infer(b"1.5", b"2")),
    "small-pieces": _script(infer(b"1.5"), 7),
    "pipelined": _script(infer(b"1") * 3 + request(b"GET", b"/v2")) + bytes([_RUN]),
    "chunked": _script(
        request(headers=[b"Transfer-Encoding: chunked"]) + b"%x;a=b\r\n%b\r\n0\r\nA: b\r\n\r\n" % (len(_BODY), _BODY)
    ),
    "binary": _script(
        request(body=_BINARY + b"\0\0\0\0", headers=[b"Inference-Header-Content-Length: %d" % len(_BINARY)])
    ),
    "gzip": _script(request(body=gzip.compress(_BODY, mtime=0), headers=[b"Content-Encoding: gzip"])),
    "options": _script(
        infer(
            *[b"1"] * 3,
            headers=[b"X-Request-Id: r", b"traceparent: 0", b"X-Trivet-Timing: 1", b"Accept-Encoding: gzip"],
        )
    ),
    "upgrade": _script(infer(b"1", headers=[b"Connection: Upgrade", b"Upgrade: h2c"]) + infer(b"2")),
    "expect": _script(infer(b"1", headers=[b"Expect: 100-continue"])) + bytes([_RUN]),
    "close": _script(infer(b"1", headers=[b"Connection: close"]) + infer(b"2")),
    "old": _script(b"GET /v2 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
    "slow": _script(b"GET /v2 HTTP/1.1\r\nA: ") + bytes([_TIME, _RUN]),
    "drain": _script(infer(b"1")) + bytes([_DRAIN, _PAUSE, _RUN, _RESUME]),
    "others": b"".join(
        _script(request(b"GET", url))
        for url in (b"/v2/models/echo", b"/v2/health/ready", b"/v2/models/echo/config", b"/v2/models/echo/generate")
    ),
}  # fmt: skip
TOKENS = [
    *(bytes([code]) for code in (_RUN, _TIME, _PAUSE, _RESUME, _DRAIN)),
    b"POST ", b"GET ", b"PUT ", b"CONNECT ", b"/v2/models/echo/infer", b"/v2", b" HTTP/1.1\r\n",
    b" HTTP/1.0\r\n", b"\r\n\r\n", b"\n", b"Content-Length: ", b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n", b"Connection: Upgrade\r\n", b"Upgrade: h2c\r\n", b"Expect: 100-continue\r\n",
    b"Host: a\r\n", b"Accept: text/event-stream\r\n",
    b"Content-Encoding: gzip\r\n", b"Content-Encoding: deflate\r\n", b"Accept-Encoding: gzip\r\n",
    b"X-Request-Id: ", b"traceparent: ", b"X-Trivet-Timing: 1\r\n", b"X-Trivet-Key: ",
    b"X-Trivet-Configuration: ", b"Inference-Header-Content-Length: ", b"x-envoy-expected-rq-timeout-ms: ",
    b"0\r\n\r\n", b"5\r\n", b";ext=", b"%2F", b"%00", b"://",
    b'{"inputs":[{"name":"x","shape":[1,1],"datatype":"FP32","data":[1]}]', b',"parameters":{"timeout":',
    b'"priority":', b"}",
]  # fmt: skip


@cache
def _world() -> World:
    limits = Limits(
        max_header_bytes=1024,
        max_headers=20,
        max_body_bytes=2048,
        max_decompressed_bytes=4096,
        header_timeout_ns=SECOND_NS,
        body_timeout_ns=SECOND_NS,
        idle_timeout_ns=SECOND_NS,
    )
    return World(lambda folder: [write_echo(folder)], limits)


def check(data: bytes) -> None:
    """Whatever is sent: whole answers in order, no 500, no connection that stays, and the worker goes on."""
    world = _world()
    front = world.front
    client = front.connect()
    sent = _play(front, client, data)
    _end(front, client)
    output = bytes(client.transport.output)
    if b"HTTP/1.1 500" in output:
        raise AssertionError(f"a 500: {output!r}\n{front.complaints}")
    if b"HEAD" not in sent:  # its answer's length is not that of what follows
        parse_answers(output)
    if len(sent) < _LONGEST_COMPARED and _is_timeless(sent):
        _compare(front, sent)
    world.count()


def _is_timeless(sent: bytes) -> bool:
    """The answers do not depend on the time."""
    return b"tim" not in sent.lower() and b"\\u" not in sent


def _compare(front: Front, sent: bytes) -> None:
    """All at once, again where its heads are known by now, byte by byte, which knows no heads, and as one large read,
    which is cut between its requests.
    """
    found = [_outputs(front, pieces) for pieces in ([sent], [sent], [bytes([byte]) for byte in sent])]
    with patch.object(reader, "SMALL_READ", 1):
        found.append(_outputs(front, [sent]))
    if any(other != found[0] for other in found[1:]):
        raise AssertionError(f"{sent!r}: the answers depend on how it is delivered: {found!r}")


def _outputs(front: Front, pieces: list[bytes]) -> tuple[bytes, bool]:
    client = front.connect()
    client.send(*pieces)
    front.loop.run()
    output, is_closed = bytes(client.transport.output), client.is_closed
    before, _, last = output.rpartition(b"HTTP/1.1 ")
    if is_closed and last[:1] in (b"4", b"5"):
        # Of two mistakes in one request, the parser may come upon either first.
        output = before + b"the connection ends with an error"
    if not client.is_lost:
        client.leave()
    front.loop.run()
    return output, is_closed


def _play(front: Front, client: Client, script: bytes) -> bytes:
    sent, at = b"", 0
    while at < len(script):
        step = script[at]
        at += 1
        if step < _LONGEST_PIECE:
            piece = script[at : at + step]
            at += step
            if not client.transport.is_paused:
                client.send(piece)
                sent += piece
        elif step == _RUN:
            front.loop.run()
        elif step == _TIME:
            front.clock.advance_ns(SECOND_NS // 2)
            front.router.sweep()
        elif step == _PAUSE and not client.is_lost:
            client.connection.pause_writing()
        elif step == _RESUME and not client.is_lost:
            client.connection.resume_writing()
        elif step == _DRAIN:
            front.router.draining = True
    return sent


def _end(front: Front, client: Client) -> None:
    """Time passes until every limit has struck."""
    if not client.is_lost:
        client.connection.resume_writing()
    for _ in range(4):
        front.loop.run()
        front.clock.advance_ns(3 * SECOND_NS)
        front.router.sweep()
    front.loop.run()
    front.router.draining = False
    if not client.is_lost or front.router.connections or front.runtime.scheduler.num_waiting:
        raise AssertionError("a connection or a request stayed")
