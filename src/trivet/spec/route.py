"""Routing before inference: which of two models answers is decided by the request's text alone.

    route: {input: text, max_loss: 2%}

For models that cannot be asked how sure they are, or where asking costs as much as the answer (LLMs behind an API). What is
easy enough for the first model is learned and certified by `trivet certify`.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from trivet.spec.fields import FieldError
from trivet.spec.units import Percent

if TYPE_CHECKING:
    from trivet.spec.certified import CertifiedPoint
    from trivet.spec.service import Service

Text = Annotated[str, msgspec.Meta(min_length=1)]


class Route(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Easy requests are answered by the first model of the pipeline, the others by the last one alone.

    input: the text (BYTES) that tells how hard a request is.
    max_loss: the accuracy that may be lost against the last model.
    router: the file with what was learned, beside the service.
    at_least: the ease from which the first model answers, one of the certified ones; None: that which saves the most.
    """

    input: Text
    max_loss: Percent
    router: Text = "router.npz"
    at_least: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.max_loss < 1:
            raise FieldError(("max_loss",), f"expected a share between 0% and 100%, got {self.max_loss:g}")


def first_model(service: "Service") -> int:
    """The place of the first model in the pipeline, which a route sends easy requests to."""
    return next(index for index, stage in enumerate(service.pipeline) if stage.model)


def route_content(route: Route) -> dict[str, Any]:
    """What the configuration's hash covers, beside the router's bytes."""
    content: dict[str, Any] = msgspec.to_builtins(route)
    if route.at_least is None:
        del content["at_least"]  # a route keeps the hash that it had before this could be chosen
    return content


def certified_ease(route: Route, points: "Sequence[CertifiedPoint]") -> float:
    """The ease from which the first model answers. Args: points: of its certificate, the safest first.

    Raises: FieldError: another ease than those that are certified.
    """
    known = [one.thresholds[0] for one in points]
    if route.at_least is None:
        return known[-1]
    if route.at_least not in known:
        told = ", ".join(map(str, known))
        raise FieldError(("route", "at_least"), f"{route.at_least:g} is not certified; certified: {told}")
    return route.at_least


def check_route(service: "Service") -> None:
    """Raises: FieldError: a route beside exits, or between other than two models."""
    if service.route is None:
        return
    if any(stage.exit is not None for stage in service.pipeline):
        raise FieldError(
            ("route",), "a route decides before any model runs, an exit behind one: give one of the two"
        )
    num_models = sum(stage.model is not None for stage in service.pipeline)
    if num_models != 2:
        raise FieldError(("route",), f"a route chooses between two models; the pipeline has {num_models}")
