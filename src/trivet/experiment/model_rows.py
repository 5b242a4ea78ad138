"""What the service's data brings each of its models: rows carried through the stages before, judged by those after."""

import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivet.errors import RequestError
from trivet.experiment.data_parts import DataParts, data_parts, why_no_data
from trivet.judge.accuracy import judge
from trivet.judge.decode import decoder
from trivet.pipeline.wiring import REQUEST, Wiring
from trivet.runtime.conversion import as_arrays
from trivet.runtime.preparing.preparing import Prepared, PreparedModel, prepare
from trivet.spec.configuration import Configuration
from trivet.spec.service import Service
from trivet.spec.service_file import DEFAULT_VERSION
from trivet.spec.signature import Signature
from trivet.spec.variants import options_of
from trivet.variants.source import Arrays, Source

MAX_ROWS = 6000
_MAX_BYTES = 1 << 29  # of the rows of all parts, as requests bring them
Say = Callable[[str], None]


@dataclass(slots=True)
class Row:
    """On its way: what the next stage is given, and what later ones take. `place` is its place in the data."""

    place: int
    inputs: Mapping[str, NDArray[Any]]
    carried: dict[str, NDArray[Any]]


def sources_of(
    configuration: Configuration,
    *,
    max_rows: int = MAX_ROWS,
    seed: int = 0,
    now_ns: Callable[[], int] = time.monotonic_ns,
    say: Say = lambda text: None,
) -> list[Source]:
    """One for each native model of the service, in the pipeline's order. Models that are Python code have no variants.

    Args: max_rows: for fitting and certifying together.
    Raises: UserError: the service cannot be prepared, or its data does not fit; names the place.
    """
    way = Way(prepare(configuration, DEFAULT_VERSION, now_ns, say), configuration)
    missing = why_no_data(configuration)
    if missing:
        say(f"{missing}: variants that need rows are not built, and accuracy is not judged")
        parts = None
    else:
        parts = data_parts(configuration, way.signature, seed)
    rows, num_fitting = _rows(way, parts, max_rows) if parts is not None else ([], 0)
    found: dict[str, Source] = {}
    for index, stage in enumerate(way.prepared.stages):
        if isinstance(stage, PreparedModel) and stage.model.file is not None and stage.name not in found:
            found[stage.name] = _source(way, index, rows, parts, num_fitting, seed)
        if index + 1 < len(way.prepared.stages):
            rows, num_fitting = _passed(way, index, rows, num_fitting, say)
    return list(found.values())


