"""A request past the fronts of its service, where it has some, to the runtime."""

from trivet.runtime.request import Request
from trivet.runtime.runtime import Runtime


def submit(request: Request, runtime: Runtime) -> None:
    """The request's `reply` gets exactly one answer, now or later."""
    if request.live.fronts is None:
        runtime.submit(request)
    else:
        request.live.fronts.take(request)
