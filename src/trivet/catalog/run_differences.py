"""In which fields do two runs differ: in what was asked for, and in the environment?"""

from typing import Any

import msgspec

from trivet.catalog.differences import Difference, differences_of
from trivet.catalog.environment import differences
from trivet.catalog.records import RunDraft

_ASKED = ("kind", "service", "configuration_hash", "configuration", "workload", "seeds", "dataset")


def run_differences(a: RunDraft, b: RunDraft) -> list[Difference]:
    """What was asked for first, then causes in the environment (`environment.packages.numpy`), then its noise.

    Tags, groups and command lines say how a run is called, not what it is: they are not compared.
    """
    found = differences_of(_asked(a), _asked(b))
    for difference in differences(a.environment, b.environment):
        found.append(msgspec.structs.replace(difference, field=f"environment.{difference.field}"))
    return found


def _asked(run: RunDraft) -> dict[str, Any]:
    return {name: msgspec.to_builtins(getattr(run, name)) for name in _ASKED}
