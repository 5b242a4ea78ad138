"""The guard of a certified cascade: audits some requests, and steps back to a safer certified setting when they show that
today's traffic is not what was certified.

Decisions only. A certificate speaks of rows like those it was made from. So a random share of requests is answered a second
time by the last model, off the critical path, and the share of answers that differ is held against what the certificate
allows. It is tested after every audit, for as long as the server runs: a setting that keeps to its limit is withdrawn with
a probability of at most `delta`, ever; one that does not is withdrawn the sooner the worse it is, also when it has kept to
it for long before.

Source: betting as in Waudby-Smith & Ramdas (2023), "Estimating means of bounded random variables by betting"; a mixture over
the times at which traffic may have changed (weights 1 / (t (t + 1)), which sum to one) keeps it a martingale, so Ville's
inequality holds.
"""

import random
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trivet.errors import SpecError
from trivet.spec.certified import CertifiedPoint

__all__ = ["NOTHING_LEAVES", "CertifiedPoint", "Guard"]

NOTHING_LEAVES = -1  # the point where every row goes to the last model
# What is bet on: that the true share is so many times the limit.
_WORSE = (1.2, 1.5, 2.0, 3.0, 5.0, 10.0)
_BETTER = (0.0, 0.1, 0.3, 0.5, 0.7, 0.85)
_LARGEST_SHARE = 0.98
_SMALLEST_LIMIT = 1e-4
_KEPT_AT_ONCE = 100


class Guard:
    """Which certified point is in force.

    Args: points: the safest first, each at least as free as the one before.  max_loss: the accuracy that may be lost.
    delta: how probable it may be that a point is withdrawn in vain, or taken up again in vain.  audit_share: of requests,
    in [0, 1].  seed: of the draw of audits.
    Raises: SpecError: no points, or a share out of range.
    """

    def __init__(
        self,
        points: Sequence[CertifiedPoint],
        max_loss: float,
        delta: float = 0.05,
        audit_share: float = 0.02,
        seed: int = 0,
    ) -> None:
        if not points:
            raise SpecError("a guard needs at least one certified point")
        if not 0 < delta < 1 or not 0 < max_loss < 1 or not 0 <= audit_share <= 1:
            raise SpecError(
                f"max_loss {max_loss} and delta {delta} must be in (0, 1), audit_share {audit_share} in [0, 1]"
            )
        self.points = tuple(points)
        self.point = len(points) - 1
        self.num_audited = 0
        self.num_lost = 0  # of audits: the point in force gave another answer
        self.num_steps_back = 0
        self.num_relaxed = 0
        self._audit_share = audit_share
        self._draw = random.Random(seed)
        self._evidence = 1 / delta
        limits = np.array([max(max_loss, one.changed, _SMALLEST_LIMIT) for one in points])
        self._worse = [_Bets(limit, +1) for limit in limits]
        self._better = [_Bets(limit, -1) for limit in limits]

    @property
    def thresholds(self) -> tuple[float, ...] | None:
        """Of the point in force; None: nothing may leave."""
        return None if self.point == NOTHING_LEAVES else self.points[self.point].thresholds

    def audit(self, now_ns: int) -> bool:
        """Whether this request is answered a second time by the last model."""
        return self._draw.random() < self._audit_share

    def learn(self, lost: bool) -> None:
        """One audit of which only the answer of the point in force is known: what it lost is held against all."""
        self.learn_each([lost] * len(self.points))

    def learn_each(self, lost: Sequence[bool]) -> None:
        """One audit. Args: lost: of each point, whether it would have given another answer than the last model."""
        self.num_audited += 1
        if self.point != NOTHING_LEAVES:
            self.num_lost += bool(lost[self.point])
        for bets, one in zip(self._worse[: self.point + 1], lost, strict=False):
            bets.learn(bool(one))
        candidate = self.point + 1
        if candidate < len(self.points):
            self._better[candidate].learn(bool(lost[candidate]))
        while self.point != NOTHING_LEAVES and self._worse[self.point].capital() >= self._evidence:
            self._step_back()
        if candidate == self.point + 1 and candidate < len(self.points):
            self._relax(candidate)

    def learn_kept(self, num: int) -> None:
        """So many audits of which it is known that no point would have given another answer: some at once, as they may be
        many, and the capital of a withdrawn point is looked at before it outgrows all numbers."""
        self.num_audited += num
        for some in (*[_KEPT_AT_ONCE] * (num // _KEPT_AT_ONCE), num % _KEPT_AT_ONCE):
            for bets in self._worse[: self.point + 1]:
                bets.learn_kept(some)
            candidate = self.point + 1
            if candidate < len(self.points):
                self._better[candidate].learn_kept(some)
                self._relax(candidate)

    def _step_back(self) -> None:
        self._better[self.point].begin()
        self.point -= 1
        self.num_steps_back += 1

    def _relax(self, candidate: int) -> None:
        if self._better[candidate].capital() >= self._evidence:
            self._worse[candidate].begin()
            self.point = candidate
            self.num_relaxed += 1
            if candidate + 1 < len(self.points):
                self._better[candidate + 1].begin()


class _Bets:
    """Bets against one share being at its limit: that it is above (direction +1) or below (-1), now or from some time on."""

    def __init__(self, limit: float, direction: int) -> None:
        if direction > 0:
            shares = np.minimum(limit * np.array(_WORSE), _LARGEST_SHARE)
            shares = shares[shares > limit] if (shares > limit).any() else np.array([(1 + limit) / 2])
        else:
            shares = limit * np.array(_BETTER)
        # The likelihood ratio of an audit under `shares` and under the limit: its mean is 1 where the limit is the truth.
        self._on_lost: NDArray[np.float64] = shares / limit
        self._on_kept: NDArray[np.float64] = (1 - shares) / (1 - limit)
        self.begin()

    def begin(self) -> None:
        self._num = 0
        self._staked = np.zeros(len(self._on_lost))

    def learn(self, lost: bool) -> None:
        self._num += 1
        entering = 1 / (self._num * (self._num + 1))
        self._staked = (self._staked + entering) * (self._on_lost if lost else self._on_kept)

    def learn_kept(self, num: int) -> None:
        """As `num` times `learn(False)`."""
        steps = np.arange(self._num + 1, self._num + num + 1, dtype=np.float64)
        powers = self._on_kept[:, np.newaxis] ** np.arange(num, 0, -1)
        entered = (powers / (steps * (steps + 1))).sum(axis=1)
        self._num += num
        self._staked = self._staked * self._on_kept**num + entered

    def capital(self) -> float:
        """With what is not staked yet: 1 / (number + 1)."""
        return float(self._staked.mean()) + 1 / (self._num + 1)
