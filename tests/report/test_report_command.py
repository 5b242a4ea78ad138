"""`trivet report`, as a user types it."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.report.report_support import measured, record_run, study
from trivet.catalog.catalog import Catalog
from trivet.cli.main import cli


def run(catalog: Catalog, folder: Path, *arguments: str) -> Result:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("TRIVET_CATALOG", str(catalog).removeprefix("sqlite:///").removesuffix("/catalog.db"))
        return CliRunner().invoke(cli, ("report", *arguments), catch_exceptions=False)


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog.open(str(tmp_path / "catalog"))


def test_a_run_becomes_a_page_named_after_it(catalog: Catalog, tmp_path: Path) -> None:
    run_id = record_run(catalog, [])
    result = run(catalog, tmp_path, run_id[:6])
    assert result.exit_code == 0
    assert f"wrote file-type-{run_id}.html" in result.output
    page = (tmp_path / f"file-type-{run_id}.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert f"trivet replay {run_id}" in page
    assert "measured on another machine (A processor of tests, 2 cores)" in result.output


def test_markdown_alone_is_printed_and_writes_no_page(catalog: Catalog, tmp_path: Path) -> None:
    record_run(catalog, [measured(300)])
    result = run(catalog, tmp_path, "last", "--markdown")
    assert result.stdout.startswith("## ✅ trivet run: file-type: complete")
    assert list(tmp_path.glob("*.html")) == []
    run(catalog, tmp_path, "last", "--markdown", "summary.md")
    assert (tmp_path / "summary.md").read_text(encoding="utf-8") == result.stdout


def test_every_picture_is_written_as_svg_and_png(
    drawn_catalog: Catalog, record_ids: Mapping[str, str], tmp_path: Path
) -> None:
    result = run(drawn_catalog, tmp_path, record_ids["ramp"], "--plots", "pictures", "--json")
    values = json.loads(result.stdout)
    expected = {f"{name}.{kind}" for name in ("over-time", "load") for kind in ("svg", "png")}
    assert {Path(path).name for path in values["written"]} == expected
    assert values["run"]["figures"]["knee_rps"]["estimate"] == 530.0
    assert (tmp_path / "pictures" / "load.png").read_bytes().startswith(b"\x89PNG")


def test_a_study_has_every_picture_and_the_command_that_replays_each_run(
    drawn_catalog: Catalog, record_ids: Mapping[str, str], tmp_path: Path
) -> None:
    arguments = ("--plots", "pictures", "--html", "study.html", "--json")
    values = json.loads(run(drawn_catalog, tmp_path, record_ids["study"], *arguments).stdout)
    page = (tmp_path / "study.html").read_text(encoding="utf-8")
    drawn = {path.stem for path in (tmp_path / "pictures").glob("*.svg")}
    assert len(drawn) == page.count("<figure")
    assert drawn == {path.stem for path in (tmp_path / "pictures").glob("*.png")}
    runs = [run_id for trial in values["study"]["trials"] for run_id in trial["runs"]]
    assert runs
    assert all(f"trivet replay {run_id}" in page for run_id in runs)


def test_last_is_what_was_begun_last_and_runs_of_a_study_are_the_study(
    catalog: Catalog, tmp_path: Path
) -> None:
    def kind(ref: str) -> tuple[str, str]:
        found = json.loads(run(catalog, tmp_path, ref, "--json").stdout)
        return found["kind"], found[found["kind"]]["id"]

    first = record_run(catalog, [])
    assert kind("last") == ("run", first)
    begun = catalog.begin_study(study())
    record_run(catalog, [], kind="tune")
    assert kind("last") == kind("last:file-type") == ("study", begun.id)
    newest = record_run(catalog, [], service="other")
    assert kind("last") == kind("last:other") == ("run", newest)
    assert kind(begun.id[:7]) == ("study", begun.id)


def test_what_is_not_there_is_told_with_what_is_near(catalog: Catalog, tmp_path: Path) -> None:
    run_id, begun = record_run(catalog, []), catalog.begin_study(study())
    for near in (run_id, begun.id):
        result = run(catalog, tmp_path, f"{near[:-1]}!")
        assert result.exit_code == 1
        assert near in result.output
    result = run(catalog, tmp_path, "last:file-typ")
    assert "did you mean last:file-type?" in result.output


def test_a_place_that_cannot_be_written_is_named(catalog: Catalog, tmp_path: Path) -> None:
    record_run(catalog, [])
    (tmp_path / "file").write_text("")
    for options in (("--html", "file/page.html"), ("--plots", "file/x"), ("--markdown", "none/x.md")):
        result = run(catalog, tmp_path, "last", *options)
        assert result.exit_code == 1, options
        assert "cannot be written" in result.output
