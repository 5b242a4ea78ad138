"""`trivet certify`: thresholds for the exits of a cascade that keep its loss within what the service declares.

The rows are the service's labelled data without those that models were trained on. A quarter proposes settings, the others
certify; in the end a server with the certificate in force is asked, and has to answer as the record says.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from trivet.errors import UserError
from trivet.experiment.certifying.cascade_points import Recorded, certified, outcome, proposed
from trivet.experiment.certifying.cascade_rows import CascadeRows, OnProgress, record
from trivet.experiment.certifying.routed import LEARNING, digest_of, routed
from trivet.experiment.data_parts import MAX_READ, why_no_data
from trivet.experiment.model_rows import Way
from trivet.experiment.placement import Placement
from trivet.experiment.variants.judged_answers import judged_answers
from trivet.runtime.preparing.preparing import prepare
from trivet.spec.certified import Certificate, certificate_text
from trivet.spec.configuration import Configuration, configuration
from trivet.spec.data import LabelledRows, labelled_rows, read_columns
from trivet.spec.fields import FieldError
from trivet.spec.route import first_model
from trivet.spec.service import Service
from trivet.spec.service_file import DEFAULT_VERSION, load_configuration, load_service, located
from trivet.stats.risk_control import rows_needed

TRAINING = frozenset({"train", "training", "fit", "fitting"})
_PROPOSING = 0.25  # of the rows
_MAX_PROPOSING = 2000
_MAX_ASKED = 1000  # rows that the server is asked in the end
_AGREEING = 0.99  # batches, and with them last digits, may differ
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Certified:
    """path: of the certificate.  shares: of the certifying rows that each stage answers.  accuracy: of the cascade, and
    full_accuracy of the last model, on the rows that certified.  num_asked: of the server."""

    path: Path
    certificate: Certificate
    shares: Mapping[str, float]
    accuracy: float
    full_accuracy: float
    num_asked: int


def certify(
    service_file: Path,
    placement: Placement,
    *,
    max_rows: int = MAX_READ,
    seed: int = 0,
    now_ns: Callable[[], int] = time.monotonic_ns,
    say: Say = lambda text: None,
    on_progress: OnProgress = lambda done, total: None,
) -> Certified:
    """Certify the exits of a service, write the certificate beside it, and check a server that keeps to it.

    Args: max_rows: of the data, at most.  seed: of the division of the rows.  on_progress: is told how many rows of how many
    have been through all stages.
    Raises: UserError: no exit declares a `max_loss`, too few rows (and how many it takes), nothing could be certified, or
    the server answers otherwise.
    """
    service = load_service(service_file)
    promise = service.certified
    if promise is None:
        raise UserError(
            f"{service_file}: nothing declares what it may lose; write `exit: {{output: ..., max_loss: 0.5%}}` behind the "
            "models before the last, or `route: {input: ..., max_loss: 0.5%}`; `--before distilled --max-loss 0.5%` puts a "
            "variant that was built before the model"
        )
    max_loss, rules = promise
    open_configuration = _uncertified(service, service_file)
    way = Way(prepare(open_configuration, DEFAULT_VERSION, now_ns, say), open_configuration)
    rows = _rows(way, max_rows, seed)
    _check_number(rows, max_loss, rules.confidence, LEARNING if service.route else _PROPOSING)
    say(f"{len(rows.labels):,} rows through all stages")
    early = early_models(service)
    found = record(way, rows, early, say, is_routed=service.route is not None, on_progress=on_progress)
    router = ""
    if service.route is None:
        num_proposing = min(_MAX_PROPOSING, round(_PROPOSING * found.recorded.num_rows))
    else:
        found, num_proposing = routed(service.route, service_file.parent, rows, found, seed)
        router = digest_of(service_file.parent / service.route.router)
    proposing = found.recorded.part(range(num_proposing))
    certifying = found.recorded.part(range(num_proposing, found.recorded.num_rows))
    settings = proposed(proposing, max_loss)
    points = certified(certifying, settings, max_loss=max_loss, confidence=rules.confidence, loss=rules.loss)
    if not points:
        raise UserError(_why_nothing(certifying, settings, max_loss, rules.confidence))
    names = tuple(service.pipeline[index].target for index in early)
    certificate = Certificate(
        stages=_digest(service, open_configuration),
        exits=names,
        max_loss=max_loss,
        confidence=rules.confidence,
        loss=rules.loss,
        router=router,
        points=tuple(points),
    )
    path = service_file.parent / rules.certificate
    path.write_text(certificate_text(certificate))
    say(f"{path} is written; asking a server that keeps to it")
    num_asked = _check_server(service_file, rows, found, num_proposing, certificate, placement)
    return _certified(
        path, certificate, certifying, (*names, service.pipeline[service.last_model].target), num_asked
    )


def early_models(service: Service) -> list[int]:
    """The places of the models that may answer before the last one."""
    if service.route is not None:
        return [first_model(service)]
    return [index for index, stage in enumerate(service.pipeline) if stage.exit is not None]


def _uncertified(service: Service, path: Path) -> Configuration:
    """The service with exits at which nothing leaves: what it takes no certificate to load."""
    stages = tuple(
        stage
        if stage.exit is None
        else msgspec.structs.replace(
            stage, exit=msgspec.structs.replace(stage.exit, at_least=1.0, max_loss=None)
        )
        for stage in service.pipeline
    )
    opened = msgspec.structs.replace(service, pipeline=stages, cascade=None, route=None)
    return configuration(opened, path.parent, str(path))


def _digest(service: Service, base: Configuration) -> str:
    return msgspec.structs.replace(base, service=service).stages_digest(service.last_model + 1)


def _rows(way: Way, max_rows: int, seed: int) -> LabelledRows:
    """The labelled rows that no model was trained on, in an order of the seed's."""
    opened = way.configuration
    data, root = opened.service.data, Path(opened.root)
    missing = why_no_data(opened)
    if missing or data is None or data.label is None or opened.service.metric is None:
        raise UserError(
            f"{missing or 'labels or a metric are missing'}: a loss is certified on labelled rows; declare `data:` with a "
            "`label`, `decode:` and `metric:`"
        )
    try:
        rows = labelled_rows(data, root, way.signature, max_rows)
        splits = (
            [] if data.split is None else read_columns(root / data.path, [data.split], max_rows)[data.split]
        )
    except FieldError as error:
        raise located(opened, error) from None
    places = [
        place for place in range(len(rows.labels)) if not len(splits) or _word(splits[place]) not in TRAINING
    ]
    order = [places[i] for i in np.random.default_rng(seed).permutation(len(places))]
    return LabelledRows([rows.inputs[i] for i in order], [rows.labels[i] for i in order], [])


