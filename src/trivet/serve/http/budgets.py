"""Budgets of a day: who has spent theirs is refused until it ends."""

import time
from collections.abc import Callable, Sequence

from trivet.errors import BudgetError
from trivet.runtime.counts import Counts
from trivet.serve.messages import KnownTenant
from trivet.serve.spending import Spending

_DAY_NS = 86_400_000_000_000


class Budgets:
    """Of one worker. A day is UTC's.

    A request is refused when the budget is spent at its arrival: what it will cost is known only when it is answered, so
    that requests on their way may go beyond the budget by what they cost.

    Args: wall_ns: since 1970.
    """

    def __init__(
        self,
        tenants: Sequence[KnownTenant],
        page: Spending,
        worker: int,
        say: Callable[[str], None],
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._tenants = {tenant.name: (place, tenant) for place, tenant in enumerate(tenants)}
        self._page = page
        self._worker = worker
        self._say = say
        self._wall_ns = wall_ns
        self._told: dict[tuple[str, str], int] = {}  # the day on which it was said

    def check(self, name: str, counts: Counts) -> None:
        """Raises: BudgetError: the hard budget is spent; says when the day ends."""
        place, tenant = self._tenants[name]
        if not tenant.has_budget:
            return
        now_ns = self._wall_ns()
        day = now_ns // _DAY_NS
        spent = self._page.spent(place, day)
        if tenant.hard_nano is not None and spent >= tenant.hard_nano:
            counts.add("trivet_budget_refused_total", tenant=name)
            self._tell(name, "hard", day)
            raise BudgetError(
                f"the budget of {tenant.hard_nano / 1e9:g} a day is spent; it begins anew at 00:00 UTC",
                (day + 1) * _DAY_NS - now_ns,
            )
        if tenant.soft_nano is not None and spent >= tenant.soft_nano:
            counts.add("trivet_budget_soft_total", tenant=name)
            self._tell(name, "soft", day)

    def spend(self, name: str, nano: int) -> None:
        """A request has cost so much."""
        found = self._tenants.get(name)
        if found is not None and nano:
            self._page.add(self._worker, found[0], self._wall_ns() // _DAY_NS, nano)

    def _tell(self, name: str, which: str, day: int) -> None:
        if self._told.get((name, which)) != day:
            self._told[name, which] = day
            self._say(f"tenant {name!r} has spent its {which} budget of the day")
