"""What the judge cannot judge."""

from trivet.errors import UserError


class JudgeError(UserError):
    """Answers, labels and what is declared about them do not go together; the message says which and what to change."""


class RowError(JudgeError):
    """One row that cannot be judged. `row` counts from 1."""

    def __init__(self, row: int, problem: str) -> None:
        super().__init__(f"row {row}: {problem}")
        self.row, self.problem = row, problem
