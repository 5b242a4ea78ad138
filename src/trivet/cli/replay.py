"""`trivet replay`: measure a recorded run again, and say whether it came out the same."""

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trivet.cli.chosen import chosen_run
from trivet.cli.exits import undecided_on_error
from trivet.cli.runs import CATALOG_HELP, complete_run

if TYPE_CHECKING:
    from trivet.catalog.catalog import Catalog
    from trivet.catalog.records import Run
    from trivet.experiment.replay.evidence import RecordStore
    from trivet.experiment.replay.replay import Replay

EXIT_CODES = {"reproduced": 0, "differs": 1, "cannot tell": 2}
_SIGNS = {"same": "=", "differs": "x", "cannot tell": "?", "not compared": "-"}


@click.command()
@click.argument("recorded", metavar="RUN|BUNDLE.zip", shell_complete=complete_run)
@click.option("--env", "in_environment", is_flag=True, help="With the recorded Python, packages and threads.")
@click.option(
    "--recorded", "as_recorded", is_flag=True, help="Serve what was kept, though the service file is here."
)
@click.option("--data", type=click.Path(path_type=Path), help="The data, where it is not kept.")
@click.option("--alone", is_flag=True, help="Only this run, not those that it was measured in turn with.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--catalog", help=CATALOG_HELP)
def replay(
    recorded: str,
    in_environment: bool,
    as_recorded: bool,
    data: Path | None,
    alone: bool,
    as_json: bool,
    catalog: str | None,
) -> None:
    """Measure RUN again, or the runs of a bundle. Exits 0: reproduced, 1: differs, 2: cannot tell.

    A run of the catalog is served from its service file where that still exists, so that what was changed in it is
    found; a bundle from what is in it.
    """
    from trivet.catalog.catalog import Catalog

    with undecided_on_error():
        opened = Catalog.open(catalog)
        runs, store = _recorded(opened, recorded, alone)
        if in_environment:
            options = [("--recorded", as_recorded), ("--alone", alone), ("--json", as_json)]
            arguments = ["replay", recorded, *(name for name, given in options if given)]
            arguments += ["--data", str(data)] if data else []
            sys.exit(_inside(runs[0], [*arguments, *(["--catalog", catalog] if catalog else [])]))
        from_file = Path(recorded).is_file()
        with tempfile.TemporaryDirectory(prefix="trivet-replay-") as folder:
            result = _replay(
                opened,
                runs,
                store,
                Path(folder),
                here=not (from_file or as_recorded),
                data=data,
                quiet=as_json,
            )
    opened.audit.append("trivet replay", "replay", ",".join(run.id for run in runs), _audited(result))
    _print(result, as_json)
    sys.exit(EXIT_CODES[result.verdict])


def _recorded(catalog: "Catalog", text: str, alone: bool) -> "tuple[list[Run], RecordStore]":
    """The runs that a reference or a file names, and where their artifacts are."""
    from trivet.cli.export import group_of
    from trivet.experiment.replay import bundle

    if Path(text).is_file():
        found = bundle.read(Path(text))
        return list(found.runs[:1] if alone else found.runs), found
    run = chosen_run(catalog, text)
    return ([run] if alone else group_of(catalog, run)), catalog


def _replay(
    catalog: "Catalog",
    runs: "list[Run]",
    store: "RecordStore",
    folder: Path,
    *,
    here: bool,
    data: Path | None,
    quiet: bool,
) -> "Replay":
    from trivet.experiment.replay.again import measure_again, subject_of_run, workload_of
    from trivet.experiment.replay.evidence import Evidence, evidence
    from trivet.experiment.replay.packages import packages_that_matter
    from trivet.experiment.replay.replay import check_replayable
    from trivet.experiment.replay.replay import replay as compare
    from trivet.experiment.yardstick import is_yardstick

    check_replayable(runs)
    then = [evidence(run, store) for run in runs]
    subjects = [
        subject_of_run(run, store, folder / str(index), here=here and not is_yardstick(run), data=data)
        for index, run in enumerate(runs)
    ]
    workload = workload_of(runs[0], store, folder, data)

    def again(index: int) -> list[Evidence]:
        if not quiet:
            click.echo(
                f"measuring {', '.join(run.id for run in runs)} again ({index + 1} of at most 2)", err=True
            )
        found = measure_again(
            subjects,
            runs,
            workload,
            catalog,
            command=sys.argv,
            num_alone=max(len(side.answers or ()) for side in then) or 32,
            max_labelled=len(then[0].decisions or ()),
        )
        return [evidence(run, catalog) for run in found]

    packages = [packages_that_matter(run.configuration) for run in runs]
    known = [names for names in packages if names is not None]
    matter = None if len(known) < len(runs) else sorted({name for names in known for name in names})
    return compare(then, again, matter)


def _inside(run: "Run", arguments: list[str]) -> int:
    """The same command in the recorded environment; its exit code."""
    import subprocess

    from trivet.experiment.replay.environments import build

    click.echo("building the recorded environment, unless it is there already", err=True)
    built = build(run.environment)
    for note in built.notes:
        click.echo(note, err=True)
    return subprocess.run(built.command(arguments), env=dict(built.variables), check=False).returncode


def _audited(result: "Replay") -> dict[str, object]:
    return {
        "verdict": result.verdict,
        "differs": [str(change) for change in result.differs],
        "runs": list(result.runs),
    }


def _print(result: "Replay", as_json: bool) -> None:
    import msgspec

    from trivet.experiment.replay.replay import as_builtins

    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(as_builtins(result))).decode())
        return
    width = max(len(check.name) for check in result.checks)
    for check in result.checks:
        click.echo(f"{_SIGNS[check.status]} {check.name:{width}}  {check.status}: {check.detail}")
    for note in result.notes:
        click.echo(f"note: {note}")
    click.echo(result.verdict + (": " + "; ".join(map(str, result.differs)) if result.differs else ""))
