"""`trivet precompute`: its options. The work is done by experiment/precomputing/precompute.py."""

from pathlib import Path

import click


@click.command()
@click.argument("service", type=click.Path(path_type=Path), metavar="SERVICE.yaml|MODEL.onnx")
@click.argument("inputs", type=click.Path(path_type=Path), metavar="INPUTS.parquet|.csv|.npz")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="The answer table.  [default: the service's precomputed.table, else answers.parquet beside it]",
)
@click.option(
    "--normal-priority",
    is_flag=True,
    help="Take processor time like any other process; by default only idle time.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def precompute(
    service: Path, inputs: Path, output: Path | None, normal_priority: bool, as_json: bool
) -> None:
    """Answer a file of inputs ahead of time, and publish the answers as a table that the server looks in first.

    A job that is broken off goes on where it was when the same command is given again.
    """
    from trivet.cli.precompute_run import precomputed_text

    click.echo(precomputed_text(service, inputs, output, gives_way=not normal_priority, as_json=as_json))
