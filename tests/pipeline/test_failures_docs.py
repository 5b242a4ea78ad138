"""The example of the page on failures runs as the page says, and the page names every key."""

import re
from pathlib import Path

import msgspec
import pytest

from trivet.spec.convert import convert
from trivet.spec.failures import BreakerRule, Failures, Fallback, HedgeRule, RetryRule
from trivet.spec.remote import Remote, Upstream
from trivet.spec.service import Service
from trivet.spec.validation import validate
from trivet.spec.yaml_tree import parse_text

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "failures.md").read_text()


def test_the_example_prints_what_the_page_says(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (printed,) = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
    exec(example, {})
    assert capsys.readouterr().out == printed


@pytest.mark.parametrize(
    ("page", "struct"),
    [(PAGE, one) for one in (Failures, RetryRule, HedgeRule, BreakerRule, Fallback)]
    + [((DOCS / "remote.md").read_text(), one) for one in (Remote, Upstream)],
)
def test_every_key_is_on_its_page(page: str, struct: type[msgspec.Struct]) -> None:
    keys = [field.encode_name for field in msgspec.structs.fields(struct)]
    assert [key for key in keys if not re.search(rf"\b{key}\b", page)] == []


@pytest.mark.parametrize("page", ["failures.md", "remote.md"])
def test_every_declaration_of_the_pages_is_accepted(page: str) -> None:
    examples = re.findall(r"```yaml\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    assert examples
    for text in examples:
        whole = text if "pipeline:" in text else f"{text}pipeline: [{{model: far}}]\n"
        if "models:" not in whole:
            far = '{remote: {protocol: v2, model: m, upstreams: ["http://a:1", "http://b:1"]}}'
            whole += f"models: {{far: {far}, small: {{file: small.onnx}}}}\n"
        service = convert(parse_text(f"name: page\n{whole}", page).tree, Service)
        validate(service)  # raises where it contradicts itself
        assert any(model.remote for model in service.models.values())
