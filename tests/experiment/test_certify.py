"""`trivet certify`, from a service file to a server that keeps to its certificate."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.support.cascades import write_cascade
from trivet.cli.main import cli
from trivet.errors import UserError
from trivet.experiment.certifying.certifying import certify
from trivet.experiment.placement import place
from trivet.spec.certified import read_certificate


def test_a_cascade_is_certified_and_the_server_answers_as_its_stages_did(tmp_path: Path) -> None:
    path = write_cascade(tmp_path)
    result = CliRunner().invoke(cli, ["certify", str(path)])
    assert result.exit_code == 0, result.output
    found = read_certificate(tmp_path / "certified.yaml")
    assert found.exits == ("front",)
    best = found.points[-1]
    assert best.rows == 1350 - 338  # without those of training, and a quarter
    assert best.risk_bound <= 0.02
    assert 0.5 < best.thresholds[0] < 1
    thresholds = [point.thresholds[0] for point in found.points]
    assert thresholds == sorted(thresholds, reverse=True)
    assert "a server with it gave 1,000 rows the same answers" in result.output
    assert "with 95 % confidence" in result.output


def test_too_few_rows_are_refused_with_the_number_it_takes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"90 labelled rows .* at least 200, and more"):
        certify(write_cascade(tmp_path, num_rows=100), place())


def test_a_front_that_is_always_wrong_is_not_certified(tmp_path: Path) -> None:
    """The rest's sign is turned, and so are the labels' meanings for the front."""
    path = write_cascade(tmp_path, num_rows=1000)
    text = (tmp_path / "rows.csv").read_text().splitlines()
    turned = [text[0]]
    for line in text[1:]:
        a, b, rest = line.split(",", 2)
        turned.append(f"{b},{a},{rest}")
    (tmp_path / "rows.csv").write_text("\n".join(turned) + "\n")
    with pytest.raises(UserError, match="no exit could answer anything"):
        certify(path, place())


def test_a_service_without_such_exits_says_what_to_write(tmp_path: Path) -> None:
    path = write_cascade(tmp_path, num_rows=10)
    lines = [line for line in path.read_text().splitlines() if not line.startswith("cascade")]
    path.write_text("\n".join(lines).replace("max_loss: 2%", "at_least: 0.9"))
    with pytest.raises(UserError, match=r"max_loss: 0\.5%"):
        certify(path, place())
