"""Errors as OpenAI's clients expect them: `{"error": {"message", "type", "param", "code"}}`."""

from collections.abc import Sequence

from trivet.errors import BudgetError, NotFoundError, RequestError
from trivet.serve.http.response import response, retry_lines, status_of
from trivet.spec.deployment import Statuses
from trivet.wire.openai_request import OpenAIFieldError
from trivet.wire.openai_server import error_body

_TYPES = {
    401: ("authentication_error", "invalid_api_key"),
    403: ("permission_error", None),
    429: ("rate_limit_error", "rate_limit_exceeded"),
    503: ("service_unavailable_error", None),
    504: ("timeout_error", None),
}


class ModelNotFoundError(NotFoundError):
    """No service of that name answers at this endpoint."""


def error_answer(error: RequestError, statuses: Statuses, headers: Sequence[tuple[str, str]]) -> bytes:
    status = status_of(error, statuses)
    return response(status, [error_text(error, status)], headers=[*headers, *retry_lines(error)])


def error_text(error: RequestError, status: int) -> bytes:
    kind, code = _TYPES.get(status, ("server_error" if status >= 500 else "invalid_request_error", None))
    if isinstance(error, BudgetError):
        kind = code = "insufficient_quota"
    param = error.param if isinstance(error, OpenAIFieldError) else None
    if isinstance(error, ModelNotFoundError):
        param, code = "model", "model_not_found"
    return error_body(str(error), kind, param, code)
