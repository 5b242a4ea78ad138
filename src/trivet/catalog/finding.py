"""What the doctor says, and what the doctor looks at."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import msgspec

from trivet.catalog.host_files import HostFiles
from trivet.catalog.noise import Noise

Severity = Literal["fine", "note", "warning"]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """what: the thing looked at.  measured: its value here.  why: how it makes figures noisy.  fix: what to do;
    empty where nothing needs to be done.  severity: a warning makes figures worse than they must be; a note may."""

    what: str
    measured: str
    why: str = ""
    fix: str = ""
    severity: Severity = "fine"


@dataclass(frozen=True, slots=True)
class Sight:
    """What the checks judge: the kernel's files, and what was measured in half a second.

    cores: those that this process may use.  others: cores that other programs used meanwhile, by command.
    lateness_us: how much later than asked for a timer fired, at the 99th percentile.
    throttled_ms, swapped_pages: meanwhile.
    """

    files: HostFiles
    cores: tuple[int, ...]
    noise: tuple[Noise, ...]
    others: Mapping[str, float]
    lateness_us: float
    throttled_ms: float = 0
    swapped_pages: int = 0
