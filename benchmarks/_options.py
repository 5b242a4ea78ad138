"""The options that every benchmark of a server has."""

import argparse
from pathlib import Path

from benchmarks._sides import SIDES


def parser(
    name: str, question: str, *, blocks: int = 10, seconds: float = 4, peers: bool = False
) -> argparse.ArgumentParser:
    """A parser with --blocks, --seconds, --seed and --resume; with `peers` also --peers."""
    made = argparse.ArgumentParser(prog=f"python -m benchmarks {name} --", description=question)
    made.add_argument("--blocks", type=int, default=blocks, help=f"interleaved blocks [{blocks}]")
    made.add_argument(
        "--seconds", type=float, default=seconds, help=f"measured, a side and block [{seconds:g}]"
    )
    made.add_argument("--seed", type=int, default=1)
    made.add_argument(
        "--resume", action="store_true", help="go on with the newest record of the same settings"
    )
    if peers:
        made.add_argument(
            "--peers", type=Path, metavar="DIR", help="a virtual environment for each peer, and the models"
        )
    return made


def add_sides(made: argparse.ArgumentParser, default: list[str], more: tuple[str, ...] = ()) -> None:
    """--sides and --base. `more`: sides that are not servers."""
    choices = sorted([*SIDES, *more])
    made.add_argument(
        "--sides", nargs="*", default=default, choices=choices, metavar="SIDE", help=", ".join(choices)
    )
    made.add_argument("--base", help="the side that ratios are taken to [the last]")
