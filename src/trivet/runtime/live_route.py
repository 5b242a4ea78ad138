"""What a live service with a route knows of it: who decides, and who watches."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from trivet.pipeline.routing import Routing

if TYPE_CHECKING:
    from trivet.runtime.request import Request
    from trivet.runtime.route_auditing import RouteAudits


class LiveRoute:
    """place: of the first model in the pipeline, which answers what is easy."""

    def __init__(self, rule: Routing) -> None:
        self.rule = rule
        self.place = rule.place
        self.audits: RouteAudits | None = None  # set when it is put to work, unless nothing is audited

    def is_easy(self, request: "Request", tensors: Mapping[str, NDArray[Any]]) -> bool:
        """Whether the first model answers a request. Args: tensors: the request's, by name."""
        if self.audits is None:
            return self.rule.is_easy(tensors)
        asked = self.audits.wanted(request)
        if asked is not None:
            return asked.is_first
        ease = self.rule.ease(tensors)
        self.audits.look(request, tensors, ease)
        return ease >= self.rule.at_least
