"""`trivet runs` and `trivet show`: what the catalog knows."""

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from trivet.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trivet.catalog.catalog import Catalog
    from trivet.catalog.records import RunSummary
    from trivet.catalog.study import StudySummary

_MOST_COMPARED, _MOST_OFFERED = 1000, 50  # ids that a completion looks through, and that it shows

STATES = ("running", "complete", "partial", "invalid", "failed", "interrupted")
KINDS = ("bench", "replay", "gate", "tune")
CATALOG_HELP = "A folder, sqlite:///FILE or postgresql://...  [default: $TRIVET_CATALOG, else ./.trivet]"
_UNITS = {"min": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_COLUMNS = {  # of a list: heading -> figure
    "p50 ms": "latency_p50_ms",
    "p99 ms": "latency_p99_ms",
    "rps": "throughput_rps",
    "accuracy": "accuracy",
}


def complete_run(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[Any]:
    """Ids of the newest runs, for the shell. A shell cannot show an error here, so there are none."""
    from click.shell_completion import CompletionItem

    try:
        from trivet.catalog.records import RunFilter

        summaries = _completed_from(context).runs(RunFilter(limit=_MOST_COMPARED))
    except UserError:
        return []
    words = ["last", *dict.fromkeys(f"last:{run.service}" for run in summaries)]
    return [
        *_items(summaries, incomplete),
        *(CompletionItem(word) for word in words if word.startswith(incomplete)),
    ]


def complete_run_or_study(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[Any]:
    """The same, and ids of the newest studies before them."""
    try:
        from trivet.catalog.study import StudyFilter

        summaries = _completed_from(context).studies(StudyFilter(limit=_MOST_COMPARED))
    except UserError:
        return []
    return [*_items(summaries, incomplete), *complete_run(context, parameter, incomplete)]


def _completed_from(context: click.Context) -> "Catalog":
    from trivet.catalog.catalog import Catalog

    return Catalog.open(context.params.get("catalog") or context.params.get("catalog_url"), create=False)


def _items(summaries: "Sequence[RunSummary | StudySummary]", incomplete: str) -> list[Any]:
    from click.shell_completion import CompletionItem

    found = [one for one in summaries if one.id.startswith(incomplete)][:_MOST_OFFERED]
    return [CompletionItem(one.id, help=f"{one.service} {one.state} {one.begun[:16]}") for one in found]


@click.command()
@click.option("--service", help="Only runs of this service.")
@click.option(
    "--state", "states", multiple=True, type=click.Choice(STATES), help="May be given several times."
)
@click.option("--kind", type=click.Choice(KINDS))
@click.option("--since", metavar="AGE|DATE", help="90min, 12h, 3d, 2w, or a date such as 2026-11-20.")
@click.option("--tag", "tags", multiple=True, metavar="NAME[=VALUE]", help="May be given several times.")
@click.option("--configuration", default="", metavar="HASH", help="The hash, or its beginning.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="The newest so many.")
@click.option("--all", "no_limit", is_flag=True, help="However many there are.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--mlflow",
    metavar="URI",
    help="Also copy the listed runs to MLflow: a server's URL, or sqlite:///FILE.",
)
@click.option("--catalog", help=CATALOG_HELP)
def runs(
    service: str | None,
    states: tuple[Any, ...],
    kind: Any,
    since: str | None,
    tags: tuple[str, ...],
    configuration: str,
    limit: int,
    no_limit: bool,
    as_json: bool,
    mlflow: str | None,
    catalog: str | None,
) -> None:
    """List the runs of the catalog, newest first."""
    import msgspec

    from trivet.catalog.catalog import Catalog
    from trivet.catalog.records import RunFilter

    where = RunFilter(
        service=service,
        states=states,
        kind=kind,
        since=None if since is None else since_date(since, datetime.now(UTC)),
        tags=tuple(_tag(text) for text in tags),
        configuration=configuration,
        limit=None if no_limit else limit,
    )
    opened = Catalog.open(catalog, create=False)
    found = opened.runs(where)
    if mlflow is not None:
        from trivet.catalog.mlflow_export import export_runs

        copied = export_runs(opened, [opened.run(run.id) for run in found], mlflow)
        click.echo(f"in MLflow at {mlflow}: {len(copied)} runs", err=True)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found)).decode())
    elif found:
        click.echo(table(found))
    else:
        click.echo("no runs" + (" that match" if where != RunFilter(limit=where.limit) else " yet"))


@click.command()
@click.argument("run", metavar="RUN|STUDY", shell_complete=complete_run_or_study)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--catalog", help=CATALOG_HELP)
def show(run: str, as_json: bool, catalog: str | None) -> None:
    """Show one run: figures with their intervals, workload, seeds, environment, artifacts; or what a study found.

    RUN|STUDY is an id, or the beginning of one; "last" and "last:SERVICE" are the newest run.
    """
    import msgspec

    from trivet.catalog.catalog import Catalog
    from trivet.catalog.references import is_last
    from trivet.catalog.study import Study

    opened = Catalog.open(catalog, create=False)
    found = opened.run(run) if is_last(run) else opened.study_or_run(run)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found)).decode())
    elif isinstance(found, Study):
        from trivet.cli.tune_text import study_text

        click.echo("\n".join(study_text(found, None)))
    else:
        from trivet.cli.show import as_text

        click.echo(as_text(found))


def table(found: "list[RunSummary]") -> str:
    """One line for each run; columns of figures that none of them has are left out."""
    figures = {head: name for head, name in _COLUMNS.items() if any(name in run.figures for run in found)}
    rows = [["run", "begun", "kind", "service", "configuration", "state", *figures]]
    for run in found:
        row = [run.id, run.begun[:16].replace("T", " "), run.kind, run.service]
        row += [run.configuration_hash[:12], run.state]
        for name in figures.values():
            figure = run.figures.get(name)
            row.append("" if figure is None else f"{figure.estimate:.4g}")
        rows.append(row)
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)


def since_date(text: str, now: datetime) -> str:
    """ISO 8601 in UTC of an age or a date; a date without a zone is in UTC, as the catalog's are.

    Raises: UserError: neither.
    """
    age = re.fullmatch(r"(\d{1,6})(min|h|d|w)", text)
    if age is not None:
        moment = now - timedelta(**{_UNITS[age[2]]: int(age[1])})
    else:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise UserError(
                f"--since {text}: expected an age such as 90min, 12h, 3d or 2w, or a date such as 2026-11-20"
            ) from None
        moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")


def _tag(text: str) -> tuple[str, str | None]:
    name, equals, value = text.partition("=")
    return name, value if equals else None
