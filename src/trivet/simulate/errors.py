"""What a simulation cannot say."""

from trivet.errors import UserError


class NotProfiledError(UserError):
    """A simulation beyond what was profiled."""
