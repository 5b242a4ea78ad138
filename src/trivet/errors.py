"""Every error of trivet. One root; a leaf for each situation that a caller treats differently.

TrivetError
├── UserError             what the user declared or typed is wrong: the message names the place and the next step
│   ├── SpecError         a service file, a model repository, a configuration
│   └── ExtraMissingError an optional dependency is not installed
├── RequestError          a client's request cannot be answered; `status` is HTTP's word for whose fault it is
│   ├── BadRequestError       400  the client's mistake: names field, value and what was expected
│   ├── UnauthorizedError     401  no key of a tenant, where the deployment declares tenants
│   ├── NotFoundError         404  no such model, version or endpoint
│   ├── TooLargeError         413  over a limit that the server declares
│   ├── RefusedError          429  our limit, or a deadline that cannot be met; says when to try again
│   ├── BudgetError           429  the tenant has spent its budget; says when the day ends
│   ├── UnsupportedError      501  a feature of the protocol that this server does not have
│   ├── UpstreamError         502  an upstream server failed, or gave no answer
│   ├── UnavailableError      503  not ready, draining, or the worker is gone; says when to try again
│   └── DeadlineError         504  the deadline passed before the answer
└── EngineError           the model failed on a batch (the request's status is 500)
"""


class TrivetError(Exception):
    """Root of all errors that trivet raises on purpose."""


class UserError(TrivetError):
    """Something the user declared or typed; printed without a traceback."""


class SpecError(UserError):
    """A declaration that cannot be accepted. `where` is `file:line` or a field path, when it is known."""

    def __init__(self, message: str, where: str = "") -> None:
        super().__init__(f"{where}: {message}" if where else message)
        self.where = where


class ExtraMissingError(UserError):
    """An optional dependency is not installed."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs an extra: pip install 'trivet[{extra}]'")
        self.extra = extra


class RequestError(TrivetError):
    """A request that gets an error answer instead of a result."""

    status = 500
    retry_after_ns: int | None = None


class BadRequestError(RequestError):
    status = 400


class UnauthorizedError(RequestError):
    status = 401


class NotFoundError(RequestError):
    status = 404


class TooLargeError(RequestError):
    status = 413


class UnsupportedError(RequestError):
    status = 501


class RefusedError(RequestError):
    """Refused before any work was done. `reason` is a short word for the metrics."""

    status = 429

    def __init__(self, message: str, reason: str, retry_after_ns: int) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_after_ns = retry_after_ns


class BudgetError(RequestError):
    """The tenant's own limit, not the server's: its status is the same whatever `statuses` says."""

    status = 429

    def __init__(self, message: str, retry_after_ns: int) -> None:
        super().__init__(message)
        self.retry_after_ns = retry_after_ns


class UpstreamError(RequestError):
    """A server that answers for us failed, or what it said is no answer."""

    status = 502


class UnavailableError(RequestError):
    status = 503

    def __init__(self, message: str, retry_after_ns: int = 1_000_000_000) -> None:
        super().__init__(message)
        self.retry_after_ns = retry_after_ns


class DeadlineError(RequestError):
    status = 504


class EngineError(RequestError):
    """The model failed on this batch; other batches are not touched."""

    status = 500