class Way:
    """The stages of a prepared service, one request at a time. Engines are closed when nobody holds it any more."""

    def __init__(self, prepared: Prepared, configuration: Configuration) -> None:
        self.prepared, self.configuration = prepared, configuration
        first = prepared.stages[0]
        given = configuration.service.inputs
        self.signature = (
            first.signature if isinstance(first, PreparedModel) else Signature(given or (), (), False)
        )
        self.wiring = Wiring(prepared.takings, [spec.name for spec in self.signature.inputs])
        weakref.finalize(self, _close, prepared)

    def signature_of(self, index: int) -> Signature:
        """Of the model at `index`."""
        stage = self.prepared.stages[index]
        assert isinstance(stage, PreparedModel)  # models always are
        return stage.signature

    def begin(self, place: int, request: Arrays) -> Row:
        carried: dict[str, NDArray[Any]] = {}
        return Row(place, self.wiring.hand_over(REQUEST, request, carried), carried)

    def run(self, index: int, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Raises: RequestError: the stage refuses the row, or fails on it."""
        from trivet.runtime.steps import call_step

        stage = self.prepared.stages[index]
        if isinstance(stage, PreparedModel):
            return stage.engines[0].run(as_arrays(inputs, stage.name, stage.signature))
        return call_step(stage, inputs)

    def rest(
        self, index: int, row: Row, outputs: Mapping[str, NDArray[Any]]
    ) -> Mapping[str, NDArray[Any]] | None:
        """The service's answer, where the stage at `index` gave these outputs; None: a later stage fails on them."""
        carried = dict(row.carried)
        try:
            for place in range(index, len(self.prepared.stages) - 1):
                outputs = self.run(place + 1, self.wiring.hand_over(place, outputs, carried))
        except RequestError:
            return None
        return outputs


def _close(prepared: Prepared) -> None:
    for stage in prepared.stages:
        if isinstance(stage, PreparedModel):
            for engine in stage.engines:
                engine.close()


def _rows(way: Way, parts: DataParts, max_rows: int) -> tuple[list[Row], int]:
    """Rows for fitting, then those for certifying, in the proportion that the data has; how many are for fitting."""
    inputs = parts.rows.inputs
    total = len(parts.fitting) + len(parts.certifying)
    size = sum(array.nbytes for array in inputs[0].values()) if inputs else 1
    most = min(max_rows, _MAX_BYTES // max(1, size), total)
    num_fitting = round(most * len(parts.fitting) / max(1, total))
    chosen = [*parts.fitting[:num_fitting], *parts.certifying[: most - num_fitting]]
    return [way.begin(place, inputs[place]) for place in chosen], num_fitting


def _passed(way: Way, index: int, rows: Sequence[Row], num_fitting: int, say: Say) -> tuple[list[Row], int]:
    """The rows behind a stage; those that it refuses are left out, as they would be for a client."""
    passed, kept_fitting = [], 0
    for number, row in enumerate(rows):
        try:
            outputs = way.run(index, row.inputs)
            inputs = way.wiring.hand_over(index, outputs, row.carried)
        except RequestError:
            continue
        passed.append(Row(row.place, inputs, row.carried))
        kept_fitting += number < num_fitting
    if len(passed) < len(rows):
        say(
            f"{way.prepared.stages[index].name!r} refuses {len(rows) - len(passed)} of {len(rows)} rows of the data"
        )
    return passed, kept_fitting


def _source(
    way: Way, index: int, rows: Sequence[Row], parts: DataParts | None, num_fitting: int, seed: int
) -> Source:
    stage = way.prepared.stages[index]
    assert isinstance(stage, PreparedModel)
    service, root = way.configuration.service, Path(way.configuration.root)
    is_last = index == len(way.prepared.stages) - 1
    labels = parts.rows.labels if parts is not None else []
    cohorts = parts.rows.cohorts if parts is not None else []
    return Source(
        model=stage.name,
        path=way.configuration.model_path(stage.name),
        signature=stage.signature,
        declared=stage.model,
        rows=[as_arrays(row.inputs, stage.name, stage.signature) for row in rows],
        labels=[labels[row.place] for row in rows] if labels else None,
        cohorts=[cohorts[row.place] for row in rows] if cohorts else None,
        decode=decoder(service.decode, root) if is_last and service.decode is not None else None,
        calibration=range(num_fitting),
        certification=range(num_fitting, len(rows)),
        seed=seed,
        judge=_Judging(way, index, list(rows), labels) if labels and _has_values(service) else None,
        options={name: dict(options) for name, options in options_of(service.variants).items()},
    )


def _has_values(service: Service) -> bool:
    """Whether each row has a value between 0 and 1: accuracy, and functions, which are held to it."""
    return service.metric == "accuracy" or (service.metric is not None and ":" in service.metric)


class _Judging:
    """The metric's value of each of some answers of a model in the middle of the pipeline."""

    def __init__(self, way: Way, index: int, rows: Sequence[Row], labels: Sequence[Any]) -> None:
        self._way, self._index, self._rows, self._labels = way, index, rows, labels

    def __call__(self, answers: Sequence[Arrays], places: Sequence[int]) -> Sequence[float]:
        """Raises: JudgeError: labels and answers do not go together, or a value is not in [0, 1]."""
        from trivet.judge.errors import JudgeError

        configuration = self._way.configuration
        rows = [self._rows[place] for place in places]
        outputs = [
            self._way.rest(self._index, row, answer) for row, answer in zip(rows, answers, strict=True)
        ]
        labels = [self._labels[row.place] for row in rows]
        values = judge(configuration.service, Path(configuration.root), labels, [], outputs).values
        assert values is not None  # `_has_values` has asked
        values = np.nan_to_num(values, nan=0.0)  # no answer is worth nothing
        if ((values < 0) | (values > 1)).any():
            raise JudgeError(
                f"metric {configuration.service.metric} gives {values.min():g} to {values.max():g}; a bound is certified "
                "for values between 0 and 1"
            )
        result: list[float] = values.tolist()
        return result
