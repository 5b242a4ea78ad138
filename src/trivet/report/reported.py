"""What `trivet report` was asked for, found in the catalog: a study or a run, ready to be written in each form."""

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import msgspec

from trivet.catalog.catalog import Catalog
from trivet.catalog.environment import Environment
from trivet.catalog.errors import NoSuchRunError
from trivet.catalog.host_files import HOST
from trivet.catalog.machine import processor
from trivet.catalog.records import Run, RunFilter, RunKind
from trivet.catalog.references import is_last
from trivet.catalog.study import Study, StudyFilter
from trivet.report.html import slug
from trivet.report.markdown import run_markdown, study_markdown
from trivet.report.pictures.plot import write_pictures
from trivet.report.run_page import run_page
from trivet.report.run_view import read_run, run_plots
from trivet.report.study_page import study_page, study_plots
from trivet.report.study_view import StudyView

_OF_STUDIES = "tune"  # the kind of runs that a study made: `last` means the study


@dataclass(frozen=True, slots=True)
class Reported:
    """remarks: for the reader of the terminal; what they say of this machine is in no page, which is read elsewhere."""

    file_name: str
    remarks: tuple[str, ...]
    values: dict[str, Any]
    html: Callable[[], str]
    markdown: Callable[[], str]
    write_pictures: Callable[[Path], list[Path]]


def reported(catalog: Catalog, ref: str) -> Reported:
    """Args: ref: an id of a study or a run, the unique beginning of one, "last", or "last:SERVICE".

    Raises: CatalogError: none, or several; the message names the nearest of both kinds.
    """
    found = _last(catalog, ref) if is_last(ref) else catalog.study_or_run(ref)
    return of_study(catalog, found) if isinstance(found, Study) else of_run(catalog, found)


def of_study(catalog: Catalog, study: Study) -> Reported:
    """With the runs of its trials, as far as the catalog has them."""
    view = StudyView(study, _runs_of(catalog, study))
    return Reported(
        file_name=f"{slug(study.service)}-{study.id}.html",
        remarks=_remarks(study.environment),
        values={"kind": "study", "study": msgspec.to_builtins(study)},
        html=lambda: study_page(view),
        markdown=lambda: study_markdown(view),
        write_pictures=lambda folder: write_pictures(study_plots(view).drawn(), folder),
    )


def of_run(catalog: Catalog, run: Run) -> Reported:
    """With its rows, as far as the catalog has them."""
    view = read_run(catalog, run)
    return Reported(
        file_name=f"{slug(run.service)}-{run.id}.html",
        remarks=(*_remarks(run.environment), *([view.trouble] if view.trouble else [])),
        values={"kind": "run", "run": msgspec.to_builtins(run)},
        html=lambda: run_page(view),
        markdown=lambda: run_markdown(view),
        write_pictures=lambda folder: write_pictures(run_plots(view).drawn(), folder),
    )


def _last(catalog: Catalog, ref: str) -> Study | Run:
    """The newest study, or the newest run that no study made, whichever began later."""
    service = ref.partition(":")[2] or None
    summaries = catalog.studies(StudyFilter(service=service, limit=1))
    runs = [
        run
        for kind in get_args(RunKind)
        if kind != _OF_STUDIES
        for run in catalog.runs(RunFilter(service=service, kind=kind, limit=1))
    ]
    # One order for both: dates are ISO 8601 in UTC.
    begun = [(one.begun, "study", one.id) for one in summaries] + [(one.begun, "run", one.id) for one in runs]
    if not begun:
        return catalog.run(ref)  # a run of a study that is gone; or the error that says what there is
    _, kind, found = max(begun)
    return catalog.study(found) if kind == "study" else catalog.run(found)


def _runs_of(catalog: Catalog, study: Study) -> dict[str, Run]:
    """By id; those that are not in this catalog are missing: the page says so."""
    found = {}
    for run_id in dict.fromkeys(run_id for trial in study.trials for run_id in trial.runs):
        try:
            found[run_id] = catalog.run(run_id)
        except NoSuchRunError:
            continue
    return found


def _remarks(environment: Environment) -> tuple[str, ...]:
    """Where the record is of another machine than this one, as far as it says where it is from."""
    cores = tuple(sorted(os.sched_getaffinity(0)))
    here = processor(HOST, cores).model
    there = environment.processor.model
    if there and (there, len(environment.cores)) != (here, len(cores)):
        what = f"{there}, {len(environment.cores)} cores"
        return (
            f"measured on another machine ({what}): its figures hold there, and `trivet replay` here will differ",
        )
    if environment.host and environment.host != platform.node():
        return (f"measured on {environment.host}, a machine like this one",)
    return ()
