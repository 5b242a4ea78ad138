"""Records that many tests draw, and the pages of them, made once."""

from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from tests.report.report_support import RUN_EXTRA, STUDY, figure, measured, record_run, study, trials
from trivet.catalog.catalog import Catalog
from trivet.report.reported import of_run, of_study


@pytest.fixture(scope="session")
def drawn_catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    return Catalog.open(str(tmp_path_factory.mktemp("drawn") / "catalog"))


@pytest.fixture(scope="session")
def record_ids(drawn_catalog: Catalog) -> Mapping[str, str]:
    """Ids by name: runs of several kinds, a whole study, one of predictions alone, one that hardly began."""
    catalog = drawn_catalog
    ids = {"run": record_run(catalog, [measured()], extra=RUN_EXTRA)}
    knee = figure(530.0, "requests/s", 0.04)
    rates = (100.0, 200.0, 400.0, 600.0, 800.0)
    blocks = [
        measured(1200, rate_rps=rate, number=i, seed=i, factor=0.5 + (rate / 800) ** 3, tells_phases=False)
        for i, rate in enumerate(rates)
    ]
    ids["ramp"] = record_run(catalog, blocks, extra={"knee_rps": knee}, scenario="ramp", rate_rps=None)
    late = "the load generator fell behind: p99 send lag 4.20 ms, at most 1 ms"
    ids["invalid"] = record_run(catalog, [], state="invalid", reason=late)
    ids["failed"] = record_run(catalog, [], state="failed", reason="the target refused the connection")
    live = (
        record_run(catalog, [measured(300)], kind="tune"),
        record_run(catalog, [measured(300)], kind="tune"),
    )
    ids["study"] = _kept(catalog, trials=trials(live))
    predicted = [msgspec.structs.replace(one, measured={}, runs=[], stage="screened") for one in STUDY.trials]
    ids["predicted"] = _kept(
        catalog, trials=predicted, recommendation=None, state="interrupted", reason="Ctrl-C", effects=[]
    )
    ids["begun"] = _kept(
        catalog,
        trials=[],
        recommendation=None,
        state="partial",
        effects=[],
        variants=[],
        front=[],
        hypervolume=None,
    )
    return ids


@pytest.fixture(scope="session")
def pages(
    drawn_catalog: Catalog, record_ids: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, Path]:
    """The page of each of `record_ids`."""
    folder = tmp_path_factory.mktemp("pages")
    found = {}
    for name, record_id in record_ids.items():
        is_study = name in ("study", "predicted", "begun")
        page = (
            of_study(drawn_catalog, drawn_catalog.study(record_id))
            if is_study
            else of_run(drawn_catalog, drawn_catalog.run(record_id))
        )
        found[name] = folder / f"{name}.html"
        found[name].write_text(page.html(), encoding="utf-8")
    return found


def _kept(catalog: Catalog, **changed: object) -> str:
    begun = catalog.begin_study(study(**{**changed, "state": "running"}))
    wanted = study(**changed)
    saved = msgspec.structs.replace(
        wanted, id=begun.id, begun=begun.begun, ended=None, state=changed.get("state", "complete")
    )
    return catalog.save_study(saved).id
