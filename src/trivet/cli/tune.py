"""`trivet tune`: its options. The work is done by tune/, what is printed by tune_text.py."""

from pathlib import Path
from typing import Any

import click

from trivet.cli.runs import CATALOG_HELP

EXIT_STOPPED = 130


@click.command()
@click.argument("service", required=False, metavar="SERVICE.yaml|MODEL.onnx")
@click.option(
    "--budget", default="5min", show_default=True, metavar="TIME", help="Without building variants."
)
@click.option(
    "--variants",
    "which",
    type=click.Choice(["built", "all", "none"]),
    help="built: only those that are judged already.  [default: build those that need no training, or little]",
)
@click.option("--objective", type=click.Choice(["rate", "latency", "cost"]), help="[default: the service's]")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option(
    "--resume",
    is_flag=False,
    flag_value="last",
    metavar="[STUDY]",
    help="Go on with a study that was stopped.  [default: the last one]",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where the recommended configuration is written.  [default: configuration.yaml beside the service]",
)
@click.option(
    "--max-send-lag",
    default="1ms",
    show_default=True,
    help="Of the load generator at the 99th percentile; a block with more counts for nothing.",
)
@click.option("--list", "is_list", is_flag=True, help="List the studies of the catalog, newest first.")
@click.option("--catalog", "catalog_url", metavar="URL", help=CATALOG_HELP)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def tune(context: click.Context, /, service: str | None, is_list: bool, **options: Any) -> None:
    """Search every lever, measure honestly, recommend, and write the recommended configuration.

    Profiles the service, simulates its configurations, and verifies the best few by live trials. Exits with 0 where the
    recommendation meets the goal, 2 where nothing does or nothing could be verified, 1 (failed), 130 (stopped: what was
    measured is kept, and --resume goes on).
    """
    from trivet.cli.tune_run import list_studies, tune_service
    from trivet.errors import UserError

    if is_list:
        click.echo(list_studies(options["catalog_url"], as_json=options["as_json"]))
        return
    if service is None:
        raise UserError("name a service.yaml or a model file, or --list")
    try:
        context.exit(tune_service(service, options))
    except KeyboardInterrupt:  # before the study had begun: variants that were built are kept
        context.exit(EXIT_STOPPED)
