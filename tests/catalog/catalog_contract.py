"""What a catalog promises wherever it is. Subclass it, and give a fixture `place` with the arguments of `open`."""

import math
from collections import Counter
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.catalog.catalog_support import DRAFT, FIGURES, Calendar, draft
from trivet.catalog.catalog import Catalog
from trivet.catalog.environment import Environment
from trivet.catalog.errors import (
    CatalogError,
    DamagedArtifactError,
    NewerCatalogError,
    NoCatalogError,
    NoSuchArtifactError,
    NoSuchRunError,
    RunEndedError,
)
from trivet.catalog.records import Figure, RunFilter, RunSummary
from trivet.catalog.schema import audit, run_documents, runs, sa
from trivet.catalog.writer import Writer
from trivet.spec.row import Row, RowColumns, RowsHeader

Place = dict[str, str]


def ids(catalog: Catalog, **where: Any) -> list[str]:
    return [run.id for run in catalog.runs(RunFilter(**where))]


class CatalogContract:
    @pytest.fixture
    def catalog(self, place: Place) -> Catalog:
        return Catalog.open(**place, now=Calendar())

    # Runs

    def test_a_run_is_running_on_disk_as_soon_as_it_has_begun(self, catalog: Catalog, place: Place) -> None:
        run_id = catalog.begin(DRAFT)
        run = Catalog.open(**place).run(run_id)
        assert (run.state, run.begun, run.ended) == ("running", "2026-11-22T09:01:00.000+00:00", None)
        assert run.writer.startswith("process ")
        assert {name: getattr(run, name) for name in DRAFT.__struct_fields__} == msgspec.structs.asdict(DRAFT)

    def test_a_finished_run_is_read_back_as_it_was_written(self, catalog: Catalog, place: Place) -> None:
        run_id = catalog.begin(draft(tags={"branch": "main"}, group="g1"))
        rows = catalog.put(b"rows")
        catalog.finish(
            run_id, "partial", figures=FIGURES, reason="Ctrl-C after 3 s", artifacts={"rows": rows}
        )
        run = Catalog.open(**place).run(run_id)
        assert (run.state, run.reason, run.ended) == (
            "partial",
            "Ctrl-C after 3 s",
            "2026-11-22T09:02:00.000+00:00",
        )
        assert (run.figures, run.artifacts) == (FIGURES, {"rows": rows})
        assert (run.tags, run.group, run.environment) == ({"branch": "main"}, "g1", DRAFT.environment)

    def test_the_environment_may_be_completed_at_the_end(self, catalog: Catalog) -> None:
        run_id = catalog.begin(DRAFT)
        catalog.finish(run_id, "complete", figures={}, environment=Environment(kernel="6.1"))
        assert catalog.run(run_id).environment == Environment(kernel="6.1")
        assert catalog.run(run_id).workload == DRAFT.workload

    def test_a_run_ends_once(self, catalog: Catalog) -> None:
        run_id = catalog.begin(DRAFT)
        catalog.finish(run_id, "complete", figures=FIGURES)
        with pytest.raises(RunEndedError, match=f"{run_id} has ended already: it is complete"):
            catalog.finish(run_id, "failed", figures={})
        assert catalog.run(run_id).figures == FIGURES
        with pytest.raises(RunEndedError, match="never begun"):
            catalog.finish("nobody", "failed", figures={})

    def test_a_run_cannot_name_an_artifact_that_is_not_there(self, catalog: Catalog) -> None:
        run_id = catalog.begin(DRAFT)
        with pytest.raises(NoSuchArtifactError, match="as 'rows', and nothing is stored there"):
            catalog.finish(run_id, "complete", figures={}, artifacts={"rows": "sha256:" + "0" * 64})
        assert catalog.run(run_id).state == "running"

    def test_a_run_whose_process_is_gone_is_shown_and_marked_interrupted(
        self, catalog: Catalog, place: Place
    ) -> None:
        run_id, other = catalog.begin(DRAFT), catalog.begin(DRAFT)
        catalog.finish(other, "complete", figures={})
        assert ids(Catalog.open(**place, fate=lambda _: "unknown"), states=["running"]) == [run_id]
        seen = Catalog.open(**place, fate=lambda _: "gone").run(run_id)
        assert (seen.state, seen.ended) == ("interrupted", None)
        assert "ended without finishing it" in seen.reason
        later = Catalog.open(**place, fate=lambda _: "alive")
        assert ids(later, states=["interrupted"]) == [run_id]
        assert later.run(other).state == "complete"

    def test_a_run_that_was_only_lost_sight_of_is_finished_by_its_own_process_and_no_other(
        self, catalog: Catalog, place: Place
    ) -> None:
        ours, theirs = catalog.begin(DRAFT), catalog.begin(DRAFT)
        with catalog._database.writing() as connection:
            writer = msgspec.json.encode(msgspec.structs.replace(Writer.holding(), pid=1)).decode()
            connection.execute(runs.update().where(runs.c.id == theirs).values(writer=writer))
        Catalog.open(**place, fate=lambda _: "gone").runs()
        catalog.finish(ours, "complete", figures=FIGURES)
        with pytest.raises(RunEndedError, match="it is interrupted"):
            catalog.finish(theirs, "complete", figures=FIGURES)
        assert {run.id: run.state for run in catalog.runs()} == {ours: "complete", theirs: "interrupted"}
        assert (catalog.run(ours).figures, catalog.run(ours).reason) == (FIGURES, "")

    # References

    def test_a_run_is_found_by_its_id_a_beginning_and_last(self, catalog: Catalog) -> None:
        first, second = catalog.begin(DRAFT), catalog.begin(draft(service="big"))
        assert catalog.run(first).id == first
        assert catalog.run(first[:8]).id == first
        assert catalog.run("last").id == second
        assert catalog.run("last:tiny").id == first

    def test_a_reference_to_no_run_is_told_with_what_is_near(self, catalog: Catalog) -> None:
        for ref, complaint in (
            ("last", "there are no runs yet"),
            ("last:tiny", "no run of 'tiny'"),
            ("", "''"),
        ):
            with pytest.raises(NoSuchRunError, match=complaint):
                catalog.run(ref)
        run_id = catalog.begin(DRAFT)
        mistyped = run_id[:4] + "-" + run_id[5:]
        for ref, near in ((mistyped, run_id), ("last:tyni", "did you mean last:tiny"), ("tiny", "last:tiny")):
            with pytest.raises(NoSuchRunError, match=near):
                catalog.run(ref)
        with pytest.raises(NoSuchRunError, match="`trivet runs` lists them"):
            catalog.run("%")

    def test_an_ambiguous_beginning_is_told_with_the_runs_it_could_be(self, catalog: Catalog) -> None:
        counted: Counter[str] = Counter()
        while (
            max(counted.values(), default=0) < 2
        ):  # after 23 runs at the latest: so many first letters there are
            counted[catalog.begin(DRAFT)[0]] += 1
        letter = counted.most_common(1)[0][0]
        meant = [run_id for run_id in catalog.run_ids() if run_id.startswith(letter)]
        with pytest.raises(NoSuchRunError, match=f"is the beginning of {', '.join(meant)}; type more"):
            catalog.run(letter)

    # Lists

    def test_lists_are_newest_first_and_limited(self, catalog: Catalog) -> None:
        begun = [catalog.begin(draft(service=f"s{index}")) for index in range(4)]
        assert ids(catalog) == begun[::-1]
        assert ids(catalog, limit=2) == begun[:1:-1]
        assert catalog.run_ids(limit=1) == begun[-1:]

    def test_every_filter_holds(self, catalog: Catalog) -> None:
        plain = catalog.begin(DRAFT)
        big = catalog.begin(draft(service="big", kind="gate", configuration_hash="cd" * 32))
        tagged = catalog.begin(draft(tags={"pr": "12", "who": "ci"}, group="g"))
        catalog.finish(big, "invalid", figures=FIGURES, reason="send lag")
        assert ids(catalog, service="big") == [big]
        assert ids(catalog, kind="bench") == [tagged, plain]
        assert ids(catalog, states=["running"]) == [tagged, plain]
        assert ids(catalog, states=["invalid", "failed"]) == [big]
        assert ids(catalog, configuration="cdcd") == [big]
        assert ids(catalog, configuration="_d") == []
        assert ids(catalog, tags=(("pr", "12"),)) == [tagged]
        assert ids(catalog, tags=(("pr", None), ("who", "ci"))) == [tagged]
        assert ids(catalog, tags=(("pr", "13"),)) == []
        assert ids(catalog, group="g") == [tagged]
        assert ids(catalog, since="2026-11-22T09:02:00.000+00:00") == [tagged, big]
        assert ids(catalog, service="tiny", states=["running"], limit=1) == [tagged]

    def test_a_list_shows_figures_and_tags(self, catalog: Catalog) -> None:
        catalog.begin(draft(tags={"pr": "12"}))
        catalog.finish(catalog.begin(DRAFT), "complete", figures=FIGURES)
        newest, oldest = catalog.runs()
        assert (newest.figures, newest.state, newest.tags) == (FIGURES, "complete", {})
        assert (oldest.figures, oldest.ended, oldest.tags) == ({}, None, {"pr": "12"})
        assert msgspec.json.decode(msgspec.json.encode(newest), type=RunSummary) == newest

    def test_dates_are_kept_in_utc(self, place: Place) -> None:
        zone = timezone(timedelta(hours=5))
        catalog = Catalog.open(**place, now=lambda: datetime(2026, 11, 22, 3, 0, tzinfo=zone))
        assert catalog.run(catalog.begin(DRAFT)).begun == "2026-11-21T22:00:00.000+00:00"

    # Artifacts

    def test_an_artifact_is_read_back_by_its_digest(self, catalog: Catalog, tmp_path: Path) -> None:
        (tmp_path / "model.onnx").write_bytes(b"weights")
        digest = catalog.put(tmp_path / "model.onnx")
        assert digest == catalog.put(b"weights")
        assert catalog.get(digest) == b"weights"
        assert (catalog.has(digest), catalog.has("sha256:" + "f" * 64)) == (True, False)
        catalog.fetch(digest, tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == b"weights"

    def test_rows_are_read_back_as_they_were(self, catalog: Catalog) -> None:
        rows = [
            Row(intended_ns=1, done_ns=5, outcome="ok", status=200, key="k"),
            Row(intended_ns=2, done_ns=9),
        ]
        columns = RowColumns.of_rows(RowsHeader(writer="test"), rows)
        digest = catalog.put_rows(columns)
        assert list(catalog.rows(digest).rows()) == rows
        assert digest == catalog.put_rows(columns)

    def test_an_artifact_that_is_not_there_or_no_digest_is_told(self, catalog: Catalog) -> None:
        for digest in ("sha256:" + "0" * 64, "sha256:abc", "../../etc/passwd", "md5:" + "0" * 64):
            with pytest.raises(NoSuchArtifactError):
                catalog.get(digest)

    def test_a_damaged_artifact_is_never_read(self, catalog: Catalog, place: Place, tmp_path: Path) -> None:
        digest = catalog.put(b"true")
        path = next(Path(place["artifacts"]).glob("sha256/*/*"))
        path.write_bytes(b"fals")
        for read in (lambda: catalog.get(digest), lambda: catalog.fetch(digest, tmp_path / "copy")):
            with pytest.raises(DamagedArtifactError, match=f"{digest} at .* is damaged"):
                read()
        assert not (tmp_path / "copy").exists()

    # The audit log: its chain in test_audit_chain.py

    def test_entries_are_kept_in_their_order(self, catalog: Catalog) -> None:
        catalog.audit.append("ann", "approve", "release 1", {"share": 0.5, "why": "«ü»"})
        catalog.audit.append("bob", "promote", "release 1")
        first, second = catalog.audit.entries()
        assert (first.number, first.actor, first.details) == (1, "ann", '{"share":0.5,"why":"«ü»"}')
        assert (second.number, second.previous, second.details) == (2, first.hash, "{}")
        assert catalog.audit.entries(limit=1) == [second]
        assert catalog.audit.verify() is None
        assert catalog.audit.verify(head=first.hash) is None

    @pytest.mark.parametrize("change", [audit.delete(), audit.update().values(actor="eve")])
    def test_the_database_refuses_to_change_an_entry(self, catalog: Catalog, change: Any) -> None:
        catalog.audit.append("ann", "approve", "release 1")
        with pytest.raises(sa.exc.DBAPIError, match="the audit log is append-only"):
            with catalog._database.writing() as connection:
                connection.execute(change)
        assert catalog.audit.verify() is None

    # Opening

    def test_reading_makes_no_catalog(self, place: Place) -> None:
        with pytest.raises(NoCatalogError, match="there is no catalog at"):
            Catalog.open(**place, create=False)
        Catalog.open(**place).begin(DRAFT)
        assert len(Catalog.open(**place, create=False).runs()) == 1

    def test_a_catalog_of_a_newer_trivet_is_refused(self, catalog: Catalog, place: Place) -> None:
        with catalog._database.writing() as connection:
            connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
        with pytest.raises(
            NewerCatalogError, match=r"its schema is 9999, this one knows 0002.*upgrade trivet"
        ):
            Catalog.open(**place)

    def test_a_place_that_fsspec_does_not_know_is_told_and_not_remembered(self, place: Place) -> None:
        with pytest.raises(CatalogError, match="cannot be kept at 'nowhere://x'"):
            Catalog.open(**place | {"artifacts": "nowhere://x"})
        assert Catalog.open(**place).put(b"x")

    def test_the_place_of_artifacts_is_remembered(self, place: Place, tmp_path: Path) -> None:
        digest = Catalog.open(**place).put(b"x")
        assert Catalog.open(place["url"]).get(digest) == b"x"
        with pytest.raises(CatalogError, match=r"keeps its artifacts at .*/artifacts, not at .*/b"):
            Catalog.open(place["url"], artifacts=str(tmp_path / "b"))

    def test_what_a_newer_writer_added_to_a_record_is_passed_over(self, catalog: Catalog) -> None:
        run_id = catalog.begin(DRAFT)
        with catalog._database.writing() as connection:
            text = connection.scalar(sa.select(run_documents.c.draft))
            newer = msgspec.json.decode(text) | {"energy": {"joule": 3}}
            newer["environment"] |= {"colour": "blue"}
            connection.execute(run_documents.update().values(draft=msgspec.json.encode(newer).decode()))
        run = catalog.run(run_id)
        assert (run.environment, run.workload) == (DRAFT.environment, DRAFT.workload)


def test_a_figure_is_a_number_and_its_bounds_may_be_open() -> None:
    with pytest.raises(ValueError, match="leave out what was not measured"):
        Figure(estimate=math.nan, unit="ms")
    figure = Figure(estimate=1.0, low=-math.inf, high=2.0, unit="ms")
    assert (figure.low, figure.high) == (None, 2.0)
    assert str(figure) == "1 [-∞, 2] ms"
