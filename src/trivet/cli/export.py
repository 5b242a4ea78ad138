"""`trivet export`: a run, or a comparison, as one file that can be measured again elsewhere."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from trivet.cli.chosen import chosen_run
from trivet.cli.runs import CATALOG_HELP, complete_run

if TYPE_CHECKING:
    from trivet.catalog.catalog import Catalog
    from trivet.catalog.records import Run


@click.command()
@click.argument("run", shell_complete=complete_run)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    metavar="BUNDLE.zip",
    help="Replaced if it exists.",
)
@click.option("--alone", is_flag=True, help="Only this run, not those that it was measured in turn with.")
@click.option(
    "--anonymise",
    is_flag=True,
    help="Without names of people, machines and places, and without data, inputs and labels.",
)
@click.option(
    "--keep-data", is_flag=True, help="With --anonymise: but with the data, so that it can be replayed."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--catalog", help=CATALOG_HELP)
def export(
    run: str, output: Path, alone: bool, anonymise: bool, keep_data: bool, as_json: bool, catalog: str | None
) -> None:
    """Write RUN, with everything that it takes to measure it again, into one file."""
    import msgspec

    from trivet.catalog.catalog import Catalog
    from trivet.errors import UserError
    from trivet.experiment.replay import bundle

    if keep_data and not anonymise:
        raise UserError("--keep-data goes with --anonymise: without it the data is in the bundle anyway")
    opened = Catalog.open(catalog, create=False)
    one = chosen_run(opened, run)
    runs = [one] if alone else group_of(opened, one)
    made = bundle.export(opened, runs, output, anonymise=anonymise, keep_data=keep_data)
    values = {
        "bundle": str(output),
        "digest": made.digest,
        "bytes": output.stat().st_size,
        "runs": [one.id for one in made.runs],
        "removed": list(made.manifest.removed),
    }
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(values)).decode())
        return
    click.echo(f"wrote {output}: {', '.join(one.id for one in made.runs)}; digest {made.digest}")
    for removed in made.manifest.removed:
        click.echo(f"taken out: {removed}")
    click.echo(f"next:  trivet replay {output}")


def group_of(catalog: "Catalog", run: "Run") -> "list[Run]":
    """The runs that were measured in turn with `run`, in the order they began, the yardstick last; alone: only itself."""
    from trivet.catalog.records import RunFilter
    from trivet.experiment.yardstick import is_yardstick

    if not run.group:
        return [run]
    ids = [summary.id for summary in catalog.runs(RunFilter(group=run.group))]
    return sorted(
        (catalog.run(run_id) for run_id in ids), key=lambda one: (is_yardstick(one), one.begun, one.id)
    )
