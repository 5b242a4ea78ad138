"""What each model that stands in under load loses against the declared one: measured through servers, on labelled rows."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from trivet.catalog.records import Figure
from trivet.errors import UserError
from trivet.experiment.passes import judge_labelled
from trivet.experiment.placement import Placement
from trivet.experiment.side import side
from trivet.experiment.simulating.simulated import rung_configurations
from trivet.experiment.target import Subject
from trivet.experiment.variants.judged_answers import difference, patient
from trivet.experiment.variants.laid_out import laid_out
from trivet.experiment.workload import Workload
from trivet.judge.accuracy import Judgement
from trivet.judge.metric import smaller_is_better
from trivet.spec.configuration import Configuration, with_service
from trivet.spec.service_file import load_configuration

Progress = Callable[[str, int, int], None]


class RungLoss(msgspec.Struct, frozen=True, kw_only=True):
    """loss: the declared model's accuracy minus this one's, paired on the same rows; high: it is at most so much with 95 %
    confidence.  declared: in the service file."""

    model: str
    declared: float
    loss: Figure
    num_rows: int


def measured_losses(
    configuration: Configuration,
    placement: Placement,
    max_rows: int,
    on_progress: Progress = lambda what, done, total: None,
) -> list[RungLoss]:
    """Each model of the ladder behind the service's own stages, one server after the other.

    Args: max_rows: of the service's data, the first ones.
    Raises: UserError: no ladder or no labelled data is declared, or a model cannot be served or judged.
    """
    service = configuration.service
    if service.degrade is None:
        raise UserError("the service declares no `degrade:`: there is nobody whose loss could be measured")
    if service.data is None or service.data.label is None or service.metric is None:
        raise UserError(
            "losses are measured on labelled rows: add `data:` with a label, `decode:` and `metric:`"
        )
    names = [service.pipeline[service.last_model].target, *service.degrade.names]
    judged: list[Judgement] = []
    for place, one in enumerate([_alone(configuration), *rung_configurations(configuration)]):
        on_progress(names[place], place, len(names))
        judged.append(_judged(one, placement, max_rows))
    sign = 1.0 if smaller_is_better(service.metric) else -1.0
    return [
        RungLoss(
            model=name, declared=rung.share, loss=_times(difference(judged[0], own), sign), num_rows=own.num
        )
        for name, rung, own in zip(service.degrade.names, service.degrade.to, judged[1:], strict=True)
    ]


def declared_lines(losses: Sequence[RungLoss]) -> list[str]:
    """What to write under `degrade.to`: never less than the model before it, nor below 0."""
    lines, least = [], 0.0
    for one in losses:
        least = max(least, one.loss.estimate)
        lines.append(f"- {{model: {one.model}, loss: {least:.5f}}}")
    return lines


def _alone(configuration: Configuration) -> Configuration:
    """The service without its ladder."""
    service = configuration.service
    used = {stage.model for stage in service.pipeline}
    models = {name: model for name, model in service.models.items() if name in used}
    return with_service(configuration, msgspec.structs.replace(service, models=models, degrade=None))


def _judged(configuration: Configuration, placement: Placement, max_rows: int) -> Judgement:
    with tempfile.TemporaryDirectory(prefix="trivet-losses-") as folder:
        path = laid_out(patient(configuration), Path(folder))
        with side(Subject(str(path), load_configuration(path)), Workload(), placement) as running:
            judged = judge_labelled(running, max_rows)
    assert judged is not None  # whoever calls has seen data, label and metric
    return judged.judgement


def _times(figure: Figure, sign: float) -> Figure:
    bounds = [bound if bound is None else sign * bound for bound in (figure.low, figure.high)]
    low, high = bounds if sign > 0 else bounds[::-1]
    return msgspec.structs.replace(figure, estimate=sign * figure.estimate, low=low, high=high)
