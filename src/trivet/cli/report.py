"""`trivet report`: a study or a run as one HTML file, as Markdown for a pull request, and its pictures."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trivet.cli.runs import CATALOG_HELP, complete_run_or_study

if TYPE_CHECKING:
    from trivet.report.reported import Reported

_Path = click.Path(path_type=Path)
STDOUT = "-"


@click.command()
@click.argument("ref", metavar="STUDY|RUN", shell_complete=complete_run_or_study)
@click.option("--html", type=_Path, help="Where the page goes.  [default: SERVICE-ID.html]")
@click.option(
    "--markdown",
    is_flag=False,
    flag_value=STDOUT,
    metavar="[FILE]",
    help="One screen for a pull request, printed or to a file; a page is only written with --html then.",
)
@click.option(
    "--plots", type=_Path, metavar="DIR", help="Each picture as SVG and PNG; the page as with --markdown."
)
@click.option("--open", "opens", is_flag=True, help="Show the page in a browser.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print the whole record, and what was written, as JSON."
)
@click.option("--catalog", "catalog_url", help=CATALOG_HELP)
def report(
    ref: str,
    html: Path | None,
    markdown: str | None,
    plots: Path | None,
    opens: bool,
    as_json: bool,
    catalog_url: str | None,
) -> None:
    """Write a study or a run as one HTML page that needs nothing else to be read.

    STUDY|RUN is an id, the beginning of one, "last", or "last:SERVICE".
    """
    from trivet.catalog.catalog import Catalog
    from trivet.report.reported import reported

    found = reported(Catalog.open(catalog_url, create=False), ref)
    for line in found.remarks:
        click.echo(f"note: {line}", err=True)
    wants_page = html is not None or opens or not (markdown or plots or as_json)
    written = _write(found, html or Path(found.file_name) if wants_page else None, markdown, plots)
    if as_json:
        click.echo(_json(found, written))
    elif markdown == STDOUT:
        click.echo(found.markdown(), nl=False)
    else:
        click.echo("\n".join(f"wrote {path}" for path in written))
    if opens:
        click.launch(str((html or Path(found.file_name)).resolve()))


def _write(found: "Reported", html: Path | None, markdown: str | None, plots: Path | None) -> list[Path]:
    """Raises: UserError: a place that cannot be written."""
    from trivet.errors import UserError

    written = []
    try:
        if html is not None:
            html.parent.mkdir(parents=True, exist_ok=True)
            html.write_text(found.html(), encoding="utf-8")
            written.append(html)
        if markdown not in (None, STDOUT):
            path = Path(str(markdown))
            path.write_text(found.markdown(), encoding="utf-8")
            written.append(path)
        if plots is not None:
            written += found.write_pictures(plots)
    except OSError as error:
        raise UserError(
            f"the report cannot be written to {error.filename}: {error.strerror}; name another place"
        ) from None
    return written


def _json(found: "Reported", written: list[Path]) -> str:
    import msgspec

    values: dict[str, Any] = {**found.values, "written": [str(path) for path in written]}
    return msgspec.json.format(msgspec.json.encode(values)).decode()
