"""What a live service with early exits knows of them; resolved at load."""

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING

from trivet.pipeline.exits import ExitPoint
from trivet.pipeline.wiring import Wiring
from trivet.wire.v2_response import ResponseEncoder

if TYPE_CHECKING:
    from trivet.runtime.auditing import Audits
    from trivet.runtime.live import LiveModel
    from trivet.runtime.request import Request


class LiveExits:
    """The exits of one service, by the place of the stage before them.

    Args: models: by their places.  last: place of the last model, whose answers the exits give.
    kept: what requests carry for fallbacks.
    encoder: of the answers of one model, by its name, or of several for rows of one request (names in order, with commas).
    """

    def __init__(
        self,
        points: Mapping[int, ExitPoint],
        models: "Mapping[int, LiveModel]",
        last: int,
        wiring: Wiring,
        kept: Collection[str],
        encoder: Callable[[str], ResponseEncoder],
    ) -> None:
        self.points = dict(points)
        self.last = last
        self.last_model = models[last]
        # Whether rows of one request can be told apart from the exit to the end of the last model.
        self.may_part = {
            place: all(i in models and models[i].signature.batch_axis for i in range(place, last + 1))
            for place in points
        }
        # Of what a request carries: what the models behind the next one still take.
        self.later = {place: wiring.sources(place + 2, last + 1) | set(kept) for place in points}
        self.audits: Audits | None = None  # of a certified cascade, set when it is put to work
        self._encoder = encoder
        names = [self.last_model.name, *(point.name for point in points.values())]
        self._encoders = {name: encoder(name) for name in names}

    def encoder(self, request: "Request") -> ResponseEncoder:
        """What writes the request's answer, with the parameter `exit`."""
        if isinstance(request.exit, str):
            return self._encoders[request.exit]
        return self._encoder(",".join(request.exit))


def exit_word(request: "Request") -> str:
    """Who answered the request, for its row and its header: `front`, or `front+rest` where its rows parted."""
    return request.exit if isinstance(request.exit, str) else "+".join(dict.fromkeys(request.exit))
