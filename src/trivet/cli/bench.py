"""`trivet bench`: its options, and what it prints. The work is done by experiment/."""

from pathlib import Path
from typing import Any

import click

_EXIT_CODES = {"complete": 0, "failed": 1, "invalid": 2, "partial": 130}


@click.command()
@click.argument("targets", nargs=-1, required=True, metavar="SERVICE.yaml|MODEL.onnx|URL...")
@click.option("--rate", type=float, help="Requests a second.  [default: half of what 16 users get]")
@click.option("--duration", help="Of each target's load, after warm-ups.  [default: 10s; MLPerf: 600s]")
@click.option(
    "--arrivals",
    default="poisson",
    show_default=True,
    metavar="KIND",
    help="poisson, constant, gamma:CV, mmpp, curve:FILE, or trace:FILE[:users|amplitude|time:FACTOR].",
)
@click.option("--users", type=click.IntRange(1), help="A closed loop of so many users instead of a rate.")
@click.option("--think-time", default="0ms", show_default=True, help="Of a user between answer and request.")
@click.option(
    "--scenario",
    default="steady",
    show_default=True,
    help="steady, ramp, overload, spike, soak, or MLPerf's: mlperf-singlestream, -multistream, -server, -offline.",
)
@click.option(
    "--popularity",
    default="even",
    show_default=True,
    metavar="KIND",
    help="How often inputs repeat: even, or zipf:1.0 over up to 10,000 of them. Caches can only be judged with it.",
)
@click.option("--slo", metavar="p99:50ms", help="What goodput counts by.  [default: the service's]")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option(
    "--blocks", type=click.IntRange(1), help="Parts of the load, in turn.  [default: 1; several targets: 16]"
)
@click.option(
    "--starts",
    type=click.IntRange(1),
    help="How often each target is started for them.  [default: 1; several: as often as the load is long]",
)
@click.option(
    "--turn",
    metavar="TIME",
    help="Of each target in a block; 0s: a block each.  [default: by the load, 20ms or more]",
)
@click.option(
    "--yardstick",
    is_flag=True,
    help="In turn with a service of fixed work: a later replay tells times by it, whatever mood the machine is in.",
)
@click.option(
    "--until-decided",
    is_flag=True,
    help="Stop when a figure of two targets is told apart, or p50 and p99 are equivalent.",
)
@click.option(
    "--input", "inputs", metavar="FILE", help="Rows of inputs: CSV, Parquet, npz, Perf Analyzer's JSON."
)
@click.option(
    "--shape",
    "shapes",
    multiple=True,
    metavar="NAME:16",
    help="Of an input with free dimensions.  [default: 1 each]",
)
@click.option("--binary/--json-tensors", help="How V2 tensors travel.  [default: JSON]")
@click.option(
    "--dialect",
    type=click.Choice(["v2", "json", "openai-chat", "openai-embeddings"]),
    default="v2",
    show_default=True,
)
@click.option(
    "--template", default="", metavar="JSON|FILE", help="Of dialect json: the body with {{places}}."
)
@click.option("--answer", default="", metavar="NAME=$.PATH", help="Of dialect json: where the outputs are.")
@click.option("--name", default="", help="The model at a URL that has several.")
@click.option("--model-version", default="", help="Its version.")
@click.option("--workers", type=click.IntRange(1), help="Of a server that is started.  [default: auto]")
@click.option("--split", help="Only these labelled rows are judged.")
@click.option(
    "--labelled", type=click.IntRange(0), default=1000, show_default=True, help="Rows to judge at most."
)
@click.option("--timeout", default="5s", show_default=True, help="After it a request is given up.")
@click.option(
    "--phases/--no-phases", default=True, help="Our own server tells where each request's time went."
)
@click.option(
    "--max-send-lag", default="1ms", show_default=True, help="At the 99th percentile; a later run is INVALID."
)
@click.option(
    "--controlled",
    is_flag=True,
    help="p99 once more, with a simulation of the same arrivals as control variate: a narrower interval.",
)
@click.option(
    "--profile",
    type=click.Path(path_type=Path),
    help="What --controlled simulates with.  [default: beside the catalog]",
)
@click.option("--tag", "tags", multiple=True, metavar="K=V", help="Kept with the run.")
@click.option("--catalog", "catalog_url", metavar="URL", help="Where runs are kept.  [default: ./.trivet]")
@click.option("--no-record", is_flag=True, help="Keep nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def bench(context: click.Context, /, targets: tuple[str, ...], **options: Any) -> None:
    """Measure services, models or running servers under load.

    What is named by a file is started for it, on cores of its own. Several targets are measured in interleaved
    blocks on the same arrivals. Exits with 0, or 1 (failed), 2 (INVALID), 130 (stopped: what was measured is kept).
    """
    from trivet.cli.bench_run import measure_targets

    try:
        states = measure_targets(targets, options)
    except KeyboardInterrupt:  # before any run had begun: there is nothing to keep
        context.exit(_EXIT_CODES["partial"])
    context.exit(max((_EXIT_CODES[state] for state in states), default=0))


@click.command()
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option(
    "--margin",
    type=click.FloatRange(0.001, 1),
    help="What does not matter, of every figure.  [default: 0.03 of p50, throughput and cpu, 0.05 of p95, 0.1 of p99]",
)
@click.option(
    "--plot",
    type=click.Path(path_type=Path),
    help="Draw both distributions and the shift function: .svg, .png.",
)
@click.option("--catalog", "catalog_url", metavar="URL", help="Where runs are kept.  [default: ./.trivet]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def compare(
    first: str, second: str, margin: float | None, plot: Path | None, catalog_url: str | None, as_json: bool
) -> None:
    """Compare run B with run A: effect, interval and verdict for every figure.

    A and B are ids, unique beginnings of ids, `last`, or `last:SERVICE`.
    """
    from trivet.cli.compare import compare_runs

    click.echo(compare_runs(first, second, margin=margin, plot=plot, url=catalog_url, as_json=as_json))
