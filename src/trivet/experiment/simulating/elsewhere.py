"""Services whose models run on other servers: their times are not this machine's to measure."""

from collections.abc import Iterable

from trivet.errors import UserError
from trivet.spec.configuration import Configuration


def refuse_remote(configurations: Iterable[Configuration]) -> None:
    """Raises: UserError: a model runs on another server. A profile would send it thousands of requests, which may cost
    money, and would tell of its load of the moment.
    """
    for one in configurations:
        for name, model in one.service.models.items():
            if model.remote is not None:
                raise UserError(
                    f"model {name!r} runs on another server, so its times are not measured here; measure the service as a "
                    "whole with `trivet bench`, or simulate its calls with `trivet.simulate.upstreams`"
                )
