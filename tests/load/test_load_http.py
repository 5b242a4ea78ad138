import contextlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet.errors import SpecError
from trivet.load.http import MAX_HEAD_BYTES, AnswerReader, BadAnswerError, request_bytes


def chunked(parts: list[bytes], trailer: bytes = b"") -> bytes:
    chunks = b"".join(b"%x;note=1\r\n%b\r\n" % (len(part), part) for part in parts if part)
    return chunks + b"0\r\n" + trailer + b"\r\n"


def pieces(message: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(message), *(cut % len(message) for cut in cuts)})
    return [message[start:end] for start, end in itertools.pairwise(edges)]


bodies = st.binary(max_size=40)
cut_lists = st.lists(st.integers(0, 10_000), max_size=12)


@given(body=bodies, cuts=cut_lists)
def test_an_answer_of_known_length_is_read_whatever_the_pieces(body: bytes, cuts: list[int]) -> None:
    message = b"HTTP/1.1 429 Slow down\r\nContent-LENGTH:  %d\r\nX-A: B\r\n\r\n" % len(body) + body
    reader = AnswerReader()
    assert [reader.feed(piece) for piece in pieces(message, cuts)][-1] is True
    assert (reader.head.status, reader.body(), reader.head.keep_alive) == (429, body, True)
    assert reader.head.header(b"x-a") == b"B"


@given(parts=st.lists(bodies, max_size=4), trailer=st.sampled_from([b"", b"Sum: 1\r\n"]), cuts=cut_lists)
def test_a_chunked_answer_is_read_whatever_the_pieces(
    parts: list[bytes], trailer: bytes, cuts: list[int]
) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    fed = pieces(head + chunked(parts, trailer), cuts)
    reader = AnswerReader()
    assert [reader.feed(piece) for piece in fed] == [False] * (len(fed) - 1) + [True]
    assert reader.body() == b"".join(parts)


def test_a_reader_is_used_again_after_a_reset() -> None:
    reader = AnswerReader()
    for status in (200, 503):
        assert reader.feed(b"HTTP/1.1 %d X\r\nContent-Length: 1\r\n\r\nA" % status)
        assert reader.head.status == status
        reader.reset()


@given(parts=st.lists(bodies, max_size=4), cuts=cut_lists, is_chunked=st.booleans())
def test_the_bytes_so_far_are_those_of_the_body(
    parts: list[bytes], cuts: list[int], is_chunked: bool
) -> None:
    body = b"".join(parts)
    framing = b"Transfer-Encoding: chunked" if is_chunked else b"Content-Length: %d" % len(body)
    head = b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n"
    reader, so_far = AnswerReader(), b""
    message = head + (chunked(parts) if is_chunked else body)
    before = 0
    for piece in pieces(message, cuts):
        reader.feed(piece)
        so_far += piece
        marks = so_far[len(head) :]
        expected = received(marks) if is_chunked else len(marks)
        assert before <= reader.num_body_bytes == expected
        before = expected
    assert before == len(body)


def received(data: bytes) -> int:
    """Bytes of chunks in what has come of a chunked body, by walking over it."""
    total = 0
    while b"\r\n" in data:
        line, _, data = data.partition(b"\r\n")
        size = int(line.split(b";")[0], 16)
        total += min(size, len(data))
        data = data[size + 2 :]
    return total


@given(
    bodies=st.lists(bodies, min_size=2, max_size=5),
    statuses=st.lists(st.sampled_from([200, 503]), min_size=5),
)
def test_answers_with_the_same_head_as_the_last_are_read_as_any_other(
    bodies: list[bytes], statuses: list[int]
) -> None:
    reader = AnswerReader()
    for body, status in zip(bodies, statuses, strict=False):
        message = b"HTTP/1.1 %d X\r\nContent-Length: %d\r\nServer-Timing: a;dur=1\r\n\r\n" % (
            status,
            len(body),
        )
        assert reader.feed(message + body)
        assert (reader.head.status, reader.body(), reader.num_body_bytes) == (status, body, len(body))
        assert reader.head.server_timing == b"a;dur=1"
        reader.reset()


