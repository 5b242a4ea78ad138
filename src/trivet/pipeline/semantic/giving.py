"""The answers that were given: what is claimed of them rises and falls with what is learned afterwards."""

import numpy as np

from trivet.pipeline.semantic.calibrating import Claims
from trivet.pipeline.semantic.fitting import Odds
from trivet.pipeline.semantic.looking import NUM_FEATURES


class Given:
    """Expected wrong answers among those given. The latest are claimed anew after each fit; older ones stay as they were.

    What is claimed while little is known is mostly doubt, and later checks take it back. Checks are kept for longer than
    answers are claimed anew, so no answer is judged by a world that it was not given in.
    """

    __slots__ = ("_claims", "_features", "_next", "_total")

    def __init__(self, capacity: int = 2_000) -> None:
        self._features = np.zeros((capacity, NUM_FEATURES))
        self._claims = np.zeros(capacity)  # of the answers in the ring
        self._total = 0.0
        self._next = 0  # answers so far

    @property
    def claimed(self) -> float:
        return self._total

    def add(self, features: tuple[float, ...], claimed: float) -> None:
        place = self._next % len(self._claims)
        self._features[place] = features
        self._claims[place] = claimed  # the total keeps what the one before in this place was claimed to be
        self._total += claimed
        self._next += 1

    def claim_anew(self, odds: Odds, claims: Claims) -> None:
        num = min(self._next, len(self._claims))
        before = float(self._claims[:num].sum())
        self._claims[:num] = claims.of_rows(odds.of_rows(self._features[:num]))
        self._total += float(self._claims[:num].sum()) - before
