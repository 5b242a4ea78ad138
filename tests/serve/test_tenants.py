"""Whose request it is: a known key, or 401; nobody else is answered, and no key is repeated anywhere."""

from hashlib import sha256
from pathlib import Path

import pytest

from tests.serve.http_support import Front, infer, request, values, write_echo
from trivet.errors import SpecError
from trivet.serve.http.tenants import Tenants
from trivet.serve.known_tenants import known_tenants
from trivet.serve.messages import KnownTenant
from trivet.spec.tenants import Budget, Tenant

ANNE, BERT = b"anne-key", b"bert-key"


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_echo(tmp_path_factory.mktemp("echo"))


@pytest.fixture
def front(echo: Path) -> Front:
    front = Front([echo])
    front.router.tenants = Tenants(
        [
            KnownTenant(name=name, key_sha256=sha256(key).hexdigest())
            for name, key in (("anne", ANNE), ("bert", BERT))
        ]
    )
    return front


@pytest.mark.parametrize(
    "header",
    [b"Authorization: Bearer anne-key", b"authorization: bearer  anne-key", b"X-API-Key: anne-key"],
)
def test_a_known_key_is_answered(front: Front, header: bytes) -> None:
    answer = front.connect().ask(infer(b"1", headers=[header]))
    assert (answer.status, values(answer)) == (200, b"1.0")


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [b"Authorization: Bearer nobody-key"],
        [b"Authorization: Basic anne-key"],
        [b"Authorization: Bearer "],
        [b"X-API-Key: ANNE-KEY"],
        [b"Authorization: Bearer nobody-key", b"X-API-Key: anne-key"],
    ],
)
def test_any_other_is_told_that_a_key_is_asked_for_and_nothing_of_the_key(
    front: Front, headers: list[bytes]
) -> None:
    client = front.connect()
    answer = client.ask(infer(b"1", headers=headers))
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert not any(word in answer.body for word in (b"nobody", b"anne", b"ANNE"))
    assert client.ask(infer(b"1", headers=[b"X-API-Key: anne-key"])).status == 200


def test_a_head_that_is_known_stays_its_tenants(front: Front) -> None:
    client = front.connect()
    seen = []
    submit = front.runtime.submit

    def note(request: object) -> None:
        seen.append(request.options.tenant)  # type: ignore[attr-defined]
        submit(request)  # type: ignore[arg-type]

    front.runtime.submit = note  # type: ignore[method-assign]
    for key in (ANNE, BERT, ANNE, BERT, BERT):
        assert client.ask(infer(b"1", headers=[b"X-API-Key: " + key])).status == 200
    assert seen == ["anne", "bert", "anne", "bert", "bert"]
    assert {head.options.tenant for head in front.router.heads.values() if head.options} == {"anne", "bert"}
    assert len(front.router.heads) == 2


def test_a_head_without_a_known_key_is_not_kept(front: Front) -> None:
    client = front.connect()
    for _ in range(3):
        assert client.ask(infer(b"1", headers=[b"X-API-Key: nobody"])).status == 401
    assert not front.router.heads


def test_health_is_open_and_the_rest_is_not(front: Front) -> None:
    client = front.connect()
    for url, status in ((b"/v2/health/live", 200), (b"/v2/models/echo", 401), (b"/v2/nothing", 401)):
        assert client.ask(request(b"GET", url)).status == status
    key = [b"Authorization: Bearer bert-key"]
    assert client.ask(request(b"GET", b"/v2/models/echo", headers=key)).status == 200


def test_without_tenants_a_key_means_nothing(echo: Path) -> None:
    front = Front([echo])
    answer = front.connect().ask(infer(b"1", headers=[b"Authorization: Bearer whatever"]))
    assert answer.status == 200


def test_keys_come_from_the_environment_and_only_their_digests_go_on() -> None:
    tenants = {
        "anne": Tenant(key_env="ANNE", budget=Budget(soft=0.5, hard=2)),
        "bert": Tenant(key_sha256=sha256(BERT).hexdigest()),
    }
    anne, bert = known_tenants(tenants, {"ANNE": "anne-key"})
    assert anne.key_sha256 == sha256(ANNE).hexdigest()
    assert (anne.soft_nano, anne.hard_nano) == (500_000_000, 2_000_000_000)
    assert (bert.soft_nano, bert.hard_nano) == (None, None)


def test_a_key_that_is_not_there_or_stands_twice_is_refused() -> None:
    with pytest.raises(SpecError, match=r"tenants\.anne\.key_env: the environment variable ANNE is not set"):
        known_tenants({"anne": Tenant(key_env="ANNE")}, {"ANNE": " "})
    twice = {"anne": Tenant(key_env="A"), "bert": Tenant(key_env="B")}
    with pytest.raises(SpecError, match="tenants 'anne' and 'bert' have one key") as caught:
        known_tenants(twice, {"A": "secret", "B": "secret"})
    assert "secret" not in str(caught.value)
