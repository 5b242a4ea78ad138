"""Requests under /v1/ that are no right ones: each gets one answer in OpenAI's form. No sockets."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.serve.http_support import Front, request, write_echo
from tests.serve.test_costs_and_budgets import DAY_NS, NOON_NS, TENANTS
from trivet.serve.http.budgets import Budgets
from trivet.serve.http.openai.front import OpenAIFront
from trivet.serve.http.tenants import Tenants
from trivet.serve.messages import KnownTenant
from trivet.serve.spending import Spending, open_page
from trivet.spec.openai import OpenAI, form_of
from trivet.spec.signature import Signature, TensorSpec

CHAT = b"/v1/chat/completions"


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_echo(tmp_path_factory.mktemp("echo"))


@pytest.fixture
def front(echo: Path) -> Front:
    front = Front([echo])
    OpenAIFront(front.router).register()
    return front


def error_of(body: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(body)["error"]
    assert found.keys() == {"message", "type", "param", "code"}
    return found


@pytest.mark.parametrize(
    ("method", "url", "body", "status", "message"),
    [
        (b"POST", CHAT, b"", 400, "not a JSON object"),
        (b"POST", CHAT, b"[" * 10_000, 400, "not a JSON object"),
        (b"POST", CHAT, b'{"model":"\xff"}', 400, "the body is not UTF-8: invalid start byte at byte 10"),
        (b"POST", CHAT, b'{"model":"echo","x":{"\xe1":0}}', 400, "the body is not UTF-8"),
        (b"POST", CHAT, b'{"model":"\\ud800"}', 400, "not a JSON object"),
        (b"POST", CHAT, b'{"model":7}', 400, "model is 7; expected a name"),
        (b"POST", CHAT, b'{"model":"echo"}', 404, "this server has none that is asked this way"),
        (b"POST", CHAT + b"/", b"{}", 400, "model is missing"),
        (b"POST", CHAT + b"?a=b", b"{}", 400, "model is missing"),
        (b"GET", b"/v1/", b"", 404, "no such endpoint: '/v1/'; there are /v1/chat/completions"),
        (b"GET", b"/v1/%00%ff", b"", 404, "no such endpoint"),
        (b"GET", b"/v1/models/a%2Fb", b"", 404, "unknown model 'a/b'"),
        (b"DELETE", b"/v1/models/echo", b"", 405, "DELETE is not allowed here; allowed: GET"),
    ],
)
def test_one_answer_in_openais_form(
    front: Front, method: bytes, url: bytes, body: bytes, status: int, message: str
) -> None:
    answer = front.connect().ask(request(method, url, body))
    assert answer.status == status
    assert message in error_of(answer.body)["message"]
    assert answer.headers["x-request-id"].startswith("req_")
    front.check_alive()


def test_a_body_that_is_too_large(front: Front) -> None:
    body = b" " * (front.router.limits.max_json_bytes + 1)
    answer = front.connect().ask(request(b"POST", CHAT, body))
    assert (answer.status, "limits.max_json" in error_of(answer.body)["message"]) == (413, True)


def test_an_id_that_cannot_come_back_is_refused_with_a_new_one(front: Front) -> None:
    answer = front.connect().ask(request(b"POST", CHAT, b"{}", [b"X-Request-Id: " + b"x" * 300]))
    assert (answer.status, answer.headers["x-request-id"][:4]) == (400, "req_")


def test_the_models_of_a_server_without_any(front: Front) -> None:
    answer = front.connect().ask(request(b"GET", b"/v1/models"))
    assert json.loads(answer.body) == {"object": "list", "data": []}


def test_whose_key_is_unknown_is_told_nothing(front: Front) -> None:
    front.router.tenants = Tenants([KnownTenant(name="anne", key_sha256=sha256(b"key").hexdigest())])
    client = front.connect()
    for headers in ([], [b"Authorization: Bearer other"]):
        for method, url in ((b"POST", CHAT), (b"GET", b"/v1/models")):
            answer = client.ask(request(method, url, b"{}" if method == b"POST" else b"", headers))
            error = error_of(answer.body)
            assert (answer.status, error["type"]) == (401, "authentication_error")
            assert error["code"] == "invalid_api_key"
            assert answer.headers["www-authenticate"] == "Bearer"
    assert client.ask(request(b"GET", b"/v1/models", b"", [b"Authorization: Bearer key"])).status == 200


def test_who_has_spent_the_budget_is_told_so_as_openai_does(front: Front, tmp_path: Path) -> None:
    texts = Signature((TensorSpec("messages", "BYTES", (1,)),), (TensorSpec("text", "BYTES", (1,)),))
    front.lives[0].openai = form_of(OpenAI(kind="chat"), texts)
    page = Spending(open_page(tmp_path, 0, 2, ["anne", "bert"]), 2, 2)
    front.router.tenants = Tenants(TENANTS)
    front.router.budgets = Budgets(TENANTS, page, 0, [].append, lambda: NOON_NS)
    page.add(0, 0, NOON_NS // DAY_NS, 2_000)
    body = b'{"model":"echo","messages":[{"role":"user","content":"a"}]}'
    answer = front.connect().ask(request(b"POST", CHAT, body, [b"Authorization: Bearer a"]))
    assert (answer.status, error_of(answer.body)["code"]) == (429, "insufficient_quota")
    assert answer.headers["retry-after"] == str(12 * 3600)
