"""gzip and deflate both ways: what fits is unfolded, what bursts or is damaged is refused at little cost."""

import gzip
import json
import random
import tracemalloc
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.serve.http_support import PROPERTIES, Front, infer, request, tensors, values, write_echo
from trivet.errors import BadRequestError, TooLargeError
from trivet.serve.http.encoding import UnsupportedEncodingError, chosen_encoding, compress, decompress
from trivet.spec.deployment import Limits

MIB = 1 << 20
PACK = {b"gzip": gzip.compress, b"deflate": zlib.compress}
encodings = st.sampled_from([b"gzip", b"deflate"])


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_echo(tmp_path_factory.mktemp("echo"))


@pytest.fixture
def front(echo: Path) -> Front:
    return Front([echo], limits=Limits(max_decompressed_bytes=MIB))


@PROPERTIES
@given(data=st.binary(max_size=5000), encoding=encodings)
def test_there_and_back(data: bytes, encoding: bytes) -> None:
    assert decompress(PACK[encoding](data), encoding, len(data)) == data
    packed = compress(data, encoding)
    assert (gzip.decompress(packed) if encoding == b"gzip" else zlib.decompress(packed)) == data


@PROPERTIES
@given(data=st.binary(max_size=300), encoding=encodings, at=st.integers(0, 400), put=st.binary(max_size=4))
def test_a_damaged_body_is_the_same_or_refused(data: bytes, encoding: bytes, at: int, put: bytes) -> None:
    whole = PACK[encoding](data)
    damaged = whole[:at] + put + whole[at + len(put) :]
    try:
        assert len(decompress(damaged, encoding, 400)) <= 400
    except (BadRequestError, TooLargeError) as error:
        assert str(error)  # noqa: PT017  # nothing else may come; which of the two depends on the damage


@PROPERTIES
@given(data=st.binary(max_size=300), encoding=encodings, kept=st.floats(0, 1, exclude_max=True))
def test_a_cut_off_body_is_refused(data: bytes, encoding: bytes, kept: float) -> None:
    whole = PACK[encoding](data)
    with pytest.raises(BadRequestError, match="truncated"):
        decompress(whole[: int(kept * len(whole))], encoding, 1000)


@pytest.mark.parametrize("encoding", [b"gzip", b"deflate"])
@pytest.mark.parametrize("rest", [b"x", b"\0", b"\0" * 9])
def test_garbage_behind_the_end_is_refused(encoding: bytes, rest: bytes) -> None:
    with pytest.raises(BadRequestError, match=f"{len(rest)} bytes follow the end"):
        decompress(PACK[encoding](b"abc") + rest, encoding, 1000)


def test_deflate_has_one_member() -> None:
    whole = zlib.compress(b"abc")
    with pytest.raises(BadRequestError, match=f"{len(whole)} bytes follow the end"):
        decompress(whole + whole, b"deflate", 1000)


@PROPERTIES
@given(parts=st.lists(st.binary(max_size=2000), min_size=1, max_size=20))
def test_gzip_in_members_is_their_contents_one_behind_the_other(parts: list[bytes]) -> None:
    body, size = b"".join(gzip.compress(part) for part in parts), sum(map(len, parts))
    assert decompress(body, b"gzip", size) == b"".join(parts)
    if size:
        with pytest.raises(TooLargeError, match="unfolds to more than"):
            decompress(body, b"gzip", size - 1)
    with pytest.raises(BadRequestError, match="truncated"):
        decompress(body + gzip.compress(b"cut off")[:-1], b"gzip", size + 10)


def test_a_member_larger_than_what_is_fed_at_once() -> None:
    noise = random.Random(5).randbytes(200_000)
    body = gzip.compress(noise) + gzip.compress(b"") + gzip.compress(noise)
    assert decompress(body, b"gzip", 400_000) == noise + noise


def test_members_are_counted() -> None:
    whole = gzip.compress(b"a")
    assert decompress(whole * 256, b"gzip", 256) == b"a" * 256
    with pytest.raises(BadRequestError, match="more than 256 members"):
        decompress(whole * 257, b"gzip", 1000)


