"""The pages on gate and replay: their commands are ours, the workflow is YAML, the fixture is Python that pytest takes."""

import ast
import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from trivet.cli.gate import gate
from trivet.cli.main import cli
from trivet.cli.replay import EXIT_CODES
from trivet.experiment.gate.decision import MARGINS

DOCS = Path(__file__).parents[2] / "docs"
GATE, REPLAY = (DOCS / "gate.md").read_text(), (DOCS / "replay.md").read_text()
WORKFLOW = re.findall(r"```yaml\n(.*?)```", GATE, re.DOTALL)[0]
FIXTURE, TEST = re.findall(r"```python\n(.*?)```", GATE, re.DOTALL)


def commands(text: str) -> list[list[str]]:
    return [
        shlex.split(line, comments=True) for line in re.findall(r"^\s*trivet (\S.*)$", text, re.MULTILINE)
    ]


@pytest.mark.parametrize("words", commands(WORKFLOW) + commands(GATE) + commands(REPLAY), ids=" ".join)
def test_every_command_on_the_pages_is_one_that_trivet_takes(words: list[str]) -> None:
    command = cli.commands[words[0]]
    context = command.make_context(words[0], words[1:], resilient_parsing=False)
    assert context.args == []  # all of it was understood
    assert set(context.params) == {parameter.name for parameter in command.params if parameter.expose_value}


def test_the_workflow_runs_for_pull_requests_and_keeps_what_the_gate_wrote() -> None:
    workflow: dict[Any, Any] = yaml.safe_load(WORKFLOW)
    assert "pull_request" in workflow[True]  # YAML 1.1 reads the key `on` as true
    steps = workflow["jobs"]["gate"]["steps"]
    assert all(("uses" in step) != ("run" in step) for step in steps)
    written = set(re.findall(r"--(?:junit|markdown|bundle) (\S+)", WORKFLOW))
    uploaded = next(step for step in steps if step.get("uses", "").startswith("actions/upload-artifact"))
    assert written == set(uploaded["with"]["path"].split())


def test_the_fixture_and_its_test_are_python() -> None:
    names = {
        node.name
        for text in (FIXTURE, TEST)
        for node in ast.parse(text).body
        if isinstance(node, ast.FunctionDef)
    }
    assert names == {"gate", "test_the_service_is_no_worse_than_its_baseline"}


def test_the_numbers_on_the_pages_are_those_of_the_code() -> None:
    words = {
        word: int(code) for word, code in re.findall(r"^\| \*\*(\w[\w ]*)\*\* \| (\d)", REPLAY, re.MULTILINE)
    }
    assert words == EXIT_CODES
    option = next(one for one in gate.params if isinstance(one, click.Option) and one.name == "margins")
    for figure, margin in MARGINS.items():
        assert f"{figure}={margin * 100:g}" in (option.help or "")
    assert f"{MARGINS['latency_p50_ms']:.0%}".replace("%", " %") in GATE
