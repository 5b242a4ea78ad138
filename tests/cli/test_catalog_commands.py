"""`trivet runs`, `show`, `audit` and `doctor`, as a user types them."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

import pytest
from click.testing import CliRunner, Result

from tests.catalog.catalog_support import FIGURES, draft, environ
from tests.report.report_support import study
from trivet.catalog.audit import AuditLog
from trivet.catalog.catalog import Catalog
from trivet.catalog.finding import Finding
from trivet.catalog.records import RunKind, RunState
from trivet.catalog.schema import audit, sa
from trivet.cli.main import cli
from trivet.cli.runs import KINDS, STATES, since_date
from trivet.errors import UserError


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


@pytest.fixture
def catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Catalog:
    monkeypatch.setenv("TRIVET_CATALOG", str(tmp_path / "catalog"))
    return Catalog.open()


@pytest.fixture
def finished(catalog: Catalog) -> str:
    run_id = catalog.begin(draft(tags={"branch": "main"}))
    artifacts = {"data": catalog.put(b"data")}
    catalog.finish(run_id, "complete", figures=FIGURES, artifacts=artifacts)
    return run_id


def test_runs_lists_the_newest_first_with_their_figures(catalog: Catalog, finished: str) -> None:
    running = catalog.begin(draft(service="big"))
    lines = run("runs").output.splitlines()
    head, first, second = (line.split() for line in lines)
    assert head[:2] == ["run", "begun"]
    assert (first[0], first[3:]) == (running, ["bench", "big", "abababababab", "running"])
    assert second[0] == finished
    assert second[-4:] == ["complete", "4.2", "995.5", "0.91"]
    assert "p50" not in lines[0]  # no run has it


def test_runs_takes_every_filter(catalog: Catalog, finished: str) -> None:
    catalog.begin(draft(service="big", kind="gate", configuration_hash="cd" * 32))
    filters = [
        ("--service", "tiny"),
        ("--state", "complete", "--state", "failed"),
        ("--kind", "bench"),
        ("--tag", "branch=main"),
        ("--tag", "branch"),
        ("--configuration", "abab"),
        ("--service", "tiny", "--since", "1h", "--limit", "3"),
    ]
    for options in filters:
        found = json.loads(run("runs", "--json", *options).output)
        assert [item["id"] for item in found] == [finished], options
    for options in (("--tag", "branch=dev"), ("--since", "2999-01-01"), ("--state", "failed")):
        assert run("runs", *options).output == "no runs that match\n"
    assert len(json.loads(run("runs", "--json", "--all").output)) == 2


def test_reading_makes_no_catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRIVET_CATALOG", raising=False)
    for command in (("runs",), ("show", "last"), ("audit", "verify"), ("audit", "log")):
        result = run(*command)
        assert (result.exit_code, "there is no catalog at" in result.output) == (1, True), command
    assert list(tmp_path.iterdir()) == []
    Catalog.open(str(tmp_path / "other"))
    assert run("runs", "--catalog", str(tmp_path / "other")).output == "no runs yet\n"


def test_show_has_all_that_a_run_records(catalog: Catalog, finished: str) -> None:
    text = run("show", "last").output
    for line in (
        f"run            {finished} (bench of tiny)",
        "state          complete: measured to the end",
        "command        trivet bench service.yaml",
        "tags           branch=main",
        "  latency_p99_ms  4.2 [4, 4.6] ms: met",
        "  throughput_rps  995.5 requests/s",
        "  rate_rps    1000",
        "  inputs    2",
        "  split   test",
        "  packages.numpy     2.0",
        "  data  sha256:3a6eb0790f39ac87c94f3856b2dd2c5d110e6811602261a9a923d3bb23adc8b7",
    ):
        assert line in text.splitlines(), text
    values = json.loads(run("show", finished[:6], "--json").output)
    assert (values["id"], values["figures"]["accuracy"]["high"]) == (finished, 0.94)


def test_show_says_why_a_run_is_not_complete(catalog: Catalog) -> None:
    catalog.finish(catalog.begin(draft()), "invalid", figures={}, reason="p99 send lag 4 ms is over 1 ms")
    assert "state          invalid: p99 send lag 4 ms is over 1 ms" in run("show", "last:tiny").output


def test_an_unknown_run_is_told_with_the_nearest(catalog: Catalog, finished: str) -> None:
    result = run("show", finished[:-1] + "-")
    assert result.exit_code == 1
    assert f"near it: {finished}" in result.output
    assert "did you mean last:tiny?" in run("show", "last:tyni").output


def test_show_of_a_study_is_what_the_tune_printed(catalog: Catalog, finished: str) -> None:
    begun = catalog.begin_study(study())
    shown = run("show", begun.id)
    assert shown.exit_code == 0
    assert "recommended: trial 12" in shown.output
    assert json.loads(run("show", begun.id[:8], "--json").output)["recommendation"]["trial"] == 12
    assert f"run            {finished}" in run("show", "last").output  # of runs


def test_the_shell_completes_ids_of_runs_and_studies(catalog: Catalog, finished: str, tmp_path: Path) -> None:
    def completed(word: str, folder: Path) -> str:
        more = {"_TRIVET_COMPLETE": "bash_complete", "COMP_WORDS": f"trivet show {word}", "COMP_CWORD": "2"}
        code = "import sys; sys.argv = ['trivet']; from trivet.cli.main import main; main()"  # as the script does
        command = [sys.executable, "-c", code]
        done = subprocess.run(
            command,
            env=environ(**more, TRIVET_CATALOG=str(folder)),
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr == ""
        return done.stdout

    folder = tmp_path / "catalog"
    assert completed(finished[:2], folder).splitlines() == [f"plain,{finished}"]
    assert completed("la", folder).splitlines() == ["plain,last", "plain,last:tiny"]
    begun = catalog.begin_study(study())
    assert completed(begun.id[:4], folder).splitlines() == [f"plain,{begun.id}"]
    assert completed("", tmp_path / "nothing").strip() == ""
    assert not (tmp_path / "nothing").exists()


def test_ages_and_dates_mean_a_moment_in_utc() -> None:
    now = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
    for text, expected in {
        "90min": now - timedelta(minutes=90),
        "12h": now - timedelta(hours=12),
        "3d": now - timedelta(days=3),
        "2w": now - timedelta(weeks=2),
        "2026-11-20": datetime(2026, 11, 20, tzinfo=UTC),
        "2026-11-20T12:00+02:00": datetime(2026, 11, 20, 10, tzinfo=UTC),
    }.items():
        assert since_date(text, now) == expected.isoformat(timespec="milliseconds")
    for text in ("yesterday", "3", "-1d", "5m"):
        with pytest.raises(UserError, match="expected an age such as 90min"):
            since_date(text, now)


def test_audit_verify_names_the_first_broken_link(catalog: Catalog) -> None:
    assert run("audit", "verify").output == "whole: no entries yet\n"
    for number in range(3):
        catalog.audit.append("ann", "approve", f"release {number}", {"share": number})
    head = catalog.audit.entries()[-1].hash
    whole = run("audit", "verify", "--head", head)
    assert (whole.exit_code, whole.output) == (
        0,
        f"whole: 3 entries; note the newest hash elsewhere: {head}\n",
    )
    assert "3  " in run("audit", "log", "--limit", "1").output
    assert [entry["actor"] for entry in json.loads(run("audit", "log", "--json").output)] == ["ann"] * 3
    _tamper(catalog.audit)
    broken = run("audit", "verify")
    assert broken.exit_code == 1
    assert broken.output.startswith("broken at entry 2: its content was changed")
    values = json.loads(run("audit", "verify", "--json").output)
    assert (values["broken"]["number"], values["entries"]) == (2, 3)
    assert run("audit", "verify", "--head", "0" * 64).exit_code == 1


def _tamper(log: AuditLog) -> None:
    with log._database.writing() as connection:
        connection.execute(sa.text("DROP TRIGGER audit_refuses_update"))
        connection.execute(audit.update().where(audit.c.number == 2).values(actor="eve"))


FINE = Finding(what="clock", measured="tsc")
WARNING = Finding(what="steal", measured="8%", why="others", fix="move", severity="warning")
NOTE = Finding(what="turbo", measured="on", why="heat", fix="off", severity="note")


@pytest.mark.parametrize(("findings", "code"), [([WARNING, NOTE, FINE], 1), ([NOTE, FINE], 0)])
def test_doctor_tells_each_finding_and_exits_1_for_a_warning(
    findings: list[Finding], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trivet.catalog.doctor.examine", lambda: findings)
    result = run("doctor")
    assert result.exit_code == code
    assert "fine     clock: tsc\n" in result.output
    assert "note     turbo: on\n         why: heat\n         fix: off\n" in result.output
    as_json = run("doctor", "--json")
    assert as_json.exit_code == code
    assert [item["what"] for item in json.loads(as_json.output)] == [finding.what for finding in findings]


def test_the_commands_stay_light_until_they_run() -> None:
    code = (
        "import sys, trivet.cli.main\n"
        "heavy = {'sqlalchemy', 'alembic', 'fsspec', 'pyarrow', 'msgspec', 'mlflow'}\n"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ(), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_choices_are_the_words_of_the_records() -> None:
    """Written out once more in the command, so that its help does not need the records."""
    assert get_args(RunState) == STATES
    assert get_args(RunKind) == KINDS


def test_the_doctor_needs_no_extra() -> None:
    code = (
        "import sys\nfor name in ('sqlalchemy', 'alembic', 'fsspec', 'pyarrow', 'scipy'): sys.modules[name] = None\n"
        "from trivet.cli.main import main; main()"
    )
    command = [sys.executable, "-c", code, "doctor", "--json"]
    done = subprocess.run(command, env=environ(), capture_output=True, text=True, check=False)
    severities = {finding["severity"] for finding in json.loads(done.stdout)}
    assert (done.returncode, done.stderr) == (int("warning" in severities), "")


@pytest.mark.parametrize(("missing", "extra"), [("sqlalchemy", "bench"), ("psycopg", "postgres")])
def test_without_its_packages_the_catalog_names_the_extra(missing: str, extra: str) -> None:
    code = f"import sys; sys.modules['{missing}'] = None\nfrom trivet.cli.main import main; main()"
    arguments = ["runs", "--catalog", "postgresql://h/d"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environ(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert f"needs an extra: pip install 'trivet[{extra}]'" in done.stderr
    assert "Traceback" not in done.stderr
