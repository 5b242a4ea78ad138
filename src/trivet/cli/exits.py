"""Commands whose exit code is an answer: what could not be asked is neither yes nor no."""

from collections.abc import Iterator
from contextlib import contextmanager

import click

from trivet.errors import UserError

UNDECIDED = 2


class _UndecidedError(click.ClickException):
    exit_code = UNDECIDED


@contextmanager
def undecided_on_error() -> Iterator[None]:
    """An error of the user's ends with 2, as click's own do, and not with 1, which says `differs` or `regression`."""
    try:
        yield
    except UserError as error:
        raise _UndecidedError(str(error)) from None
