"""What requests cost where calls to servers elsewhere are paid: by the service's own prices, as its rows have it.

Engines' time and calls, as runtime/costing.py has them; of services without such calls cost is processor time alone.
"""

from collections.abc import Mapping

from trivet.simulate.record import Simulated
from trivet.simulate.remote_times import RemoteTimes
from trivet.simulate.setup import Setup
from trivet.spec.cost import NANO, REQUESTS, Cost
from trivet.spec.row import ABSENT, RowColumns
from trivet.spec.service import Service

PRICE = "cost_per_million"  # of requests, in the service's currency
_MANY_TOKENS = 1_000_000


def paid(service: Service) -> Cost | None:
    """The prices of a service some of whose calls cost something; None: there are no such calls, or no prices."""
    remote = [name for name, model in service.models.items() if model.remote is not None]
    cost = service.cost
    if cost is None or not any(cost.call_nano(name, _MANY_TOKENS, _MANY_TOKENS) for name in remote):
        return None
    return cost


def simulated_price(run: Simulated, setup: Setup, remotes: Mapping[str, RemoteTimes], cost: Cost) -> float:
    """Of a million requests. Args: remotes: of the profile."""
    nano = 0.0
    for use in run.used:
        stage = setup.stages[use.place]
        nano += use.core_ns * cost.nano_per_core_ns()
        if stage.remote is not None:
            name = setup.names[use.place]
            tokens = [round(one * use.num_answered) for one in remotes[stage.key].tokens]
            nano += use.num_tries * cost.call_nano(name) + cost.tokens_nano(name, *tokens)
    return nano / max(1, len(run.intended_ns)) / NANO * REQUESTS


def lived_price(rows: RowColumns) -> float | None:
    """The same of a live block; None: its rows tell of no cost."""
    told = rows["cost_nano"]
    known = told[told != ABSENT]
    return float(known.mean()) / NANO * REQUESTS if len(known) else None


def currency(service: Service) -> str:
    """Of the paid calls; empty: none is paid."""
    cost = paid(service)
    return "" if cost is None else cost.currency
