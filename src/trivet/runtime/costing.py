"""What each request costs, as it is answered, and what a shortcut has saved.

A batch's engine time is paid by its requests, by rows; a remote call by the request that made it. What the loop itself
does (parsing, short steps, encoding) is paid by nobody: beside an engine it is small, and it is not measured for one
request alone.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from trivet.runtime.counts import Counts
from trivet.runtime.notes import Notes
from trivet.spec.cost import NANO, Cost

if TYPE_CHECKING:
    from trivet.runtime.live import LiveModel, LiveService
    from trivet.runtime.request import Request

COST = "trivet_cost_total"
REQUESTS = "trivet_cost_requests_total"
SAVED = "trivet_cost_saved_total"
OF_MODELS = "trivet_model_cost_total"


def charge(model: "LiveModel", requests: Sequence["Request"], rows: int, busy_ns: int) -> None:
    """An engine has worked for these requests, `rows` rows together: each pays for its own."""
    nano = busy_ns * model.nano_per_ns
    requests[0].live.counts.add(OF_MODELS, nano / NANO, stage=model.name)
    for request in requests:
        pay(request, round(nano * request.rows / rows))


def pay(request: "Request", nano: int) -> None:
    """Put a cost on a request's account; on that of the whole, where it is a part of one."""
    while (whole := getattr(request.reply, "whole", None)) is not None:
        request = whole
    notes = request.notes = request.notes or Notes()
    notes.cost_nano += nano


class Costing:
    """Of one live configuration.

    What a shortcut saves is what the rows that took the whole pipeline cost on average so far, less what was paid; before
    there was any such row it is not known, and nothing is counted.

    Args: spend: is told whose budget pays how much, in 1e-9 of the currency.
    """

    def __init__(self, cost: Cost, counts: Counts) -> None:
        self.cost = cost
        self.spend: Callable[[str, int], None] = lambda _tenant, _nano: None
        self._counts = counts
        self._whole_nano = 0
        self._whole_rows = 0

    def called(self, request: "Request", model: str, input_tokens: int = 0, output_tokens: int = 0) -> None:
        """A remote model was called for a request, whatever it answered."""
        nano = self.cost.call_nano(model, input_tokens, output_tokens)
        self._counts.add(OF_MODELS, nano / NANO, stage=model)
        pay(request, nano)

    def counted(self, request: "Request", model: str, tokens: tuple[int, int]) -> None:
        """A model tells of so many tokens, of the input and of the output; what the call itself costs is not in it."""
        nano = self.cost.tokens_nano(model, *tokens)
        if nano:
            self._counts.add(OF_MODELS, nano / NANO, stage=model)
            pay(request, nano)

    def over(self, request: "Request", *, answered: bool) -> None:
        """A request has got its answer, or none (a client that left, an error). What it costs from now on is told by
        another call.
        """
        notes = request.notes = request.notes or Notes()
        tenant, way = self._count(request, notes)
        self._counts.add(REQUESTS, tenant=tenant, way=way)
        if not answered:
            return
        if way == "pipeline":
            self._whole_nano += notes.cost_nano
            self._whole_rows += request.rows
        elif self._whole_rows:
            saved = self._whole_nano / self._whole_rows * request.rows - notes.cost_nano
            self._counts.add(SAVED, max(0.0, saved) / NANO, currency=self.cost.currency, way=way)

    def also(self, request: "Request") -> None:
        """A request that is over has cost something more: an engine that went on until it heard of it."""
        if request.notes is not None:
            self._count(request, request.notes)

    def audited(self, request: "Request") -> None:
        """A request of an audit is over, which no client has asked for: nobody's budget pays, and it saves nothing."""
        nano = 0 if request.notes is None else request.notes.cost_nano
        self._counts.add(COST, nano / NANO, currency=self.cost.currency, tenant="", way="audit")
        self._counts.add(REQUESTS, tenant="", way="audit")

    def _count(self, request: "Request", notes: Notes) -> tuple[str, str]:
        nano, notes.paid_nano = notes.cost_nano - notes.paid_nano, notes.cost_nano
        tenant = "" if request.options is None else request.options.tenant
        way = _way(request, notes)
        self._counts.add(COST, nano / NANO, currency=self.cost.currency, tenant=tenant, way=way)
        self.spend(tenant, nano)
        return tenant, way


def _way(request: "Request", notes: Notes) -> str:
    """Which shortcut a request took; `pipeline`: none."""
    if notes.cache not in ("", "miss"):
        return notes.cache
    if notes.instead:
        return notes.instead.partition(":")[0]
    live: LiveService = request.live
    if live.exits is not None and request.exit != live.exits.last_model.name:
        return "exit"
    return "pipeline"
