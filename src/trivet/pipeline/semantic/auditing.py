"""Which answers that could be given are checked all the same: how many, and of which answer at what time."""

import math
from random import Random

import numpy as np
from numpy.typing import NDArray

from trivet.pipeline.semantic.looking import Answer
from trivet.pipeline.semantic.spending import horizon

# Audits expected among wrong answers that would take the whole budget: none in one case of twenty.
_SEEN = 3.0
_MOST_AUDITED = 0.5
_NOVEL = 2.0  # times as novel as what is given on average: from there on a proposal is audited more
_MOST_ANSWERS = 50_000  # of which is known when they were audited


class Audits:
    """Args: budget: wrong answers, as a share of all. least: the share of the answers that could be given.

    Two things make wrong answers stay unseen: too few audits in all, and audits that leave one answer alone by chance.
    So there are as many as it takes to meet wrong answers that nobody claims before they have used up the budget. And
    those of one answer are spread (stratified sampling): one for every so many times that it could be given, at a random
    place among these. After an answer has changed that halves the wait for the first audit that tells, and bounds it.
    """

    def __init__(self, budget: float, least: float, random: Random) -> None:
        self._budget = budget
        self._least = least
        self._random = random
        self._share = least
        self._deviation = 1.0
        self._novel = math.inf
        # How far the stratum of an answer is, and the place of its audit in it; of 1.
        self._strata: dict[Answer, tuple[float, float]] = {}

    def aim(self, num_requests: int, claims: NDArray[np.float64], novelties: NDArray[np.float64]) -> None:
        """Args: claims, novelties: of answers as they will be given, shape (n,), n >= 1, each above 0."""
        needed = _SEEN / (self._budget * horizon(num_requests))
        self._share = min(_MOST_AUDITED, max(self._least, needed))
        self._deviation = float(np.sqrt(claims).mean())
        self._novel = _NOVEL * float(novelties.mean())

    def share(self, claimed: float, novelty: float) -> float:
        """Of such answers: more where more can be wrong, and far more where nearly nothing is known."""
        # In proportion to the deviation of what a check tells (Neyman, 1934).
        risk = math.sqrt(claimed) / self._deviation
        # Only what stands out: were audits in proportion to novelty, checks would say more of the rare than of the common,
        # and claims of the common would rise.
        strangeness = novelty / self._novel
        return min(_MOST_AUDITED, self._share * max(1.0, risk) * max(1.0, strangeness * strangeness))

    def is_due(self, answer: Answer, share: float) -> bool:
        """Whether to audit this one. The probability is `share`, at any time: each answer begins anywhere in a stratum."""
        known = self._strata.pop(answer, None)
        start, place = (self._random.random(), self._random.random()) if known is None else known
        end = start + share
        is_audit = start <= place < end
        if end >= 1:
            end, place = end - 1, self._random.random()
            is_audit |= place < end
        self._strata[answer] = (end, place)
        if len(self._strata) > _MOST_ANSWERS:
            del self._strata[next(iter(self._strata))]
        return is_audit
