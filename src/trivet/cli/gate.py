"""`trivet gate`: may this configuration take the place of the baseline? For CI."""

import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trivet.cli.chosen import chosen_run
from trivet.cli.exits import undecided_on_error
from trivet.cli.runs import CATALOG_HELP, complete_run, since_date

if TYPE_CHECKING:
    from trivet.catalog.catalog import Catalog
    from trivet.catalog.records import Run
    from trivet.experiment.gate.gate import Gate
    from trivet.experiment.gate.history import Suspect
    from trivet.experiment.replay.evidence import RecordStore
    from trivet.experiment.target import Subject

MAX_HISTORY = 60
_Path = click.Path(path_type=Path)


@click.command()
@click.argument("candidate", metavar="SERVICE.yaml|MODEL.onnx")
@click.option(
    "--baseline",
    required=True,
    metavar="RUN|BUNDLE.zip",
    shell_complete=complete_run,
    help="What is live, or was.",
)
@click.option("--budget", default="5min", show_default=True, metavar="TIME", help="To confirm or clear.")
@click.option(
    "--since",
    metavar="AGE|DATE",
    help="No suspects from history before it: where a slower service was agreed on.",
)
@click.option(
    "--margin",
    "margins",
    multiple=True,
    metavar="FIGURE=PERCENT",
    help="What makes no difference, and which figures are judged.  "
    "[default: latency_p50_ms=3, latency_p99_ms=10, throughput_rps=3]",
)
@click.option("--junit", type=_Path, help="Write the findings there as JUnit XML.")
@click.option("--markdown", type=_Path, help="Write the findings there as Markdown.")
@click.option("--bundle", type=_Path, help="Archive all that was measured there.")
@click.option("--data", type=_Path, help="The baseline's data, where it is not kept.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--catalog", help=CATALOG_HELP)
def gate(
    candidate: str,
    baseline: str,
    budget: str,
    since: str | None,
    margins: tuple[str, ...],
    junit: Path | None,
    markdown: Path | None,
    bundle: Path | None,
    data: Path | None,
    as_json: bool,
    catalog: str | None,
) -> None:
    """Measure the service beside a baseline, in turn. Exits 0: pass, 1: regression, 2: not enough data."""
    from trivet.catalog.catalog import Catalog
    from trivet.experiment.target import subject_of

    with undecided_on_error():
        budget_ns = _budget_ns(budget)
        begun = None if since is None else since_date(since, datetime.now(UTC))
        opened = Catalog.open(catalog)
        run, store = _baseline(opened, baseline)
        subject = subject_of(candidate)
        with tempfile.TemporaryDirectory(prefix="trivet-gate-") as folder:
            result = _gate(opened, run, store, subject, Path(folder), budget_ns, begun, margins, data)
        details = {"outcome": result.outcome, "baseline": run.id, "runs": list(result.runs)}
        opened.audit.append("trivet gate", "gate", run.service, details)
        _print(result, run, as_json)  # first: minutes went into it, and a file may not be writable
        _write(result, opened, run.service, junit, markdown, bundle)
    sys.exit(result.exit_code)


def _budget_ns(text: str) -> int:
    from trivet.errors import SpecError
    from trivet.spec.units import parse_duration_ns

    try:
        return parse_duration_ns(text)
    except SpecError as error:
        raise SpecError(str(error), "--budget") from None


def _baseline(catalog: "Catalog", text: str) -> "tuple[Run, RecordStore]":
    """Raises: UserError: no such run, or none that was measured to the end; a bundle of several."""
    from trivet.errors import UserError
    from trivet.experiment.replay import bundle
    from trivet.experiment.replay.replay import check_replayable

    store: RecordStore = catalog
    if Path(text).is_file():
        found = bundle.read(Path(text))
        if len(found.runs) != 1:
            raise UserError(
                f"{text} holds {len(found.runs)} runs; a baseline is one: trivet export RUN --alone"
            )
        run, store = found.runs[0], found
    else:
        run = chosen_run(catalog, text)
    check_replayable([run])
    return run, store


def _gate(
    catalog: "Catalog",
    run: "Run",
    store: "RecordStore",
    candidate: "Subject",
    folder: Path,
    budget_ns: int,
    begun: str | None,
    margins: tuple[str, ...],
    data: Path | None,
) -> "Gate":
    from trivet.clock import MonotonicClock
    from trivet.experiment.gate.gate import gate as decide
    from trivet.experiment.gate.rounds import BASELINE, CANDIDATE, rounds
    from trivet.experiment.replay.again import subject_of_run, workload_of

    sides = {
        BASELINE: subject_of_run(run, store, folder / BASELINE, here=False, data=data),
        CANDIDATE: candidate,
    }
    suspects = _suspects(catalog, run, begun)
    earlier = _earlier(catalog, suspects, [run.configuration_hash, _hash(candidate)])
    if earlier is not None:
        sides[earlier.id] = subject_of_run(earlier, catalog, folder / earlier.id, here=False, data=data)
    workload = workload_of(run, store, folder, data)
    return decide(
        rounds(
            sides,
            workload,
            catalog,
            budget_ns=budget_ns,
            command=sys.argv,
            tags={"baseline": run.id},
            say=_say,
        ),
        candidate=CANDIDATE,
        references=[name for name in sides if name != CANDIDATE],
        clock=MonotonicClock(),
        budget_ns=budget_ns,
        margins=_margins(margins),
        suspects=suspects,
        notes=[*_notes(run, candidate), *_along(earlier)],
    )


