"""`trivet simulate`: its options. The work is done by simulate/ and experiment/."""

from pathlib import Path
from typing import Any

import click


@click.command()
@click.argument("service", type=click.Path(path_type=Path), metavar="SERVICE.yaml|MODEL.onnx")
@click.option("--rate", type=click.FloatRange(0, min_open=True), help="Requests a second.")
@click.option("--trace", metavar="FILE[:users|amplitude|time:FACTOR]", help="Recorded arrivals instead.")
@click.option(
    "--arrivals",
    default="poisson",
    show_default=True,
    metavar="KIND",
    help="As in trivet bench: poisson, gamma:CV, ...",
)
@click.option("--duration", help="Of each simulated run.  [default: 30s; a trace: all of it]")
@click.option(
    "--popularity",
    default="even",
    show_default=True,
    metavar="KIND",
    help="How often inputs repeat: even, or zipf:1.0. What caches gain depends on it.",
)
@click.option("--largest-rate", is_flag=True, help="The largest rate within the SLO, too.")
@click.option("--slo", metavar="p99:50ms", help="What attainment counts by.  [default: the service's]")
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True)
@click.option(
    "--cores", type=click.IntRange(1), help="Of the server.  [default: those a benchmark would give it]"
)
@click.option("--replications", type=click.IntRange(2), default=20, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option(
    "--profile", type=click.Path(path_type=Path), help="Measured times.  [default: beside the catalog]"
)
@click.option("--again", is_flag=True, help="Measure the profile anew.")
@click.option(
    "--check", is_flag=True, help="Measure a short live run, too, and record how far the forecast is off."
)
@click.option("--plot", type=click.Path(path_type=Path), help="Draw the forecast latencies: .svg, .png.")
@click.option("--catalog", "catalog_url", metavar="URL", help="Where errors are kept.  [default: ./.trivet]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def simulate(service: Path, **options: Any) -> None:
    """Forecast latency and throughput under a load, in virtual time.

    What engines and host take is profiled once (half a minute); beyond what was profiled nothing is forecast.
    """
    from trivet.cli.simulate_run import simulated_text

    click.echo(simulated_text(service, options))
