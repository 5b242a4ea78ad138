"""What one server runs: defaults, and limits that fit together."""

from pathlib import Path

import msgspec
import pytest

from trivet.errors import SpecError
from trivet.spec.deployment import (
    Deployment,
    Limits,
    Statuses,
    load_deployment,
    num_workers,
    validate_deployment,
)


def test_a_server_answers_on_loopback_with_bounded_requests_by_default() -> None:
    deployment = Deployment(services=("m.onnx",))
    validate_deployment(deployment)
    assert (
        deployment.host,
        deployment.port,
        deployment.control_port,
        deployment.workers,
    ) == ("127.0.0.1", 8000, 8002, "auto")
    assert not deployment.enable_load_unload
    assert (deployment.limits.max_header_bytes, deployment.limits.max_body_bytes) == (16_384, 67_108_864)
    assert msgspec.structs.astuple(deployment.statuses) == (429, 503, 504)


def test_a_deployment_file_is_read_with_units(tmp_path: Path) -> None:
    path = tmp_path / "deployment.yaml"
    path.write_text(
        "services: [a.yaml, b.onnx]\nport: 9000\nworkers: 2\nuds: /tmp/t.sock\nrows: rows\n"
        "limits: {max_body: 2MiB, idle_timeout: 1min}\nstatuses: {refused: 503}\ndefault_deadline: 80ms\n"
    )
    assert load_deployment(path) == Deployment(
        services=("a.yaml", "b.onnx"),
        port=9000,
        workers=2,
        uds="/tmp/t.sock",
        rows_dir="rows",
        limits=Limits(max_body_bytes=2_097_152, idle_timeout_ns=60_000_000_000),
        statuses=Statuses(refused=503),
        default_deadline_ns=80_000_000,
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("services: []\n", "d.yaml:1: a server needs at least one service"),
        ("services: [a]\nhost: ''\n", "d.yaml:2: an empty host"),
        ("services: [a]\nport: 70000\n", "d.yaml:2: port: expected at most 65535, got 70000"),
        ("services: [a]\nport: 8002\n", "d.yaml:1: port 8002 is taken by the requests; choose another"),
        ("services: [a]\ncontrol_port: 8000\n", "d.yaml:2: port 8000 is taken by the requests"),
        ("services: [a]\nworkers: 0\n", "d.yaml:2: workers: expected at least 1, got 0"),
        ("services: [a]\ndefault_deadline: 0ms\n", "d.yaml:2: no request is answered in 0 ms"),
        ("services: [a]\nlimits:\n  max_header: 1B\n", "d.yaml:3: 1 bytes hold no request; at least 1KiB"),
        ("services: [a]\nlimits:\n  body_timeout: 0s\n", "d.yaml:3: body_timeout of 0 refuses every request"),
        ("services: [a]\nlimits:\n  max_body: 0B\n", "d.yaml:3: max_body of 0 refuses every request"),
        (
            "services: [a]\nlimits:\n  max_body: 5\n",
            "d.yaml:3: limits.max_body: expected a size such as 2MiB",
        ),
        (
            "services: [a]\nstatuses: {refused: 200}\n",
            "d.yaml:2: statuses.refused: expected 429 or 503 or 504",
        ),
        ("services: [a]\nlimit: {}\n", "d.yaml:2: unknown key 'limit'; did you mean 'limits'?"),
        ("services: [a]\ntenants:\n  t: {}\n", "d.yaml:3: a tenant has either `key_sha256:` or `key_env:`"),
        (
            "services: [a]\ntenants:\n  t: {key_sha256: sesame}\n",
            "d.yaml:3: 6 characters that are not a SHA-256",
        ),
        (
            "services: [a]\ntenants:\n  t: {key_env: K, budget: {}}\n",
            "d.yaml:3: a budget is `soft:`, `hard:`",
        ),
        (
            "services: [a]\ntenants:\n  t: {key_env: K, budget: {soft: 3, hard: 2}}\n",
            "d.yaml:3: the soft budget 3 lies above the hard one, 2",
        ),
    ],
)
def test_a_deployment_that_cannot_work_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "d.yaml").write_text(text)
    with pytest.raises(SpecError) as caught:
        load_deployment(tmp_path / "d.yaml")
    assert message in str(caught.value)


def test_two_ports_that_are_chosen_by_the_system_do_not_clash() -> None:
    validate_deployment(Deployment(services=("a",), port=0, control_port=0))
    assert Deployment(services=("a",), port=0).port == 0


def test_one_worker_unless_a_number_is_named() -> None:
    assert [num_workers(workers) for workers in ("auto", 1, 3)] == [1, 1, 3]
