"""The run that a command is asked about, where `last` means the last that somebody measured on purpose."""

from typing import TYPE_CHECKING

from trivet.errors import UserError

if TYPE_CHECKING:
    from trivet.catalog.catalog import Catalog
    from trivet.catalog.records import Run


def chosen_run(catalog: "Catalog", text: str) -> "Run":
    """Args: text: an id, the unique beginning of one, `last`, or `last:SERVICE`.

    `last` is of `trivet bench`: what a replay or a gate measured in between is no baseline for the next one.
    Raises: UserError: there is none.
    """
    from trivet.catalog.records import RunFilter

    if text != "last" and not text.startswith("last:"):
        return catalog.run(text)
    service = text.partition(":")[2]
    where = RunFilter(service=service or None, kind="bench", states=("complete",), limit=1)
    for summary in catalog.runs(where):
        return catalog.run(summary.id)
    raise UserError(
        f"no complete run of trivet bench{f' of service {service}' if service else ''} in {catalog}: "
        "measure one first, or name a bundle"
    )
