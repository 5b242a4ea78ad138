"""The examples of the page on the catalog run as the page says, and its tables name what the code has."""

import re
from pathlib import Path

import pytest

from trivet.catalog.catalog import Catalog
from trivet.catalog.records import STATES
from trivet.cli.runs import runs

PAGE = (Path(__file__).parents[2] / "docs" / "catalog.md").read_text()
ENVIRONMENT, RECORDING, _ = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
PRINTED = re.findall(r"^prints `(.*)`\.$", PAGE, re.MULTILINE)


@pytest.mark.parametrize(("example", "printed"), list(zip((ENVIRONMENT, RECORDING), PRINTED, strict=True)))
def test_the_examples_print_what_the_page_says(
    example: str,
    printed: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(example, {})
    assert capsys.readouterr().out == printed + "\n"


def test_the_recorded_run_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(RECORDING, {})
    run = Catalog.open("my-catalog", create=False).run("last:tiny")
    assert (run.state, run.tags, list(run.artifacts)) == ("complete", {"branch": "main"}, ["data"])


def test_the_tables_name_every_state_and_option() -> None:
    assert re.findall(r"^\| `(\w+)` \| ", PAGE, re.MULTILINE)[-len(STATES) :] == list(STATES)
    options = {name for parameter in runs.params for name in parameter.opts}
    assert options == set(
        re.findall(r"`(--\w+)", PAGE.partition("## Runs")[2].partition("A run is named")[0])
    )
