"""Studies in the catalog: begun, saved again, found like runs, interrupted with their process."""

from pathlib import Path

import msgspec
import pytest

from tests.catalog.catalog_support import Calendar
from trivet.catalog.catalog import Catalog
from trivet.catalog.errors import NoSuchStudyError
from trivet.catalog.study import Goal, Study, StudyFilter, Trial
from trivet.catalog.writer import Writer

DRAFT = Study(service="tiny", budget_ns=1, goal=Goal(slo_latency_ns=5_000_000))
TRIAL = Trial(
    id=0, levers={"threads": 1}, variant="original", configuration_hash="ab", workers=1, stage="default"
)


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog.open(str(tmp_path), now=Calendar())


def test_a_study_that_begins_has_an_id_and_a_date(catalog: Catalog) -> None:
    study = catalog.begin_study(DRAFT)
    assert len(study.id) == 10
    assert study.state == "running"
    assert study.begun
    assert catalog.study(study.id) == study


def test_it_is_saved_as_a_whole_again_and_again(catalog: Catalog) -> None:
    study = catalog.begin_study(DRAFT)
    study = catalog.save_study(msgspec.structs.replace(study, trials=[TRIAL]))
    assert catalog.study("last").trials == [TRIAL]
    assert catalog.studies()[0].num_trials == 1
    ended = catalog.save_study(msgspec.structs.replace(study, state="complete"))
    assert ended.ended is not None
    assert catalog.study("last:tiny") == ended


def test_one_that_goes_on_has_not_ended(catalog: Catalog) -> None:
    study = catalog.begin_study(DRAFT)
    ended = catalog.save_study(msgspec.structs.replace(study, state="partial"))
    assert catalog.save_study(msgspec.structs.replace(ended, state="running")).ended is None


def test_it_is_found_by_what_was_typed_of_it(catalog: Catalog) -> None:
    study = catalog.begin_study(DRAFT)
    other = catalog.begin_study(msgspec.structs.replace(DRAFT, service="other"))
    assert catalog.study(study.id[:6]).id == study.id
    assert catalog.study("last").id == other.id
    assert catalog.study("last:tiny").id == study.id
    assert [one.service for one in catalog.studies()] == ["other", "tiny"]
    assert [one.id for one in catalog.studies(StudyFilter(service="tiny"))] == [study.id]
    with pytest.raises(NoSuchStudyError, match="no study of 'tinny'; did you mean last:tiny"):
        catalog.study("last:tinny")


def test_without_a_study_the_command_that_makes_one_is_named(catalog: Catalog) -> None:
    with pytest.raises(NoSuchStudyError, match="there are no studies yet; trivet tune SERVICE makes one"):
        catalog.study("last")


def test_a_study_that_was_never_begun_is_not_saved(catalog: Catalog) -> None:
    with pytest.raises(NoSuchStudyError, match="never begun"):
        catalog.save_study(msgspec.structs.replace(DRAFT, id="nobody"))


def test_a_study_whose_process_is_gone_is_interrupted(tmp_path: Path) -> None:
    begun = Catalog.open(str(tmp_path)).begin_study(DRAFT)

    def gone(writer: Writer) -> str:
        return "gone"

    found = Catalog.open(str(tmp_path), fate=gone).study(begun.id)  # type: ignore[arg-type]
    assert found.state == "interrupted"
    assert "ended without finishing it" in found.reason
