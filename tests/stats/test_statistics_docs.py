"""The example of docs/statistics.md prints what stands below it, and every function in its table exists."""

import contextlib
import importlib
import io
import re
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "statistics.md").read_text()


def test_the_example_prints_what_the_page_says() -> None:
    [(code, expected)] = re.findall(r"```python\n(.*?)```\n\n```\n(.*?)```", PAGE, re.DOTALL)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(code, {})
    assert printed.getvalue() == expected


def test_what_the_table_names_exists() -> None:
    table = "\n".join(line for line in PAGE.splitlines() if line.startswith("|"))
    named = re.findall(r"`([a-z_]+)\.(\w+)`", table)
    assert len(named) >= 10
    for module, name in named:
        assert hasattr(importlib.import_module(f"trivet.stats.{module}"), name), (module, name)
