"""The exits of a pipeline at load: whether what stands behind the last model can take their answers for its own."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trivet.judge.decode import IDENTITY, Decoder
from trivet.judge.errors import JudgeError
from trivet.pipeline.wiring import Taking
from trivet.spec.certified import Certificate, check_certificate, read_certificate
from trivet.spec.configuration import Configuration
from trivet.spec.exit import check_answers, check_exit
from trivet.spec.fields import FieldError, nearest
from trivet.spec.route import certified_ease, first_model
from trivet.spec.service import Service
from trivet.spec.signature import TensorSpec

if TYPE_CHECKING:
    from trivet.runtime.preparing.preparing import PreparedModel
    from trivet.runtime.steps import StepStage


def check_exits(
    service: Service, stages: "Sequence[PreparedModel | StepStage]", takings: Sequence[Taking]
) -> None:
    """Raises: FieldError: an exit's answers differ from the last model's by name, datatype or shape, that model answers
    in chunks, or a later step takes what only a skipped model gives."""
    last = service.last_model
    for index, stage in enumerate(service.pipeline):
        if stage.exit is None:
            continue
        before: PreparedModel = stages[index]  # type: ignore[assignment]  # exits stand behind models
        promised: PreparedModel = stages[last]  # type: ignore[assignment]  # it is one, too
        path = ("pipeline", index, "exit")
        if promised.streams:
            raise FieldError(
                path,
                f"{promised.name!r} answers in chunks, and an exit gives whole answers: leave the exit out, or let "
                f"{promised.name!r} return its answer",
            )
        check_exit(stage.exit, path, before.name, before.signature, promised.name, promised.signature)
        _check_skipped(takings, index, last)


def certificate_of(configuration: Configuration) -> Certificate | None:
    """The certificate of exits with a `max_loss`; None: the service has none of them.

    Raises: SpecError: it cannot be read, or speaks of other models or other promises.
    """
    service = configuration.service
    if service.certified is None:
        return None
    max_loss, rules = service.certified
    path = Path(configuration.root, rules.certificate)
    found = read_certificate(path)
    names = tuple(stage.target for stage in service.pipeline if stage.exit is not None)
    router = ""
    if service.route is not None:
        names = (service.pipeline[first_model(service)].target,)
        router = next(file.digest for file in configuration.files if file.name == service.route.router)
    stages = configuration.stages_digest(service.last_model + 1)
    check_certificate(found, path, rules, max_loss, names, stages, router)
    if service.route is not None:
        certified_ease(service.route, found.points)
    return found


def meaning_of(configuration: Configuration) -> Decoder | None:
    """By what a route's two answers are told to differ, as by its certificate; None: the service has no route.

    Raises: FieldError: `decode:` cannot be loaded.
    """
    service = configuration.service
    if service.route is None:
        return None
    try:
        return Decoder(service.decode or IDENTITY, Path(configuration.root))
    except JudgeError as error:
        raise FieldError(("decode",), str(error)) from None


def check_routed(
    service: Service,
    stages: "Sequence[PreparedModel | StepStage]",
    takings: Sequence[Taking],
    given: Mapping[str, TensorSpec],
) -> None:
    """Args: given: what requests bring, by name.

    Raises: FieldError: a route's text is none, its two models answer differently, or the last one takes what only the
    stages before it give.
    """
    if service.route is None:
        return
    first, last = first_model(service), service.last_model
    text = given.get(service.route.input)
    if text is None or text.datatype != "BYTES":
        kind = f"is {text.datatype}" if text else f"is no input{nearest(service.route.input, given)}"
        raise FieldError(("route", "input"), f"a route reads a text (BYTES); {service.route.input!r} {kind}")
    cheap: PreparedModel = stages[first]  # type: ignore[assignment]  # it is one
    dear: PreparedModel = stages[last]  # type: ignore[assignment]  # it is one, too
    if dear.streams or cheap.streams:
        raise FieldError(("route",), "a route is between models that give whole answers, not chunks")
    check_answers(("route",), cheap.name, cheap.signature, dear.name, dear.signature, "a route's first model")
    _check_skipped(takings, first, last)
    known = set(given)
    for place in range(first + 1, last + 1):
        missing = [source for source in (takings[place].takes or {}).values() if source not in known]
        if missing:
            raise FieldError(
                ("pipeline", place),
                f"{takings[place].name!r} takes {missing[0]!r}, which requests that are routed past {cheap.name!r} lack",
            )
        known |= set(takings[place].gives or ())


def _check_skipped(takings: Sequence[Taking], index: int, last: int) -> None:
    """Names that steps behind the last model take and a skipped stage gave last."""
    for place in range(last + 1, len(takings)):
        for source in (takings[place].takes or {}).values():
            givers = [i for i in range(place) if source in (takings[i].gives or ())]
            if givers and index < givers[-1] < last:
                exit_, giver, taker = (takings[i].name for i in (index, givers[-1], place))
                raise FieldError(
                    ("pipeline", place),
                    f"{taker!r} takes {source!r} of {giver!r}, which rows that leave at {exit_!r} skip",
                )
