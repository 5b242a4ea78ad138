"""The example of the page on forecasts runs as the page says, and the page names every option."""

import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "simulate.md").read_text()


def test_the_example_prints_what_the_page_says(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (printed,) = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
    exec(example, {})
    assert capsys.readouterr().out == printed


def test_what_is_said_of_a_machine_that_was_never_checked_is_what_is_printed() -> None:
    from trivet.experiment.simulating.simulator_errors import UNCHECKED

    assert f"    {UNCHECKED}\n" in PAGE