def test_interim_answers_are_skipped() -> None:
    reader = AnswerReader()
    assert not reader.feed(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 P")
    assert reader.feed(b"rocessing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert reader.head.status == 200


@pytest.mark.parametrize("status", [204, 304])
def test_some_statuses_have_no_body(status: int) -> None:
    assert AnswerReader().feed(b"HTTP/1.1 %d Nothing\r\n\r\n" % status)


def test_a_body_without_a_length_ends_with_the_connection() -> None:
    reader = AnswerReader()
    assert not reader.feed(b"HTTP/1.1 200 OK\r\n\r\nall ")
    assert not reader.feed(b"of it")
    assert reader.end()
    assert reader.body() == b"all of it"
    assert not reader.head.keep_alive


def test_an_answer_cut_short_has_not_ended() -> None:
    for start in (b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfour"):
        reader = AnswerReader()
        reader.feed(start)
        assert not reader.end()
    assert not AnswerReader().end()


@pytest.mark.parametrize(
    ("version", "header", "keep_alive"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"Connection: close\r\n", False),
        (b"1.1", b"Connection: Keep-Alive\r\n", True),
        (b"1.0", b"", False),
        (b"1.0", b"Connection: keep-alive\r\n", True),
    ],
)
def test_keep_alive_follows_version_and_header(version: bytes, header: bytes, keep_alive: bool) -> None:
    reader = AnswerReader()
    assert reader.feed(b"HTTP/%b 200 OK\r\n%bContent-Length: 0\r\n\r\n" % (version, header))
    assert reader.head.keep_alive is keep_alive


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        (b"SSH-2.0-OpenSSH_9\r\n\r\n", "status line"),
        (b"HTTP/1.1 2xx OK\r\n\r\n", "status line"),
        (b"HTTP/2 200\r\n\r\n", "status line"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "not a number"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nAB", "1 bytes after"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "not a hexadecimal"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-4\r\n", "does not end"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nAAA", "does not end"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * MAX_HEAD_BYTES, "no end of the head"),
    ],
)
def test_what_is_not_one_http_answer_is_an_error(message: bytes, complaint: str) -> None:
    with pytest.raises(BadAnswerError, match=complaint):
        AnswerReader().feed(message)


@given(noise=st.binary(max_size=60), cuts=cut_lists)
def test_noise_never_raises_anything_else(noise: bytes, cuts: list[int]) -> None:
    reader = AnswerReader()
    message = b"HTTP/1.1 200 OK\r\n" + noise + b"\r\n\r\n" + noise
    with contextlib.suppress(BadAnswerError):
        for piece in pieces(message, cuts):
            reader.feed(piece)
        assert len(reader.body()) <= len(message)


def test_there_is_nothing_to_read_before_the_head() -> None:
    with pytest.raises(BadAnswerError, match="no head yet"):
        AnswerReader().body()


def test_requests_are_built_with_host_and_length() -> None:
    head = b"POST /infer HTTP/1.1\r\nHost: 127.0.0.1:80\r\nX-A: b\r\nContent-Length: 4\r\n\r\n"
    assert request_bytes("POST", "/infer", "127.0.0.1:80", {"X-A": "b"}, b"body") == head + b"body"
    assert request_bytes("GET", "/", "h") == b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
    assert request_bytes("POST", "/", "h").endswith(b"Content-Length: 0\r\n\r\n")


@pytest.mark.parametrize(("path", "headers"), [("/a\r\nX: 1", {}), ("/", {"X": "1\r\n\r\nGET /"})])
def test_a_line_break_in_a_request_line_is_refused(path: str, headers: dict[str, str]) -> None:
    with pytest.raises(SpecError, match="line break"):
        request_bytes("GET", path, "h", headers)