def _suspects(catalog: "Catalog", run: "Run", begun: str | None) -> "list[Suspect]":
    """Of the newest runs of the service that no gate or replay made: those measure what may never go live.

    Args: begun: ISO 8601, UTC: only of runs from then on.
    """
    from trivet.catalog.records import RunFilter
    from trivet.experiment.gate.history import comparable, suspects

    where = RunFilter(service=run.service, kind="bench", states=("complete",), since=begun, limit=MAX_HISTORY)
    known = [catalog.run(summary.id) for summary in catalog.runs(where)]
    return suspects(comparable(known, run))


def _earlier(catalog: "Catalog", suspects: "list[Suspect]", measured: list[str]) -> "Run | None":
    """A run from before the oldest change that is not measured anyway; one is all that the budget has room for."""
    for suspect in suspects:
        steady = catalog.run(suspect.steady)
        if steady.configuration_hash and steady.configuration_hash not in measured:
            return steady
    return None


def _along(earlier: "Run | None") -> list[str]:
    if earlier is None:
        return []
    return [
        f"run {earlier.id} of {earlier.begun[:10]}, from before the oldest suspect of the history, was measured along; "
        "where what changed since was agreed on, --since DATE leaves out what came before"
    ]


def _hash(subject: "Subject") -> str:
    return subject.configuration.hash if subject.configuration is not None else ""


def _notes(run: "Run", candidate: "Subject") -> list[str]:
    from trivet.catalog.environment import fingerprint
    from trivet.experiment.replay.check_content import surroundings

    notes = []
    if run.configuration_hash == _hash(candidate):
        notes.append(
            "candidate and baseline are the same configuration: a change of libraries or of trivet cannot be seen here, "
            f"as both sides run with what is installed; `trivet replay {run.id}` looks for one"
        )
    if around := surroundings(run.environment, fingerprint(pinning=run.environment.pinning)):
        notes.append(
            "not as it was for the baseline, and the same for both sides: " + "; ".join(map(str, around))
        )
    return notes


def _margins(texts: tuple[str, ...]) -> dict[str, float]:
    """Raises: UserError: not a figure that can be gated, or no percentage."""
    from trivet.errors import UserError
    from trivet.experiment.gate.decision import MARGINS, MIN_EFFECT, PAIRED

    found = {}
    for text in texts:
        figure, _, percent = text.partition("=")
        if figure not in PAIRED:
            raise UserError(f"--margin {text}: no figure {figure!r} of blocks; known: {', '.join(PAIRED)}")
        try:
            margin = float(percent.rstrip("%")) / 100
        except ValueError:
            margin = 0.0
        if not MIN_EFFECT < margin < 10:
            raise UserError(f"--margin {text}: expected FIGURE=PERCENT, over {MIN_EFFECT * 100:g}")
        found[figure] = margin
    return found or dict(MARGINS)


def _write(
    result: "Gate",
    catalog: "Catalog",
    service: str,
    junit: Path | None,
    markdown: Path | None,
    bundle: Path | None,
) -> None:
    from trivet.errors import UserError
    from trivet.experiment.gate.junit import junit_xml
    from trivet.experiment.gate.markdown import markdown_text
    from trivet.experiment.replay.bundle import export

    try:
        if junit is not None:
            junit.write_bytes(junit_xml(result, service))
        if markdown is not None:
            markdown.write_text(markdown_text(result, service))
    except OSError as error:
        raise UserError(f"{error.filename} cannot be written: {error.strerror}") from None
    if bundle is not None and result.runs:
        export(catalog, [catalog.run(run_id) for run_id in result.runs], bundle)


def _say(text: str) -> None:
    click.echo(text, err=True)


def _print(result: "Gate", run: "Run", as_json: bool) -> None:
    import msgspec

    from trivet.experiment.gate.markdown import markdown_text

    if as_json:
        values: dict[str, Any] = msgspec.to_builtins(result) | {
            "baseline": run.id,
            "exit_code": result.exit_code,
        }
        click.echo(msgspec.json.format(msgspec.json.encode(values)).decode())
        return
    click.echo(markdown_text(result, run.service))
