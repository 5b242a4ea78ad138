"""The page on reports names what the command has, and its example runs as it stands."""

import re
from pathlib import Path

import pytest

from tests.report.report_support import record_run
from trivet.catalog.catalog import Catalog
from trivet.cli.report import report

PAGE = (Path(__file__).parents[2] / "docs" / "report.md").read_text(encoding="utf-8")


def test_the_table_names_every_option() -> None:
    options = {name for parameter in report.params for name in parameter.opts if name.startswith("--")}
    assert options == set(re.findall(r"^\| `(--\w+)", PAGE, re.MULTILINE))


def test_the_example_writes_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run_id = record_run(Catalog.open("my-catalog"), [])
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(example, {})
    assert run_id in capsys.readouterr().out
    assert (tmp_path / "report.html").read_text(encoding="utf-8").endswith("</html>\n")
