"""`trivet losses`: how much less accurate those are that stand in under load, and what to declare."""

import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from trivet.experiment.certifying.ladder_losses import RungLoss


@click.command()
@click.argument("service", metavar="SERVICE.yaml")
@click.option("--rows", type=click.IntRange(1), default=2000, show_default=True, help="Of data, at most.")
@click.option("--catalog", "catalog_url", metavar="URL", help="Where they are kept.  [default: ./.trivet]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def losses(service: str, rows: int, catalog_url: str | None, *, as_json: bool) -> None:
    """Measure how much less accurate each model under `degrade:` is than the one that it stands in for.

    Each is asked the same labelled rows of `data:` behind the service's own stages, through a server of its own. What is
    found is kept beside the catalog: `trivet tune` reckons with it.
    """
    import msgspec

    from trivet.cli.live_line import LiveLine
    from trivet.errors import UserError
    from trivet.experiment.certifying.kept_losses import keep_losses, losses_path
    from trivet.experiment.certifying.ladder_losses import measured_losses
    from trivet.experiment.placement import place
    from trivet.experiment.target import subject_of

    configuration = subject_of(service).configuration
    if configuration is None:
        raise UserError(f"{service} is a server that runs: name the service file")
    with LiveLine(sys.stderr) as line:
        found = measured_losses(
            configuration,
            place(),
            rows,
            lambda what, done, total: line.step(f"{what} ({done + 1} of {total})"),
        )
    keep_losses(losses_path(configuration, catalog_url), found)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    else:
        click.echo("\n".join(_text(found)))


def _text(found: "list[RungLoss]") -> list[str]:
    from trivet.experiment.certifying.ladder_losses import declared_lines

    lines = [
        f"{one.model}: loss {one.loss} on {one.num_rows} rows; declared {one.declared:g}" for one in found
    ]
    return [*lines, "", "to declare:", *(f"    {line}" for line in declared_lines(found))]
