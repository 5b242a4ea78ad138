"""What every dialect promises."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from numpy.typing import NDArray

from trivet.load.http import BadAnswerError
from trivet.load.job import HttpRequest
from trivet.wire.v2_client import BadResponseError, error_text

Row = Mapping[str, NDArray[Any]]  # one request's inputs, by name
_T = TypeVar("_T")


class Dialect(Protocol):
    """One way of speaking. Stateless: requests are built before the run, answers are read after it."""

    def requests(self, rows: Sequence[Row]) -> list[HttpRequest]:
        """One request for each row of inputs.

        Raises: SpecError: a row that this dialect cannot send; names the row (from 1) and the input.
        """
        ...

    def outputs(self, status: int, headers: Mapping[str, str], body: bytes) -> dict[str, NDArray[Any]]:
        """What one answer holds, by name. `headers` may be empty where only bodies were kept.

        Raises: BadAnswerError: not a result of this dialect, an error answer included; says what it is.
        """
        ...


def read_ok(status: int, body: bytes, read: Callable[[bytes], _T]) -> _T:
    """What `read` makes of the body of an answer that is a result.

    Raises: BadAnswerError: the status is not 2xx, or `read` cannot make sense of the body.
    """
    if not 200 <= status < 300:
        raise BadAnswerError(f"status {status}: {error_text(body)}")
    try:
        return read(body)
    except BadResponseError as error:
        raise BadAnswerError(str(error)) from None


def header(headers: Mapping[str, str], name: str) -> str | None:
    """A header, whatever its case."""
    return next((value for key, value in headers.items() if key.lower() == name.lower()), None)
