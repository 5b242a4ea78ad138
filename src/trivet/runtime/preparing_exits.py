"""The exits of a pipeline at load: whether what stands behind the last model can take their answers for its own."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trivet.pipeline.wiring import Taking
from trivet.spec.certified import Certificate, check_certificate, read_certificate
from trivet.spec.configuration import Configuration
from trivet.spec.exit import check_exit
from trivet.spec.fields import FieldError
from trivet.spec.service import Service

if TYPE_CHECKING:
    from trivet.runtime.preparing import PreparedModel
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
    check_certificate(
        found, path, rules, max_loss, names, configuration.stages_digest(service.last_model + 1)
    )
    return found


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
