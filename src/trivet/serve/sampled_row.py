"""What a worker knows of a request, as a row.

Instants are the worker's: intended and sent are the first byte read, done is when the answer was handed to the socket.
A phase that the request did not reach is ABSENT.
"""

from hashlib import blake2b
from typing import Any

from trivet.errors import BadRequestError, BudgetError, RefusedError, RequestError, UnavailableError
from trivet.runtime.live_exits import exit_word
from trivet.runtime.request import Request
from trivet.schedule.job import DROPPED
from trivet.spec.row import ABSENT, Row

# Longer ids are cut: a row has a bounded size.
_MAX_KEY = 256
_DIGEST_BYTES = 16


def answered_row(
    request: Request, answer: bytes, encode_from_ns: int, done_ns: int, kept: str, *, is_gone: bool
) -> Row:
    """The row of a result. Args: answer: as written, head and body. is_gone: the client had left before it."""
    outcome = "late" if done_ns > request.end_by_ns else "ok"
    if is_gone:
        outcome = "cancelled"
    return Row(
        **_common(request),
        **_ran(request),
        exit="" if request.live.exits is None else exit_word(request),
        first_byte_ns=ABSENT if is_gone else done_ns,
        done_ns=done_ns,
        status=0 if is_gone else 200,
        outcome=outcome,
        encode_ns=done_ns - encode_from_ns,
        answer=b"" if is_gone else digest(answer),
        kept=kept,
    )


def failed_row(request: Request, error: RequestError, status: int, done_ns: int, kept: str) -> Row:
    """The row of a request that was accepted and got an error."""
    outcome = "dropped" if request.state == DROPPED else outcome_of(error, status)
    columns: dict[str, Any] = {}
    if outcome in ("refused", "dropped"):
        columns["batch_size"] = 0
    if outcome == "dropped":
        columns["queue_ns"] = done_ns - request.arrival_ns
    if outcome == "failed":
        columns = _ran(request)
    columns["parse_ns"] = request.arrival_ns - request.received_ns
    return Row(
        **_common(request),
        **columns,
        first_byte_ns=done_ns,
        done_ns=done_ns,
        status=status,
        outcome=outcome,
        reason=reason_of(error),
        kept=kept,
    )


def cancelled_row(request: Request, done_ns: int, kept: str) -> Row:
    """The row of a request whose client left while it waited."""
    return Row(
        **_common(request),
        done_ns=done_ns,
        status=0,
        outcome="cancelled",
        parse_ns=request.arrival_ns - request.received_ns,
        kept=kept,
    )


def unaccepted_row(
    service: str,
    configuration: str,
    received_ns: int,
    error: RequestError,
    status: int,
    done_ns: int,
    kept: str,
) -> Row:
    """The row of a request that never reached the scheduler."""
    return Row(
        intended_ns=received_ns,
        sent_ns=received_ns,
        first_byte_ns=done_ns,
        done_ns=done_ns,
        status=status,
        outcome=outcome_of(error, status),
        reason=reason_of(error),
        service=service,
        configuration=configuration,
        kept=kept,
    )


def outcome_of(error: RequestError, status: int) -> str:
    if isinstance(error, RefusedError | UnavailableError | BudgetError):
        return "refused"
    return "invalid" if isinstance(error, BadRequestError) or 400 <= error.status < 500 else "failed"


def reason_of(error: RequestError) -> str:
    """A short word: the scheduler's for a refusal, else the kind of the error."""
    if isinstance(error, RefusedError):
        return error.reason
    return type(error).__name__.removesuffix("Error").lower()


def digest(answer: bytes) -> bytes:
    """Of the body: tells equal answers from different ones, and nothing of what is in them."""
    body = memoryview(answer)[answer.find(b"\r\n\r\n") + 4 :]
    return blake2b(body, digest_size=_DIGEST_BYTES).digest()


def _common(request: Request) -> dict[str, Any]:
    options, live = request.options, request.live
    key = request.message.id or (None if options is None else options.request_id) or ""
    columns: dict[str, Any] = {
        "intended_ns": request.received_ns,
        "sent_ns": request.received_ns,
        "deadline_ns": request.end_by_ns,
        "service": live.name,
        "configuration": live.hash,
        "key": key[:_MAX_KEY],
        "priority": request.priority,
        "tenant": "" if options is None else options.tenant,
    }
    notes = request.notes
    if notes is not None:
        columns |= {"cache": notes.cache, "instead": notes.instead, "upstream": notes.upstream}
        columns["attempts"] = notes.attempts or ABSENT
    if live.costing is not None:
        columns["cost_nano"] = 0 if notes is None else notes.cost_nano
    return columns


def _ran(request: Request) -> dict[str, Any]:
    """Phases and batch of a request whose engine is done with it.

    Between two models of a pipeline the instants are still those of the first: then they say nothing.
    """
    if request.formed_ns < request.arrival_ns or not request.ended_ns:
        return {}
    return {
        "parse_ns": request.arrival_ns - request.received_ns,
        "queue_ns": request.formed_ns - request.arrival_ns,
        "batch_wait_ns": request.started_ns - request.formed_ns,
        "compute_ns": request.ended_ns - request.started_ns,
        "batch_size": request.batch_rows,
    }
