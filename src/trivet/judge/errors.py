"""What the judge cannot judge."""

from trivet.errors import UserError


class JudgeError(UserError):
    """Answers, labels and what is declared about them do not go together; the message says which and what to change."""