def _word(value: object) -> str:
    return (value.decode(errors="replace") if isinstance(value, bytes) else str(value)).lower()


def _check_number(rows: LabelledRows, max_loss: float, confidence: float, proposing: float) -> None:
    """Raises: UserError: before anything is run that cannot be enough."""
    least = rows_needed(max_loss, 1 - confidence)
    wanted = least and round(least / (1 - proposing)) + 1
    if wanted is None or len(rows.labels) < wanted:
        needs = (
            "more than can be had"
            if wanted is None
            else f"at least {wanted:,}, and more where answers get lost"
        )
        raise UserError(
            f"{len(rows.labels):,} labelled rows that no model was trained on: a loss of at most {100 * max_loss:g} points "
            f"with {100 * confidence:g} % confidence needs {needs}; give more rows, or allow more"
        )


def _why_nothing(
    recorded: Recorded, settings: list[tuple[float, ...]], max_loss: float, confidence: float
) -> str:
    if not settings:
        return (
            "nothing to certify: on the rows for proposing no exit could answer anything within the loss allowed; "
            "the models before the last are too weak, or their confidence tells nothing"
        )
    found = outcome(recorded, settings[0])
    rate = max(0.0, found.net_loss)
    least = rows_needed(max_loss, 1 - confidence, rate)
    advice = "allow more" if least is None else f"give {least:,} rows or more, or allow more"
    return (
        f"not certified: the safest setting loses {100 * found.net_loss:.2f} points on {recorded.num_rows:,} rows "
        f"({found.lost} lost, {found.gained} gained), too near to the {100 * max_loss:g} allowed; {advice}"
    )


def _check_server(
    service_file: Path,
    rows: LabelledRows,
    found: CascadeRows,
    first: int,
    certificate: Certificate,
    placement: Placement,
) -> int:
    """Ask a server with the certificate in force some of the rows. Raises: UserError: it answers otherwise."""
    chosen = range(first, min(found.recorded.num_rows, first + _MAX_ASKED))
    asked = [found.places[i] for i in chosen]
    part = LabelledRows([rows.inputs[i] for i in asked], [rows.labels[i] for i in asked], [])
    judged = judged_answers(load_configuration(service_file), part, placement).judgement
    left_at = outcome(found.recorded.part(chosen), certificate.points[-1].thresholds).left_at
    expected = [found.predictions[stage][i] for stage, i in zip(left_at.tolist(), chosen, strict=True)]
    same = sum(
        bool(np.array_equal(one, other)) for one, other in zip(judged.predictions, expected, strict=True)
    )
    if same < _AGREEING * len(expected):
        raise UserError(
            f"the server gives {len(expected) - same} of {len(expected)} rows another answer than its stages did one by "
            "one: the certificate does not speak of it; look at `batching` of the models (trivet validate)"
        )
    return len(expected)


def _certified(
    path: Path, certificate: Certificate, recorded: Recorded, names: tuple[str, ...], num_asked: int
) -> Certified:
    found = outcome(recorded, certificate.points[-1].thresholds)
    shares = np.bincount(found.left_at, minlength=len(names)) / recorded.num_rows
    full = float(recorded.right[-1].mean())
    return Certified(
        path,
        certificate,
        dict(zip(names, shares.tolist(), strict=True)),
        full - found.net_loss,
        full,
        num_asked,
    )
