"""Whether answers are wrong more often than is claimed: an alarm that may be looked at after every check."""

import math

_TIMES = 4.0  # the odds of being wrong that are doubted are so many times those claimed
_ALARM = math.log(10_000)


class Suspicion:
    """A bet that what is claimed is too little, restarted whenever it is lost.

    While claims hold, ten thousand checks pass on average before a false alarm, at least (Shiryaev-Roberts and CUSUM
    e-detectors: Shin, Ramdas & Rinaldo, 2022); far more where claims are cautious, as ours are. Where the odds are four
    times as high as claimed and answers near the border are wrong one time in five, a few dozen checks are enough.
    """

    __slots__ = ("_capital", "num_checks", "num_wrong")

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self._capital = 0.0  # its log
        self.num_checks = 0  # since the bet was last lost
        self.num_wrong = 0

    def learn(self, claimed: float, is_wrong: bool) -> bool:
        """One more answer was checked. Args: claimed: its probability of being wrong. Returns: alarm."""
        self.num_checks += 1
        self.num_wrong += is_wrong
        self._capital += (math.log(_TIMES) if is_wrong else 0.0) - math.log1p((_TIMES - 1) * claimed)
        if self._capital <= 0:
            self.restart()
        return self._capital >= _ALARM
