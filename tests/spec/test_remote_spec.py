"""`remote:` of a model and `failures:` of a stage: what a service file may say, and the hash."""

from pathlib import Path

import pytest

from trivet.errors import SpecError
from trivet.spec.configuration import Configuration
from trivet.spec.failures import BreakerRule, Failures, Fallback, HedgeRule, RetryRule
from trivet.spec.remote import Remote, Upstream
from trivet.spec.service_file import load_configuration
from trivet.spec.yaml_text import service_yaml

SERVICE = """
models:
  near: {file: near.ort}
  spare: {file: near.ort}
  far:
    remote:
      protocol: v2
      model: intent
      upstreams:
        - http://10.0.0.2:8000
        - {url: "http://10.0.0.3:8000", weight: 2}
      key_env: FAR_KEY
slo: {deadline: 300ms}
pipeline:
  - model: near
    exit: {output: y, at_least: 0.9}
  - model: far
    failures:
      timeout: 80ms
      retry: {budget: 5%, max: 1, timeout: 40ms}
      hedge: {after: 30ms}
      breaker: {failures: 3, open: 2s}
      fallback:
        - upstream: http://10.0.0.9:8000
        - model: spare
        - stale: true
        - answer: {y: [0.5, 1]}
"""


def load(folder: Path, text: str) -> Configuration:
    (folder / "near.ort").write_bytes(b"near")
    (folder / "service.yaml").write_text(text)
    return load_configuration(folder / "service.yaml")


def test_remote_and_failures_are_read_and_written_again(tmp_path: Path) -> None:
    service = load(tmp_path, SERVICE).service
    assert service.models["far"].remote == Remote(
        protocol="v2",
        model="intent",
        upstreams=(Upstream(url="http://10.0.0.2:8000"), Upstream(url="http://10.0.0.3:8000", weight=2)),
        key_env="FAR_KEY",
    )
    assert service.pipeline[1].failures == Failures(
        timeout_ns=80_000_000,
        retry=RetryRule(budget=0.05, max=1, timeout_ns=40_000_000),
        hedge=HedgeRule(after=30_000_000, budget=0.02),
        breaker=BreakerRule(failures=3, open_ns=2_000_000_000),
        fallback=(
            Fallback(upstream="http://10.0.0.9:8000"),
            Fallback(model="spare"),
            Fallback(stale=True),
            Fallback(answer={"y": (0.5, 1)}),
        ),
    )
    assert (service.models["far"].engine, service.stand_ins) == ("remote", ("spare",))
    assert load(tmp_path, service_yaml(service)).service == service


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("protocol: v2", "protocol: openai", r"protocol openai has chat, completions or embeddings, not infer"),
        ("10.0.0.3", "10.0.0.2", r"http://10.0.0.2:8000 is there twice"),
        ("http://10.0.0.2:8000", "ftp://10.0.0.2", r"expected http://HOST:PORT .*ftp://10.0.0.2"),
        ("http://10.0.0.2:8000", "http://me:secret@10.0.0.2", r"holds no user or key"),
        ("http://10.0.0.2:8000", "http://10.0.0.2:8000/v2?key=1", r"ends with its path: leave '\?key=1' out"),
        ("http://10.0.0.2:8000", "http://10.0.0.2:99999", r"expected http://HOST:PORT"),
        ("key_env: FAR_KEY", "key: secret", r"unknown key 'key'"),
        ("timeout: 80ms", "timeout: 300ms", r"300ms leaves nothing of the deadline 300ms"),
        ("timeout: 40ms", "timeout: 90ms", r"no longer than its stage"),
        ("open: 2s", "open: 1min", r"at most max_open, 30s"),
        ("budget: 5%", "budget: 120%", r"from 0% to 100%, got '120%'"),
        ("model: spare", "model: sparse", r"no model named 'sparse' .*did you mean 'spare'"),
        ("model: spare", "model: far", r"'far' is this stage or a later one"),
        ("stale: true", "stale: true\n          model: near", r"exactly one of upstream, model, stale"),
        ("model: intent", "model: intent\n      inputs: [{name: x, datatype: FP32, shape: [-1]}]", r"declare both"),
    ],
)  # fmt: skip
def test_mistakes_name_their_place(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in SERVICE
    with pytest.raises(SpecError, match=message) as caught:
        load(tmp_path, SERVICE.replace(old, new, 1))
    assert "secret" not in str(caught.value)


def test_repairs_of_a_local_model_are_refused(tmp_path: Path) -> None:
    text = "models: {near: {file: near.ort}}\npipeline: [{model: near, failures: {retry: {}}}]\n"
    with pytest.raises(SpecError, match="retry is for a remote model; 'near' runs here"):
        load(tmp_path, text)


def test_a_hedge_needs_another_upstream(tmp_path: Path) -> None:
    text = SERVICE.replace('        - {url: "http://10.0.0.3:8000", weight: 2}\n', "")
    with pytest.raises(SpecError, match="a hedge goes to another upstream"):
        load(tmp_path, text)


def test_the_hash_covers_levers_and_no_addresses(tmp_path: Path) -> None:
    base = load(tmp_path, SERVICE).hash
    for same in (
        ("10.0.0.2", "10.1.1.1"),
        ("weight: 2", "weight: 3"),
        ("FAR_KEY", "OTHER"),
        ("10.0.0.9", "10.0.0.8"),
    ):
        assert load(tmp_path, SERVICE.replace(*same)).hash == base
    changed = [
        load(tmp_path, SERVICE.replace(*other)).hash
        for other in (
            ("model: intent", "model: other"),
            ("timeout: 80ms", "timeout: 81ms"),
            ("budget: 5%", "budget: 6%"),
            ("after: 30ms", "after: p95"),
            ("failures: 3", "failures: 4"),
            ("[0.5, 1]", "[0.5, 2]"),
            ("        - upstream: http://10.0.0.9:8000\n", ""),
        )
    ]
    assert len({base, *changed}) == len(changed) + 1


@pytest.mark.parametrize("text", ["10%", "0.1", "10.0 %"])
def test_shares_are_percent_or_numbers(tmp_path: Path, text: str) -> None:
    service = load(tmp_path, SERVICE.replace("budget: 5%", f"budget: {text}")).service
    failures = service.pipeline[1].failures
    assert failures is not None
    assert failures.retry == RetryRule(budget=0.1, max=1, timeout_ns=40_000_000)
