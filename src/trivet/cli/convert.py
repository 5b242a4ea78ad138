"""`trivet convert`: a fitted model of a Python library as an ONNX file."""

from pathlib import Path

import click

_Path = click.Path(path_type=Path)


@click.command()
@click.argument("target", metavar="FILE.py:MODEL|MODULE:MODEL")
@click.option("--to", "output", required=True, type=_Path, metavar="MODEL.onnx", help="What is written.")
@click.option("--data", type=_Path, help="Rows to check on: CSV, Parquet, npz.  [default: random numbers]")
@click.option(
    "--columns", default="", metavar="A,B", help="Of the data, in the model's order.  [default: as it says]"
)
@click.option("--label", help="A column of the data that is no input.")
@click.option("--shape", default="", metavar="3,224,224", help="Of one row, where nothing else tells it.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of random rows.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def convert(
    target: str,
    output: Path,
    data: Path | None,
    columns: str,
    label: str | None,
    shape: str,
    seed: int,
    as_json: bool,
) -> None:
    """Convert a fitted scikit-learn, LightGBM, XGBoost or PyTorch model to ONNX, and compare its answers.

    TARGET is a model, or a function without arguments that returns one, in Python code beside where you are. No pickle is
    opened: code that loads one is yours.
    """
    import msgspec

    from trivet.errors import UserError
    from trivet.variants.convert import convert_model

    sizes = [part for part in shape.split(",") if part]
    if not all(part.strip().isdecimal() for part in sizes):
        raise UserError(f"--shape {shape!r}: expected SIZE,SIZE...")
    found = convert_model(
        target,
        output,
        root=Path.cwd(),
        data=data,
        columns=[name for name in columns.split(",") if name],
        label=label,
        shape=[int(part) for part in sizes],
        seed=seed,
    )
    if as_json:
        click.echo(msgspec.json.encode(found, enc_hook=str).decode())
        return
    click.echo(f"wrote {found.path} from a model of {found.library}; compared on {found.rows}:")
    for one in found.differences:
        beyond = (
            f"; {100 * one.share_beyond:.2f} % of rows differ by more than 0.1 %" if one.share_beyond else ""
        )
        click.echo(f"  {one.output}: largest difference {one.largest:.3g}{beyond}")
    if not found.is_same:
        click.echo(
            "the answers are not the same: judge both on labelled rows before you serve the ONNX file",
            err=True,
        )
    click.echo(f"next:  trivet serve {found.path}   trivet init {found.path}")
