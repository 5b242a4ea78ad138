"""The answers of one configuration to labelled rows, through a server of its own; and two of them compared row by row."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from trivet.catalog.records import Figure
from trivet.experiment.making_figures import interval_figure, plain_figure
from trivet.experiment.passes import accuracy_figures, judge_rows
from trivet.experiment.placement import Placement
from trivet.experiment.side import side
from trivet.experiment.target import Subject
from trivet.experiment.variants.laid_out import laid_out
from trivet.experiment.workload import Workload
from trivet.judge import intervals
from trivet.judge.accuracy import Judgement
from trivet.spec.configuration import Configuration
from trivet.spec.configuration import configuration as make_configuration
from trivet.spec.data import LabelledRows
from trivet.spec.service_file import load_configuration
from trivet.stats.proportion import paired_difference

CONFIDENCE = 0.95
_DEADLINE_NS = 60_000_000_000


@dataclass(frozen=True, slots=True)
class JudgedAnswers:
    """figures: `accuracy`, `accuracy[cohort]` and `calibration_error`, where they are."""

    judgement: Judgement
    figures: Mapping[str, Figure]

    @property
    def cohorts(self) -> dict[str, Figure]:
        return {
            name.removeprefix("accuracy[").removesuffix("]"): figure
            for name, figure in self.figures.items()
            if name.startswith("accuracy[")
        }


def judged_answers(configuration: Configuration, rows: LabelledRows, placement: Placement) -> JudgedAnswers:
    """Serve it, ask it these rows, and judge its answers.

    Raises: UserError: it does not start, or answers and labels do not go together.
    """
    with tempfile.TemporaryDirectory(prefix="trivet-variant-") as folder:
        path = laid_out(patient(configuration), Path(folder))
        subject = Subject(str(path), load_configuration(path))
        with side(subject, Workload(), placement) as running:
            judged = judge_rows(running, configuration, rows)
    return JudgedAnswers(judged.judgement, accuracy_figures(judged))


def patient(configuration: Configuration) -> Configuration:
    """The same with a deadline that nothing misses: what is asked for are answers, however long a busy machine takes."""
    slo = msgspec.structs.replace(configuration.service.slo, deadline_ns=_DEADLINE_NS)
    service = msgspec.structs.replace(configuration.service, slo=slo)
    return make_configuration(service, Path(configuration.root), configuration.source)


def difference(original: Judgement, variant: Judgement) -> Figure:
    """The variant's accuracy minus the original's on the same rows, with its interval where each row has a value."""
    unit = original.metric
    before, after = original.values, variant.values
    if before is None or after is None:
        apart = variant.overall.estimate - original.overall.estimate
        return plain_figure(apart, unit, f"no interval: {original.metric} has no value for one row")
    return values_difference(before, after, unit)


def values_difference(before: NDArray[np.float64], after: NDArray[np.float64], unit: str) -> Figure:
    """The mean of `after` minus that of `before`, both shape (n,), a value a row; nan: it got no answer."""
    answered = ~(np.isnan(before) | np.isnan(after))
    if not answered.any():
        return plain_figure(0.0, unit, "no interval: no row was answered by both")
    before, after = before[answered], after[answered]
    if (np.isin(before, (0.0, 1.0)) & np.isin(after, (0.0, 1.0))).all():
        return interval_figure(paired_difference(before == 1, after == 1, CONFIDENCE), unit)
    if len(before) == 1:
        return plain_figure(float(after[0] - before[0]), unit, "no interval: one row has no spread")
    return interval_figure(intervals.mean(after - before, CONFIDENCE, np.random.default_rng(0)), unit)
