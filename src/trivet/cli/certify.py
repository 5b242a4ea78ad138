"""`trivet certify`: its options, and what it prints. The work is done by experiment/certifying/certifying.py."""

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from trivet.experiment.certifying.certifying import Certified


@click.command()
@click.argument("service", metavar="SERVICE.yaml", type=click.Path(path_type=Path))
@click.option(
    "--before",
    metavar="A,B",
    help="Variants that `trivet variants` built, cheapest first, put before the model: a cascade is written and certified.",
)
@click.option("--max-loss", metavar="1%", help="With --before: accuracy that all of them may lose together.")
@click.option("--rows", type=click.IntRange(1), help="Of the data, at most.  [default: all, up to 50,000]")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the division of rows.")
@click.option("--catalog", "catalog_url", metavar="URL", help="Variants are beside it.  [default: ./.trivet]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def certify(
    service: Path,
    before: str | None,
    max_loss: str | None,
    rows: int | None,
    seed: int,
    catalog_url: str | None,
    as_json: bool,
) -> None:
    """Find thresholds for the exits of a cascade that keep its loss within their `max_loss`, and prove it.

    Labelled rows of `data:` go through every stage; those whose `split` says that models were trained on them are left out.
    Writes the certificate (certified.yaml) beside the service, which a server then keeps to. With --before it first writes
    cascade.yaml: the service with variants of its model before the model.
    """
    from trivet.cli.live_line import LiveLine
    from trivet.experiment.certifying.certifying import certify as run
    from trivet.experiment.data_parts import MAX_READ
    from trivet.experiment.placement import place

    with LiveLine(sys.stderr) as line, contextlib.ExitStack() as stack:
        if before is not None or max_loss is not None:
            service = stack.enter_context(_ladder(service, before, max_loss, catalog_url))
            line.say(f"{service}: {before} before the model")
        found = run(
            service,
            place(),
            max_rows=rows or MAX_READ,
            seed=seed,
            say=line.say,
            on_progress=lambda done, total: line.step(f"row {done:,} of {total:,} through all stages"),
        )
    click.echo(_json(found) if as_json else _text(found))


def _ladder(
    service: Path, before: str | None, max_loss: str | None, catalog_url: str | None
) -> "AbstractContextManager[Path]":
    from trivet.errors import UserError
    from trivet.experiment.certifying.laddered import ladder
    from trivet.experiment.variants.variant_store import default_store
    from trivet.spec.units import parse_percent
    from trivet.spec.yaml_tree import plain_value

    if before is None or max_loss is None:
        raise UserError("--before and --max-loss belong together: --before distilled --max-loss 1%")
    names = [name.strip() for name in before.split(",")]
    return ladder(service, names, parse_percent(plain_value(max_loss)), default_store(catalog_url))


def _json(found: "Certified") -> str:
    import msgspec

    tree = {
        "path": str(found.path),
        "certificate": found.certificate,
        "shares": found.shares,
        "accuracy": found.accuracy,
        "full_accuracy": found.full_accuracy,
        "num_asked": found.num_asked,
    }
    return msgspec.json.format(msgspec.json.encode(tree), indent=2).decode()


def _text(found: "Certified") -> str:
    certificate = found.certificate
    best = certificate.points[-1]
    lines = [
        f"certified: with {100 * certificate.confidence:g} % confidence the cascade loses at most "
        f"{100 * max(0.0, best.risk_bound):.2f} points against {list(found.shares)[-1]!r} ({certificate.loss}; "
        f"{100 * certificate.max_loss:g} allowed), on {best.rows:,} rows",
        f"  accuracy {100 * found.accuracy:.2f} %, {100 * found.full_accuracy:.2f} % without exits; at most "
        f"{100 * best.lost:.2f} % of the rows are lost, {100 * best.changed:.2f} % get another answer",
        f"  {100 * best.saving:.0f} % of the last model's time is saved"
        if best.saving > 0
        else f"  nothing is saved: a row takes {100 * (1 - best.saving):.0f} % of the last model's time; serve that one "
        "alone, allow a larger `max_loss`, or certify on more rows",
    ]
    for (name, share), threshold in zip(found.shares.items(), (*best.thresholds, None), strict=True):
        rule = "the others" if threshold is None else f"confidence {threshold:g} or more"
        lines.append(f"    {name}: {100 * share:.0f} % of the rows ({rule})")
    lines.append(
        f"  a server with it gave {found.num_asked:,} rows the same answers; {len(certificate.points)} certified points in "
        f"{found.path}"
    )
    return "\n".join(lines)
