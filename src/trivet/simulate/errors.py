"""What a simulation cannot say."""

from trivet.errors import UserError


class NotProfiledError(UserError):
    """A simulation beyond what was profiled."""


class TooManyCallsError(NotProfiledError):
    """More calls to an upstream at once than were on their way while it was profiled."""
