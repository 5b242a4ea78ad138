"""`trivet plan`: its options. The work is done by simulate/."""

from pathlib import Path
from typing import Any

import click

_Path = click.Path(path_type=Path)


@click.command()
@click.argument("service", type=_Path, metavar="SERVICE.yaml|MODEL.onnx")
@click.option(
    "--trace",
    required=True,
    type=_Path,
    help="Times of requests, or counts for each interval: CSV or JSONL, plain or gzipped.",
)
@click.option("--column", help="Of the time in the trace.  [default: found by its name]")
@click.option("--unit", help="Of that time: ns, us, ms, s, min, h, date.  [default: as the file says]")
@click.option("--scale", type=float, default=1.0, show_default=True, help="So many times the trace's load.")
@click.option(
    "--how",
    type=click.Choice(["users", "amplitude"]),
    default="users",
    show_default=True,
    help="More users, or the same ones busier: peaks flatten, or stay.",
)
@click.option("--headroom", default="20%", show_default=True, help="So much more load must be borne.")
@click.option("--slo", metavar="p99:50ms", help="What each replica keeps.  [default: the service's]")
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Of one replica.")
@click.option("--cores", type=click.IntRange(1), help="Of one replica.  [default: as profiled]")
@click.option("--profile", type=_Path, help="Measured times.  [default: beside the catalog]")
@click.option(
    "--requests",
    "num_requests",
    type=click.IntRange(100),
    default=6_000,
    show_default=True,
    help="Simulated for each answer.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--plot", type=_Path, help="Draw the load over time and what the replicas bear: .svg, .png.")
@click.option("--catalog", "catalog_url", metavar="URL", help="Where profiles are.  [default: ./.trivet]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def plan(service: Path, **options: Any) -> None:
    """How many replicas keep the SLO under a trace, what more load takes, and what helps most.

    One replica is as it was profiled (`trivet simulate` does that once). Requests are spread over replicas at random.
    """
    from trivet.cli.plan_run import planned_text

    click.echo(planned_text(service, options))
