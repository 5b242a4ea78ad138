"""The time of a study, planned ahead: what each stage may take, how long a block is, and whether another trial fits."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

NS_PER_S = 1_000_000_000
MOST_PROFILE_NS, PROFILE_SHARE = 45 * NS_PER_S, 0.30
MOST_SCREEN_NS, SCREEN_SHARE = 60 * NS_PER_S, 0.20
CONFIRM_SHARE = 0.12
FINISH_SHARE, MOST_FINISH_NS = 0.05, 10 * NS_PER_S  # effects, front, recommendation
MIN_BLOCK_S, MAX_BLOCK_S = 1.0, 4.0
NUM_REQUESTS = 300  # that a block should have: its 99th percentile is of three of them
FIRST_START_NS = 6 * NS_PER_S  # of a server, before any was started


@dataclass(slots=True)
class Budget:
    """Args: now_ns: the clock.  total_ns: from `began_ns` on.  spent_ns: by stage, before and now."""

    now_ns: Callable[[], int]
    total_ns: int
    began_ns: int = 0
    spent_ns: dict[str, int] = field(default_factory=dict)
    longest_trial_ns: int = 0  # beyond its blocks

    def __post_init__(self) -> None:
        self.began_ns = self.now_ns()

    @property
    def left_ns(self) -> int:
        return max(0, self.began_ns + self.total_ns - self.now_ns())

    @property
    def finish_ns(self) -> int:
        """Kept for the last stage."""
        return min(MOST_FINISH_NS, int(FINISH_SHARE * self.total_ns))

    @property
    def profile_ns(self) -> int:
        return min(MOST_PROFILE_NS, int(PROFILE_SHARE * self.total_ns))

    @property
    def screen_ns(self) -> int:
        """A third of what is left at most: a profile that took longer than planned leaves room for a live trial."""
        return min(MOST_SCREEN_NS, int(SCREEN_SHARE * self.total_ns), self.left_ns // 3)

    @property
    def confirm_ns(self) -> int:
        return int(CONFIRM_SHARE * self.total_ns)

    def block_s(self, rate_rps: float) -> float:
        """Long enough for the tail, short enough for a trial of several."""
        return min(MAX_BLOCK_S, max(MIN_BLOCK_S, NUM_REQUESTS / max(rate_rps, 1e-9)))

    def trial_fits(self, rate_rps: float, num_blocks: int) -> bool:
        """Whether one more trial of so many blocks of two sides ends before what is kept for the end."""
        needed_ns = self.trial_ns(rate_rps, num_blocks)
        return needed_ns + self.finish_ns <= self.left_ns

    def trial_ns(self, rate_rps: float, num_blocks: int) -> int:
        blocks_ns = int(2 * num_blocks * self.block_s(rate_rps) * NS_PER_S * 1.1)
        return blocks_ns + (self.longest_trial_ns or FIRST_START_NS)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """What passes inside is told under this name."""
        began = self.now_ns()
        try:
            yield
        finally:
            self.spent_ns[name] = self.spent_ns.get(name, 0) + self.now_ns() - began
