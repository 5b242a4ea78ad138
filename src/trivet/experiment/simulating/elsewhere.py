"""Services whose models run on other servers: their times are not this machine's to measure."""

from collections.abc import Iterable

from trivet.errors import UserError
from trivet.spec.configuration import Configuration


def refuse_remote(configurations: Iterable[Configuration]) -> None:
    """Raises: UserError: a model runs on another server. Live trials look for the rate that it just bears, and it may be
    somebody else's, or paid by the call.
    """
    for one in configurations:
        for name, model in one.service.models.items():
            if model.remote is not None:
                raise UserError(
                    f"model {name!r} runs on another server, which live trials would offer all that it bears; forecast the "
                    "service with `trivet simulate`, or measure it with `trivet bench`"
                )
