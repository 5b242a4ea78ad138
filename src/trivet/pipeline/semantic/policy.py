"""Whether a request is answered with another's answer: one decision for each, inside a budget of wrong answers.

What is promised: of all answers, those that differ from what the pipeline would have said stay under `max_wrong`, at any
moment with high probability, whatever encoder, texts and answers there are, as long as the traffic's past says something
about its future; where it stops to, an alarm makes the policy start again from nothing. How:

1. Every request that the pipeline answers is a check: would the answer that was proposed have been right? (`learn`)
2. From all checks together one model says how probable it is that a proposed answer is wrong (fitting.py), and what it
   says is replaced by what was seen of answers like it, and a little more (calibrating.py).
3. As many of the surest are given as the budget allows to be wrong, by these claims (spending.py); what was given is
   claimed anew when more is known (giving.py).
4. Some that could be given are answered by the pipeline all the same: audits, as many as it takes to see what the
   claims do not (auditing.py).
5. Where audits go worse than claimed, all that was given is charged (charging.py); checks that do raise an alarm
   (suspecting.py).

Plain state, no clock and no thread; draws come from a seeded generator.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

import numpy as np
from numpy.typing import NDArray

from trivet.pipeline.semantic.auditing import Audits
from trivet.pipeline.semantic.calibrating import Claims, calibrated
from trivet.pipeline.semantic.charging import Charge
from trivet.pipeline.semantic.checks import Checks
from trivet.pipeline.semantic.fitting import Odds, crossed_log_odds, fit
from trivet.pipeline.semantic.giving import Given
from trivet.pipeline.semantic.looking import Answer, Look, Record
from trivet.pipeline.semantic.novelty import Novelty, novelty
from trivet.pipeline.semantic.spending import allowance, horizon
from trivet.pipeline.semantic.suspecting import Suspicion

_FIRST_FIT = 200  # checks, of which some were right
_FITS_APART = 64  # checks, at first; later an eighth of those so far
_MOST_APART = 512
_NUM_RECENT = 512  # looks that say what traffic is like
_RENEWED = 128  # looks after which the border is drawn anew
_SURE = 0.3  # under it a proposal counts as one that could be given some day
_MOST_RECORDS = 50_000


@dataclass(frozen=True, slots=True)
class Decision:
    """About one request. is_hit: give `look`'s answer. is_audit: it could be given, but the pipeline answers, as a check.

    claimed: the probability that the answer is wrong; 1 before anything is known.
    """

    look: Look | None
    is_hit: bool
    is_audit: bool
    claimed: float


@dataclass(frozen=True, slots=True)
class Fitted:
    odds: Odds
    claims: Claims
    novelty: Novelty
    num_alarms: int


@dataclass(frozen=True, slots=True)
class Fitting:
    """Some tens of milliseconds of arithmetic: touches nothing of the policy, so it may run in a thread."""

    features: NDArray[np.float64]
    wrong: NDArray[np.bool_]
    num_alarms: int

    def run(self) -> Fitted:
        claims = calibrated(crossed_log_odds(self.features, self.wrong), self.wrong)
        odds = fit(self.features, self.wrong)
        return Fitted(odds, claims, novelty(self.features), self.num_alarms)


class Policy:
    """Args: budget: wrong answers, as a share of all. audit_share: of the answers that could be given."""

    def __init__(self, budget: float, audit_share: float, seed: int = 0) -> None:
        self.budget = budget
        self.audit_share = audit_share
        self._random = Random(seed)
        self.num_requests = 0
        self.num_hits = 0
        self._settled = 0.0  # claimed of what was given, and not claimed anew
        self._charge = Charge()
        self.num_alarms = 0
        self._forget()

    def _forget(self) -> None:
        self._checks = Checks()
        self._records: dict[Answer, Record] = {}
        self._suspicion = Suspicion()
        self._fitted: Fitted | None = None
        self._is_due = False
        self._fit_at = _FIRST_FIT
        self._border = -math.inf  # log odds under which an answer may be given
        self._audits = Audits(self.budget, self.audit_share, self._random)
        self._recent: list[tuple[float, ...]] = []
        self._next_recent = 0
        self._given = Given()

    @property
    def spent(self) -> float:
        """Expected wrong answers among those given, by what is known now."""
        return self._charge.charged(self._settled + self._given.claimed)

    @property
    def records(self) -> Mapping[Answer, Record]:
        """How often each answer was right and wrong where it was proposed."""
        return self._records

    def decide(self, look: Look | None) -> Decision:
        """For every request, in their order; `look`: None where nothing is known that is near."""
        self.num_requests += 1
        if look is None:
            return Decision(None, False, False, 1.0)
        self._remember(look.features)
        if self._fitted is None:
            return Decision(look, False, False, 1.0)
        log_odds = self._fitted.odds.log_odds(look.features)
        claimed = self._fitted.claims.of(log_odds)
        if log_odds > self._border or self.spent + claimed > allowance(self.budget, self.num_requests):
            return Decision(look, False, False, claimed)
        share = self._audits.share(claimed, self._fitted.novelty.of(look.features))
        if self._audits.is_due(look.answer, share):
            return Decision(look, False, True, claimed)
        self.num_hits += 1
        self._given.add(look.features, claimed)
        self._charge.gave(claimed)
        return Decision(look, True, False, claimed)

    def learn(self, decision: Decision, is_right: bool) -> bool:
        """The pipeline has answered a request that was no hit. Returns: alarm: forget all entries.

        Args: is_right: the answer that was proposed means the same.
        """
        look = decision.look
        if look is None:
            return False
        right, wrong = self._records.pop(look.answer, (0.0, 0.0))
        self._records[look.answer] = (right + 1, wrong) if is_right else (right, wrong + 1)
        if len(self._records) > _MOST_RECORDS:
            del self._records[next(iter(self._records))]
        if decision.is_audit:
            self._charge.audited(decision.claimed, not is_right)
        self._checks.add(look.features, not is_right, decision.claimed < _SURE)
        if decision.claimed < _SURE and self._suspicion.learn(decision.claimed, not is_right):
            self._alarm()
            return True
        self._is_due |= len(self._checks) >= self._fit_at or (decision.is_audit and not is_right)
        return False

    def due(self) -> "Fitting | None":
        """What is to be computed from the checks so far, if it is time for it; its result goes to `adopt`."""
        if not self._is_due:
            return None
        self._is_due = False
        num = len(self._checks)
        self._fit_at = num + min(_MOST_APART, max(_FITS_APART, num // 8))
        features, wrong = self._checks.rows()
        if num < _FIRST_FIT or wrong.all():
            return None
        return Fitting(features, wrong, self.num_alarms)

    def adopt(self, fitted: "Fitted") -> None:
        if fitted.num_alarms == self.num_alarms:  # else it was learned from what is forgotten
            self._fitted = fitted
            self._given.claim_anew(fitted.odds, fitted.claims)
            self._draw_border()

    def _alarm(self) -> None:
        self.num_alarms += 1
        self._settled += self._given.claimed
        self._forget()

    # --- learning -----------------------------------------------------------------------------------------------

    def _remember(self, features: tuple[float, ...]) -> None:
        if len(self._recent) < _NUM_RECENT:
            self._recent.append(features)
        else:
            self._recent[self._next_recent % _NUM_RECENT] = features
        self._next_recent += 1
        if self._next_recent % _RENEWED == 0 and self._fitted is not None:
            self._draw_border()

    def _draw_border(self) -> None:
        """Give as many of the surest answers as the budget pays for, were the next requests like the recent ones."""
        assert self._fitted is not None  # only called when something was learned
        recent = np.array(self._recent)
        log_odds = self._fitted.odds.of_rows(recent)
        order = np.argsort(log_odds, kind="stable")
        log_odds = log_odds[order]
        claims = self._fitted.claims.of_rows(log_odds)
        end = horizon(self.num_requests)
        left = allowance(self.budget, end) - self.spent
        looks_share = min(1.0, self._next_recent / self.num_requests)
        num_paid = int(
            np.searchsorted(
                np.cumsum(claims) * looks_share / len(claims), left / (end - self.num_requests), side="right"
            )
        )
        if not num_paid:
            self._border = -math.inf
            return
        self._border = float(log_odds[num_paid - 1])
        novelties = self._fitted.novelty.of_rows(recent[order[:num_paid]])
        self._audits.aim(self.num_requests, claims[:num_paid], novelties)
