"""What each stage of a prepared configuration is given while its times are measured: real rows, else random ones."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from trivet.engine.contract import Engine
from trivet.errors import UserError
from trivet.runtime.buckets import bucket_of_shapes, free_axes
from trivet.runtime.conversion import as_arrays
from trivet.runtime.preparing.engines import load_engine, wanted_batch_size
from trivet.runtime.preparing.preparing import Prepared, PreparedModel
from trivet.runtime.preparing.profile_inputs import data_profile, random_profile
from trivet.runtime.preparing.profiling import single_rows
from trivet.runtime.preparing.samples import Samples
from trivet.runtime.steps import StepStage, call_step
from trivet.simulate.profile import NO_LENGTH
from trivet.spec.configuration import Configuration
from trivet.spec.signature import Signature

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Measurable:
    """A stage that can be run. `batches[length](rows)`: inputs of a batch.

    another: loads one more engine like it; None for a step of the event loop.
    buckets: the length bucket of each row of data, where sizes are free.
    """

    name: str
    run: Callable[[Arrays], Any]
    batches: Mapping[int, Callable[[int], Arrays]]
    max_rows: int
    same: bool = True
    batch_axis: bool = False
    another: Callable[[], Engine] | None = None
    told: str = ""
    buckets: Sequence[int] = ()


def measurables(
    prepared: Prepared, configuration: Configuration, now_ns: Callable[[], int]
) -> Iterator[Measurable]:
    """The stages in order; each is given what the stages before it make of the data.

    Raises: UserError: a stage that answers in chunks.
    """
    root = Path(configuration.root)
    samples = Samples(configuration.service, root, now_ns)
    for index, (stage, taking) in enumerate(zip(prepared.stages, prepared.takings, strict=True)):
        if index == 0:
            given = (
                stage.signature.inputs if isinstance(stage, PreparedModel) else configuration.service.inputs
            )
            samples.begin(Signature(given or (), (), False))
        if isinstance(stage, PreparedModel):
            if stage.streams:
                raise UserError(f"{stage.name!r} answers in chunks: forecasts are of whole answers only")
            yield _model(stage, samples, taking.takes, root)
            run: Callable[[Arrays], Arrays] = partial(_run_model, stage)
        else:
            yield _step(stage, samples, taking.takes)
            run = partial(call_step, stage)
        samples.add_stage(taking.name, taking.takes, run)


def _run_model(stage: PreparedModel, inputs: Arrays) -> Arrays:
    return stage.engines[0].run(as_arrays(inputs, stage.name, stage.signature))


def _model(stage: PreparedModel, samples: Samples, takes: Mapping[str, str] | None, root: Path) -> Measurable:
    model, signature = stage.model, stage.signature
    if model.remote is not None:  # its tries are recorded through a live server (remote_points.py)
        return Measurable(name=stage.name, run=stage.engines[0].run, batches={}, max_rows=1)
    inputs = random_profile(signature, model)
    buckets: list[int] = []
    if samples.digest:
        rows = single_rows(samples.inputs(takes), model.source, signature)
        inputs = data_profile(signature, model, rows)
        buckets = _buckets(stage, rows)
    return Measurable(
        name=stage.name,
        run=stage.engines[0].run,
        batches=inputs.batches,
        max_rows=wanted_batch_size(model) if signature.batch_axis else 1,
        same=stage.profile.batching.same,
        batch_axis=signature.batch_axis,
        another=partial(load_engine, model, root, signature if model.python else None),
        told=inputs.told,
        buckets=buckets,
    )


def _buckets(stage: PreparedModel, rows: Sequence[Arrays]) -> list[int]:
    """The length bucket of each row as the scheduler will know it; none where no size is free."""
    ragged = {(name, one.axis) for name, one in stage.model.ragged.items()}
    free = free_axes(
        stage.signature, ragged, wanted_batch_size(stage.model) if stage.signature.batch_axis else 1
    )
    if not free:
        return []
    found = (
        bucket_of_shapes(free, [row[spec.name].shape for spec in stage.signature.inputs]) for row in rows
    )
    return [max(bucket) if isinstance(bucket, tuple) else bucket for bucket in found]


def _step(stage: StepStage, samples: Samples, takes: Mapping[str, str] | None) -> Measurable:
    """A short step sees one request at a time: each run takes the next row of the data."""
    rows = cycle(samples.inputs(takes)) if samples.digest else None

    def batch(num: int) -> Arrays:
        return {} if rows is None else next(islice(rows, 1))

    return Measurable(
        name=stage.name,
        run=partial(call_step, stage) if rows is not None else lambda _: None,
        batches={NO_LENGTH: batch},
        max_rows=1,
        told=samples.why_not,
    )
