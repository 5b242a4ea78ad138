"""Every declaration on every page is one: blocks of YAML are loaded as a server would, those inside of lines are read.

Pages and blocks are found here, so that a new page is looked at, too. What a block leaves out is filled in: models that it
only names, labelled rows where it promises an accuracy.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from trivet.spec.convert import convert
from trivet.spec.deployment import Deployment, load_deployment
from trivet.spec.service import Service
from trivet.spec.service_file import load_service
from trivet.spec.variants import options_of
from trivet.spec.yaml_tree import parse_text
from trivet.variants.builders import builder_of

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*/README.md")])
OF_SERVICE = {field.encode_name for field in msgspec.structs.fields(Service)}
OF_DEPLOYMENT = {field.encode_name for field in msgspec.structs.fields(Deployment)}
NOT_OURS = {("gate.md", "name")}  # page and first key: a workflow of GitHub
FILE = "{file: m.onnx}"
KINDS = {"far": "{remote: {protocol: v2, model: m, upstreams: ['http://a:1', 'http://10.0.0.9:8000']}}"}
DATA = "data: {path: rows.csv, columns: {x: x}, label: label}"


def fenced(page: str) -> Iterator[str]:
    yield from re.findall(r"^```ya?ml\n(.*?)^```", page, re.DOTALL | re.MULTILINE)


def indented(page: str) -> Iterator[str]:
    """Blocks of four spaces that begin with a key of a service."""
    outside = re.sub(r"^```.*?^```", "", page, flags=re.DOTALL | re.MULTILINE)
    for block in re.findall(r"(?:^    .*\n(?:\n(?=    ))?)+", outside, re.MULTILINE):
        if re.match(r"    (\w+):(\s|$)", block) and block.split(":")[0].strip() in OF_SERVICE | OF_DEPLOYMENT:
            yield re.sub("^    ", "", block, flags=re.MULTILINE)


def inline(page: str) -> Iterator[str]:
    """`key: {...}` of a service inside of a line, where nothing is left out."""
    for line in page.splitlines():
        for text in re.findall(r"`(\w+: \{[^`]*\})`", line):
            if text.split(":")[0] in OF_SERVICE and "..." not in text and "…" not in text:
                yield text


def blocks() -> list[Any]:
    found = []
    for page in PAGES:
        text = page.read_text()
        for place, block in enumerate([*fenced(text), *indented(text)]):
            first = re.match(r"(?:#.*\n|\n)*(\w+):", block)
            if (page.name, first[1] if first else "") not in NOT_OURS:
                found.append(pytest.param(block, id=f"{page.relative_to(ROOT)}-{place}"))
    return found


def lines() -> list[Any]:
    return [
        pytest.param(text, id=f"{page.relative_to(ROOT)}-{text}")
        for page in PAGES
        for text in inline(page.read_text())
    ]


def named_models(tree: Any) -> Iterator[str]:
    """Wherever a stage, a fallback or a rung names one."""
    if isinstance(tree, Mapping):
        if isinstance(tree.get("model"), str) and "protocol" not in tree:
            yield tree["model"]
        for value in tree.values():
            yield from named_models(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from named_models(value)


def completed(block: str, tree: Mapping[str, Any]) -> str:
    lines = [block]
    if "models" not in tree:
        of_block = {key: tree.get(key) for key in ("pipeline", "degrade", "route")}
        names = [*named_models(of_block)] or ["m"]
        lines.append(f"models: {{{', '.join(f'{name}: {KINDS.get(name, FILE)}' for name in names)}}}")
    elif "pipeline" not in tree and len(tree["models"]) > 1 and "degrade" not in tree:
        lines.append(f"pipeline: [{', '.join(f'{{model: {name}}}' for name in tree['models'])}]")
    if "slo" in tree and "data" not in tree:
        lines += [DATA, "decode: argmax", "metric: accuracy"]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("block", blocks())
def test_every_block_is_loaded_as_a_server_would(block: str, tmp_path: Path) -> None:
    tree = parse_text(block, "page").tree
    assert isinstance(tree, dict), "a block of YAML on a page declares something"
    path = tmp_path / "service.yaml"
    if "services" in tree:
        path.write_text(block)
        assert load_deployment(path).services
        return
    assert set(tree) <= OF_SERVICE, (
        "keys of a service, of a deployment with `services:`, or listed in NOT_OURS"
    )
    path.write_text(completed(block, tree))
    service = load_service(path)
    for name, options in options_of(service.variants).items():
        assert builder_of(name, options)


@pytest.mark.parametrize("text", lines())
def test_every_declaration_inside_of_a_line_is_read(text: str) -> None:
    tree = {"name": "page", "models": {"m": {"file": "m.onnx"}}, **parse_text(text, "page").tree}
    assert convert(tree, Service)


def test_the_pages_are_found() -> None:
    assert len(PAGES) > 30
    assert len(blocks()) > 20
    assert lines()


def test_a_key_that_there_is_not_would_be_found(tmp_path: Path) -> None:
    (block,) = fenced("text\n```yaml\ncaches: {exact: {}}\n```\n")
    with pytest.raises(AssertionError, match="keys of a service"):
        test_every_block_is_loaded_as_a_server_would(block, tmp_path)
