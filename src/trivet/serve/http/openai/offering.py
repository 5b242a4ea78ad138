"""A request past the fronts of its service, where it has some, to the runtime."""

from trivet.runtime.live import LiveService
from trivet.runtime.request import Reply, Request
from trivet.runtime.runtime import Runtime
from trivet.wire.v2_request import InferMessage


def new_request(
    live: LiveService, message: InferMessage, received_ns: int, now_ns: int, timeout_ns: int, reply: Reply
) -> Request:
    """Not offered yet. Raises: RequestError: as `LiveService.request`."""
    made = live.request if live.fronts is None else live.unbegun
    return made(message, received_ns, now_ns, timeout_ns, 0, reply)


def submit(request: Request, runtime: Runtime) -> None:
    """The request's `reply` gets exactly one answer, now or later."""
    if request.live.fronts is None:
        runtime.submit(request)
    else:
        request.live.fronts.take(request)
