"""What a study tells while it runs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Stage = Literal["profile", "screen", "verify", "confirm", "finish"]


@dataclass(frozen=True, slots=True)
class Progress:
    """done, of: of the stage: configurations, or trials; 0: not known.  best: the best so far, in words.

    note: a sentence that stays; empty: only a step on.
    """

    stage: Stage
    done: int = 0
    of: int = 0
    best: str = ""
    left_ns: int = 0
    note: str = ""

    def __str__(self) -> str:
        count = f" {self.done}" + (f" of {self.of}" if self.of else "") if self.done or self.of else ""
        best = f"; best so far {self.best}" if self.best else ""
        return f"{self.stage}{count}{best}; {self.left_ns / 1e9:.0f} s left"


OnProgress = Callable[[Progress], None]
