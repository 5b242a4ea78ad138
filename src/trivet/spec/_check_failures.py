"""What a stage declares for its failures: settings that contradict each other or the rest of the service."""

from trivet.spec.failures import Failures, Fallback
from trivet.spec.fields import FieldError, FieldPath, nearest
from trivet.spec.remote import check_url
from trivet.spec.service import Service
from trivet.spec.units import MAX_VALUE, format_duration


def check_failures(service: Service, index: int, failures: Failures) -> None:
    path: FieldPath = ("pipeline", index, "failures")
    stage = service.pipeline[index]
    if stage.model is None:
        raise FieldError(path, "failures belong to a model; a step that fails is a mistake of its code")
    remote = service.models[stage.model].remote
    for key in ("retry", "hedge", "breaker"):
        if getattr(failures, key) is not None and remote is None:
            raise FieldError(
                (*path, key),
                f"{key} is for a remote model; {stage.model!r} runs here, where another try meets the same cores",
            )
    if failures.hedge is not None and remote is not None and len(remote.upstreams) == 1:
        raise FieldError((*path, "hedge"), "a hedge goes to another upstream; there is only one")
    _check_times(service, failures, path)
    for place, fallback in enumerate(failures.fallback):
        _check_fallback(service, index, fallback, (*path, "fallback", place))


def _check_times(service: Service, failures: Failures, path: FieldPath) -> None:
    timeout_ns, deadline_ns = failures.timeout_ns, service.slo.deadline_ns
    if timeout_ns == 0:
        raise FieldError((*path, "timeout"), "no stage answers in 0 ms")
    if timeout_ns is not None and deadline_ns != "auto" and timeout_ns >= deadline_ns:
        raise FieldError(
            (*path, "timeout"),
            f"{format_duration(timeout_ns)} leaves nothing of the deadline {format_duration(deadline_ns)} for whoever "
            "answers instead",
        )
    retry, breaker = failures.retry, failures.breaker
    most_ns = timeout_ns if timeout_ns is not None else MAX_VALUE
    if retry is not None and retry.timeout_ns is not None and not 0 < retry.timeout_ns <= most_ns:
        raise FieldError(
            (*path, "retry", "timeout"), "a try takes more than 0 ms and no longer than its stage"
        )
    if breaker is not None and not 0 < breaker.open_ns <= breaker.max_open_ns:
        raise FieldError(
            (*path, "breaker", "open"),
            f"expected more than 0 ms and at most max_open, {format_duration(breaker.max_open_ns)}",
        )


def _check_fallback(service: Service, index: int, fallback: Fallback, path: FieldPath) -> None:
    stage = service.pipeline[index]
    if fallback.upstream is not None:
        check_url(fallback.upstream, (*path, "upstream"))
        if service.models[stage.target].remote is None:
            raise FieldError((*path, "upstream"), f"{stage.model!r} is not remote: it has no upstreams")
    if fallback.model is None:
        return
    if fallback.model not in service.models:
        hint = nearest(fallback.model, service.models)
        raise FieldError((*path, "model"), f"no model named {fallback.model!r} under models{hint}")
    if fallback.model in [later.model for later in service.pipeline[index:]]:
        raise FieldError(
            (*path, "model"),
            f"{fallback.model!r} is this stage or a later one: it cannot answer instead of it",
        )
