"""How far the simulator was off on each machine: checks against live runs, kept beside the catalog, told with forecasts."""

import datetime
import math
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from trivet import host
from trivet.catalog.location import DEFAULT_FOLDER, locate
from trivet.errors import SpecError
from trivet.experiment.simulating.checking import Check

UNCHECKED = "never checked on this machine: trivet simulate --check measures it"
_P99 = "latency_p99_ms"


class Errors(msgspec.Struct, frozen=True, kw_only=True):
    """Checks of one machine, the oldest first; invalid ones are kept and do not count."""

    machine: str
    checks: list[Check] = []

    def valid(self, service: str = "") -> list[Check]:
        """Of a service, or of all where it has none of its own."""
        good = [one for one in self.checks if not one.invalid and _P99 in one.live and _P99 in one.predicted]
        return [one for one in good if one.service == service] or good

    def relative(self, service: str = "") -> float:
        """Root mean square of the logarithms of predicted over live p99: what a forecast's interval gets on top."""
        ratios = [math.log1p(one.error(_P99)) for one in self.valid(service)]
        return math.sqrt(sum(ratio**2 for ratio in ratios) / len(ratios)) if ratios else 0.0

    def words(self, service: str = "") -> str:
        """One line for whoever reads a forecast."""
        good = self.valid(service)
        if not good:
            return UNCHECKED
        errors = np.abs([one.error(_P99) for one in good])
        covered = sum(one.covers(_P99) for one in good)
        own = "" if any(one.service == service for one in good) else ", of other services"
        return (
            f"on this machine p99 was off by {np.median(errors):.1%} in the median and {errors.max():.1%} at most in "
            f"{len(good)} check{'s' * (len(good) != 1)}{own}; {covered} lay in the interval"
        )


def errors_path(catalog_url: str | None = None, machine: str | None = None) -> Path:
    """Beside the catalog's database; in ./.trivet where that is a server."""
    return folder(catalog_url) / "simulator" / f"errors-{machine or host.digest()}.json"


def folder(catalog_url: str | None = None) -> Path:
    """Where files of this folder's catalog lie."""
    file = locate(catalog_url, None).file
    return Path(DEFAULT_FOLDER) if file is None else file.parent


def read_errors(path: Path) -> Errors:
    """None kept yet are no checks. Raises: SpecError: a file that holds something else."""
    if not path.exists():
        return Errors(machine=host.digest())
    try:
        return msgspec.json.decode(path.read_bytes(), type=Errors)
    except msgspec.MsgspecError as error:
        raise SpecError(f"not a record of the simulator's errors: {error}; move it away", str(path)) from None


def keep_checks(path: Path, checks: Sequence[Check]) -> Errors:
    """Add checks of now; all that is kept then."""
    before = read_errors(path)
    date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    dated = [msgspec.structs.replace(one, date=one.date or date) for one in checks]
    after = msgspec.structs.replace(before, checks=[*before.checks, *dated])
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.draft")
    draft.write_bytes(msgspec.json.encode(after))
    draft.replace(path)
    return after
