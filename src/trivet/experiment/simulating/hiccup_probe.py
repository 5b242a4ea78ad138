"""When an otherwise idle core does not run: a process on that core that does nothing but read the clock.

Run as `python -m trivet.experiment.simulating.hiccup_probe NANOSECONDS`; it writes what it saw as JSON.
"""

import sys
import time
from collections.abc import Callable

import msgspec

LEAST_NS = 50_000  # shorter ones are in everything that is measured anyway


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """hiccups: [start, length] in ns from the beginning."""

    hiccups: list[tuple[int, int]]
    observed_ns: int

    @property
    def share(self) -> float:
        """Of the time, in which the core did not run."""
        return sum(length for _, length in self.hiccups) / max(1, self.observed_ns)

    def and_then(self, later: "Seen") -> "Seen":
        """One record of both, as if the later one had followed at once."""
        moved = [(self.observed_ns + start, length) for start, length in later.hiccups]
        return Seen(hiccups=[*self.hiccups, *moved], observed_ns=self.observed_ns + later.observed_ns)


def watch(duration_ns: int, now_ns: Callable[[], int] = time.monotonic_ns) -> Seen:
    """Intervals of LEAST_NS or more between two readings of the clock."""
    begun = last = now_ns()
    end = begun + duration_ns
    hiccups: list[tuple[int, int]] = []
    while last < end:
        now = now_ns()
        if now - last >= LEAST_NS:
            hiccups.append((last - begun, now - last))
        last = now
    return Seen(hiccups=hiccups, observed_ns=last - begun)


def main() -> int:
    sys.stdout.buffer.write(msgspec.json.encode(watch(int(sys.argv[1]))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
