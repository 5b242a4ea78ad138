"""A route's ease as a lever: any of the points that were certified, so that what may be lost is kept by all of them."""

import msgspec

from trivet.runtime.preparing.exits import certificate_of
from trivet.spec.configuration import Configuration
from trivet.spec.fields import FieldError, FieldPath
from trivet.spec.service import Service
from trivet.tune.choice import Value
from trivet.tune.lever import DECLARED, ROUTE, Lever


def route_lever(configuration: Configuration) -> Lever:
    """Its values: as declared, and the ease from which the first model answers at each other certified point.

    Raises: SpecError: no certificate, or one of other models.
    """
    route, certificate = configuration.service.route, certificate_of(configuration)
    assert route is not None and certificate is not None  # noqa: PT018  # whoever asks has seen the route
    eases = {one.thresholds[0] for one in certificate.points}
    eases.discard(certificate.points[-1].thresholds[0] if route.at_least is None else route.at_least)
    return Lever(
        name=ROUTE, lever=ROUTE, model="", values=(DECLARED, *sorted(eases)), default=DECLARED, kind="answers"
    )


def check_route_value(value: Value, path: FieldPath) -> None:
    """Raises: FieldError: not an ease. Whether it is certified is seen where the configuration is loaded."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if value != DECLARED and not is_number:
        raise FieldError(path, f"route: expected a certified ease such as 1.02, or {DECLARED}, got {value!r}")


def with_ease(service: Service, value: Value) -> Service:
    """The service whose route has another certified point."""
    if service.route is None or value == DECLARED:
        return service
    return msgspec.structs.replace(
        service, route=msgspec.structs.replace(service.route, at_least=float(value))
    )
