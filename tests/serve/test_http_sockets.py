"""Bad clients of a real server, over real sockets: each is told what is wrong, and the others are served."""

import http.client
import json
import socket
from collections.abc import Iterator

import pytest

from tests.serve.http_support import Answer, parse_answers, request
from tests.support.server import ServerProcess

URL = b"/v2/models/fp32/infer"
BODY = b'{"inputs":[{"name":"x","shape":[1,1],"datatype":"FP32","data":[2.5]}]}'
MIB = 1 << 20


@pytest.fixture(autouse=True)
def _everyone_else_is_served(server: ServerProcess) -> Iterator[None]:
    workers = server.children()
    yield
    with connect(server) as client:
        client.sendall(request(url=URL, body=BODY, headers=[b"Connection: close"]))
        (answer,) = read(client)
    assert answer.status == 200
    assert json.loads(answer.body)["outputs"][0]["data"] == [2.5]
    assert server.children() == workers  # none died and was replaced


def connect(server: ServerProcess) -> socket.socket:
    return socket.create_connection((server.host, server.port), timeout=30)


def read(client: socket.socket) -> list[Answer]:
    """All answers until the server closes its direction."""
    data = bytearray()
    while piece := client.recv(1 << 16):
        data += piece
    return parse_answers(bytes(data))


def test_a_body_over_the_limit_is_refused_and_the_answer_arrives(server: ServerProcess) -> None:
    """The client sends 8 MiB before it looks: a reset must not overtake the answer."""
    with connect(server) as client:
        client.sendall(request(url=URL, headers=[b"Content-Length: 99999999999"]))
        client.sendall(b"a" * 8 * MIB)
        (answer,) = read(client)
    assert answer.status == 413
    assert b"99999999999 bytes or more; at most" in answer.body


def test_an_endless_head_is_refused_and_the_answer_arrives(server: ServerProcess) -> None:
    with connect(server) as client:
        client.sendall(b"GET /v2 HTTP/1.1\r\nA: " + b"a" * 4 * MIB)
        (answer,) = read(client)
    assert answer.status == 431


def test_garbage_behind_a_right_request(server: ServerProcess) -> None:
    with connect(server) as client:
        client.sendall(request(url=URL, body=BODY) + b"\0" * MIB)
        answers = read(client)
    assert [answer.status for answer in answers] == [200, 400]


def test_thousands_of_pipelined_requests(server: ServerProcess) -> None:
    # Reading them all takes longer than the default deadline.
    patient = BODY[:-1] + b',"parameters":{"timeout":60000000}}'
    whole = request(url=URL, body=patient)
    last = request(url=URL, body=patient, headers=[b"Connection: close"])
    with connect(server) as client:
        client.sendall(whole * 1999 + last)
        answers = read(client)
    assert [answer.status for answer in answers] == [200] * 2000


def assert_it_answers(server: ServerProcess) -> None:
    with connect(server) as client:
        client.sendall(request(url=URL, body=BODY, headers=[b"Connection: close"]))
        (answer,) = read(client)
    assert answer.status == 200


def test_a_client_that_leaves_in_the_middle_of_anything(server: ServerProcess) -> None:
    whole = request(url=URL, body=BODY)
    for stop in range(1, len(whole) + 1, 7):
        with connect(server) as client:
            client.sendall(whole[:stop])
    assert_it_answers(server)


def test_a_client_that_resets(server: ServerProcess) -> None:
    for _ in range(20):
        client = connect(server)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.sendall(request(url=URL, body=BODY) * 10)
        client.close()
    assert_it_answers(server)


def test_head_of_what_the_supervisor_answers(server: ServerProcess) -> None:
    connection = http.client.HTTPConnection(server.host, server.port, timeout=30)
    for _ in range(2):
        connection.request("HEAD", "/v2/models/stats")
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b"")
    connection.request("GET", "/v2/models/stats")
    assert json.loads(connection.getresponse().read())["model_stats"]
    connection.close()


def test_one_byte_a_packet(server: ServerProcess) -> None:
    with connect(server) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in request(url=URL, body=BODY, headers=[b"Connection: close"]):
            client.send(bytes([byte]))
        (answer,) = read(client)
    assert answer.status == 200
