"""`trivet gate` and the history: which runs it suspects, and which one it measures along."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tests.catalog.catalog_support import Calendar, draft
from trivet.catalog.catalog import Catalog
from trivet.catalog.records import Figure
from trivet.cli.gate import _earlier, _suspects
from trivet.cli.main import cli

NUM_FAST, NUM_SLOW = 12, 8  # a run a minute: 09:01 and on


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    """Twenty runs, each of a configuration of its own; the last eight a tenth slower."""
    catalog, rng = Catalog.open(str(tmp_path), now=Calendar()), np.random.default_rng(3)
    levels = [2.0] * NUM_FAST + [2.2] * NUM_SLOW
    for i, level in enumerate(levels):
        value = level * float(np.exp(0.005 * rng.standard_normal()))
        figures = {"latency_p50_ms": Figure(estimate=value, unit="ms")}
        catalog.finish(catalog.begin(draft(configuration_hash=f"{i:064x}")), "complete", figures=figures)
    return catalog


def test_a_run_from_before_the_oldest_suspect_is_measured_along(catalog: Catalog) -> None:
    runs = catalog.run_ids()[::-1]
    (suspect,) = found = _suspects(catalog, catalog.run("last"), None)
    assert (suspect.before, suspect.since, suspect.steady) == (runs[11], runs[12], runs[5])
    earlier = _earlier(catalog, found, [f"{19:064x}"])
    assert earlier is not None
    assert earlier.id == runs[5]
    assert _earlier(catalog, found, [f"{5:064x}"]) is None  # it is measured anyway
    assert _earlier(catalog, [], []) is None


def test_what_was_agreed_on_is_no_suspect_from_then_on(catalog: Catalog) -> None:
    last = catalog.run("last")
    change = catalog.run(catalog.run_ids()[::-1][NUM_FAST]).begun
    assert _suspects(catalog, last, "2026-11-22T09:01:00") != []
    assert _suspects(catalog, last, change) == []


def test_a_since_that_is_no_date_is_named_and_decides_nothing(catalog: Catalog, tmp_path: Path) -> None:
    options = ["--baseline", "last", "--since", "whenever", "--catalog", str(tmp_path)]
    result = CliRunner().invoke(cli, ["gate", "service.yaml", *options])
    assert result.exit_code == 2
    assert "--since whenever: expected an age" in result.output