@pytest.mark.parametrize("encoding", [b"gzip", b"deflate"])
@pytest.mark.parametrize("size", [1000, 1001, 20 * MIB])
def test_a_bomb_is_refused_before_it_is_in_memory(encoding: bytes, size: int) -> None:
    body = PACK[encoding](b"\0" * size)
    tracemalloc.start()
    try:
        if size <= 1000:
            assert len(decompress(body, encoding, 1000)) == size
        else:
            with pytest.raises(TooLargeError, match="unfolds to more than 1000 bytes"):
                decompress(body, encoding, 1000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100_000 + len(body)


def test_a_bomb_in_a_bomb_is_unfolded_once() -> None:
    inner = gzip.compress(b"\0" * MIB)
    assert decompress(gzip.compress(inner), b"gzip", 10_000) == inner


@pytest.mark.parametrize(
    "encoding", [b"br", b"zstd", b"gzip, gzip", b"gzip,deflate", b"", b"\xff", b"x" * 5000]
)
def test_other_encodings_are_named(encoding: bytes) -> None:
    with pytest.raises(UnsupportedEncodingError, match="supported: gzip, deflate") as error:
        decompress(b"", encoding, 10)
    assert error.value.status == 415
    assert len(str(error.value)) < 200


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (b"", None),
        (b"gzip", b"gzip"),
        (b"deflate", b"deflate"),
        (b"deflate, gzip;q=0.5", b"gzip"),
        (b"GZIP", b"gzip"),
        (b"gzip;q=0, deflate", b"deflate"),
        (b"gzip; q=0.000", None),
        (b"br, *", None),
        (b"identity", None),
        (b",,;,q=", None),
        (b"\xff", None),
    ],
)
def test_what_a_client_accepts(accept: bytes, expected: bytes | None) -> None:
    assert chosen_encoding(accept) == expected


@pytest.mark.parametrize("encoding", [b"gzip", b"deflate"])
def test_a_compressed_request(front: Front, encoding: bytes) -> None:
    body = PACK[encoding](tensors(b"1.5"))
    client = front.connect()
    answer = client.ask(request(body=body, headers=[b"Content-Encoding: " + encoding]))
    assert (answer.status, values(answer)) == (200, b"1.5")
    assert client.ask(infer(b"1")).status == 200


def test_the_json_size_of_a_compressed_request_is_that_of_what_it_unfolds_to(front: Front) -> None:
    head = b'{"inputs":[{"name":"x","shape":[1,1],"datatype":"FP32","parameters":{"binary_data_size":4}}]}'
    headers = [b"Content-Encoding: gzip", b"Inference-Header-Content-Length: %d" % len(head)]
    body = gzip.compress(head + b"\0\0\x80\x3f")
    answer = front.connect().ask(request(body=body, headers=headers))
    assert (answer.status, values(answer)) == (200, b"1.0")


@pytest.mark.parametrize(
    ("encoding", "body", "status", "expected"),
    [
        (b"gzip", tensors(b"1"), 400, "the body is not valid gzip"),
        (b"gzip", zlib.compress(tensors(b"1")), 400, "the body is not valid gzip"),
        (b"deflate", gzip.compress(tensors(b"1")), 400, "the body is not valid deflate"),
        (b"gzip", gzip.compress(tensors(b"1"))[:-1], 400, "truncated"),
        (b"gzip", gzip.compress(tensors(b"1")) + b"x", 400, "1 bytes follow the end of the gzip body"),
        (b"gzip", gzip.compress(b" " * (MIB + 1)), 413, f"unfolds to more than {MIB} bytes"),
        (b"gzip", gzip.compress(gzip.compress(tensors(b"1"))), 400, "not valid JSON"),
        (b"br", tensors(b"1"), 415, "'br'; supported: gzip, deflate"),
    ],
)
def test_a_bad_compressed_request(
    front: Front, encoding: bytes, body: bytes, status: int, expected: str
) -> None:
    client = front.connect()
    answer = client.ask(request(body=body, headers=[b"Content-Encoding: " + encoding]))
    assert answer.status == status
    assert expected in json.loads(answer.body)["error"]
    assert not client.is_closed, "the stream is in step: only this request was wrong"
    front.check_alive()


@pytest.mark.parametrize("encoding", [b"gzip", b"deflate"])
def test_a_compressed_answer(front: Front, encoding: bytes) -> None:
    numbers = [b"%d.0" % i for i in range(1000)]
    client = front.connect()
    plain = client.ask(infer(*numbers))
    packed = client.ask(infer(*numbers, headers=[b"Accept-Encoding: " + encoding]))
    assert packed.headers["content-encoding"] == encoding.decode()
    assert len(packed.body) < len(plain.body) / 2
    assert decompress(packed.body, encoding, MIB) == plain.body


def test_a_small_answer_is_not_compressed(front: Front) -> None:
    answer = front.connect().ask(infer(b"1", headers=[b"Accept-Encoding: gzip"]))
    assert "content-encoding" not in answer.headers
    assert values(answer) == b"1.0"
