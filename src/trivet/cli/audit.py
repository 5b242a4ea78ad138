"""`trivet audit`: who did what, and whether the log is as it was written."""

import sys

import click

from trivet.cli.runs import CATALOG_HELP


@click.group()
def audit() -> None:
    """Read and verify the catalog's audit log."""


@audit.command()
@click.option("--head", metavar="HASH", help="A hash noted earlier: it must still be in the log.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--catalog", help=CATALOG_HELP)
def verify(head: str | None, as_json: bool, catalog: str | None) -> None:
    """Check the chain of hashes; name the first broken link. Exits 1 where there is one."""
    import msgspec

    from trivet.catalog.catalog import Catalog

    log = Catalog.open(catalog, create=False).audit
    broken = log.verify(head)
    newest = log.entries(limit=1)
    values = {
        "broken": msgspec.to_builtins(broken),
        "entries": newest[0].number if newest else 0,
        "head": newest[0].hash if newest else "",
    }
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(values)).decode())
    elif broken is not None:
        click.echo(f"broken at {broken}")
    elif newest:
        click.echo(f"whole: {values['entries']} entries; note the newest hash elsewhere: {values['head']}")
    else:
        click.echo("whole: no entries yet")
    sys.exit(1 if broken is not None else 0)


@audit.command()
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="The newest so many.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--catalog", help=CATALOG_HELP)
def log(limit: int, as_json: bool, catalog: str | None) -> None:
    """Print the newest entries, in their order."""
    import msgspec

    from trivet.catalog.catalog import Catalog

    entries = Catalog.open(catalog, create=False).audit.entries(limit)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(entries)).decode())
        return
    for entry in entries:
        details = "" if entry.details == "{}" else f"  {entry.details}"
        click.echo(f"{entry.number}  {entry.date}  {entry.actor}  {entry.action}  {entry.subject}{details}")
