"""One configuration on trial: its service file, its server, and a run in the catalog for each block that it is offered."""

import contextlib
import math
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from trivet.catalog.catalog import Catalog
from trivet.catalog.environment import Environment
from trivet.catalog.records import Figure
from trivet.experiment.data_parts import data_parts, why_no_data
from trivet.experiment.figures import figures
from trivet.experiment.measured import Measured, measure
from trivet.experiment.offered import job
from trivet.experiment.pairs import block_values
from trivet.experiment.passes import Judged, accuracy_figures, ask_alone, judge_labelled, judge_rows
from trivet.experiment.placement import Placement
from trivet.experiment.recording import Recording, draft_of
from trivet.experiment.side import Side, side
from trivet.experiment.simulating.live_points import absolute
from trivet.experiment.simulating.table_rows import PARTS_SEED
from trivet.experiment.target import subject_of
from trivet.experiment.workload import Workload
from trivet.spec.configuration import Configuration
from trivet.spec.yaml_text import service_yaml
from trivet.stats.percentile import percentile_ns
from trivet.tune.bench import BlockResult
from trivet.tune.degrade_lever import shares_of_rows
from trivet.tune.prices import PRICE, lived_price
from trivet.tune.recommending.written import configuration_yaml
from trivet.tune.simulated_load import NUM_ALONE
from trivet.tune.state import CALLS

MAX_LABELLED = 1000
NEVER_NS = 2**62  # the latency of a request that got no result


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Where blocks are recorded. catalog: None: nowhere."""

    catalog: Catalog | None
    environment: Environment
    command: tuple[str, ...]
    tags: Mapping[str, str]


class Served:
    """Started when entered, stopped at the end.

    Raises (when entered): UserError: it does not start, or gives no answers.
    """

    def __init__(
        self, configuration: Configuration, workers: int, placement: Placement, kept: Kept, workload: Workload
    ) -> None:
        self._configuration, self._workers, self._placement = configuration, workers, placement
        self._kept, self._workload = kept, workload
        self._stack = contextlib.ExitStack()
        self._artifacts: dict[str, str] = {}
        self._side: Side | None = None
        self._answer_bytes = 0.0

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            path = self._write(stack)
            self._side = stack.enter_context(side(subject_of(str(path)), self._workload, self._placement))
            recording = Recording(self._side, self._kept.catalog)
            alone = ask_alone(self._side, NUM_ALONE)
            recording.keep_configuration()
            recording.keep_sources(self._workload)
            recording.keep("inputs", alone.inputs)
            recording.keep("answers", alone.answers)
            self._artifacts, self._answer_bytes = dict(recording.artifacts), alone.mean_bytes
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _write(self, stack: contextlib.ExitStack) -> Path:
        """Its service file: beside the declared one, from where everything is found; elsewhere where that is read-only."""
        root = Path(self._configuration.root).absolute()
        try:
            handle, name = tempfile.mkstemp(prefix=".trivet-trial-", suffix=".yaml", dir=root)
        except OSError:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="trivet-trial-"))
            path = Path(folder, "service.yaml")
            path.write_text(service_yaml(absolute(self._configuration).service))
            return path
        os.close(handle)
        path = Path(name)
        stack.callback(path.unlink, missing_ok=True)
        path.write_text(configuration_yaml(self._configuration, root, workers=self._workers).text)
        return path

    def accuracy(self, *, unseen: bool = False) -> Figure | None:
        """Judged through the server; None where there are no labels, or no metric.

        Args: unseen: only on rows that no variant was fitted or chosen by.
        """
        judged = None
        if self._side is not None:
            judged = self._judged_unseen(self._side) if unseen else judge_labelled(self._side, MAX_LABELLED)
        return None if judged is None else accuracy_figures(judged).get("accuracy")

    def _judged_unseen(self, made: Side) -> Judged | None:
        configuration, service = self._configuration, self._configuration.service
        if made.signature is None or why_no_data(configuration) or service.metric is None:
            return None
        rows = data_parts(configuration, made.signature, PARTS_SEED).judged_rows(MAX_LABELLED)
        return judge_rows(made, configuration, rows) if rows.labels else None

    def block(self, workload: Workload, tags: Mapping[str, str]) -> tuple[BlockResult, bool]:
        """One block as a run of its own, and whether it was stopped (Ctrl-C)."""
        made = self._side
        if made is None:
            raise RuntimeError("a block before the server was started")
        recording = Recording(made, self._kept.catalog, artifacts=dict(self._artifacts))
        recording.begin(
            draft_of(
                made,
                workload,
                self._kept.environment,
                command=self._kept.command,
                group="",
                tags={**self._kept.tags, **tags},
                kind="tune",
            )
        )
        server = made.started.server
        members = [] if server is None else server.members()
        measured = self._offer(made, workload)
        recording.blocks.append(measured)
        ended = "" if server is None else server.end() or server.lost(members)
        partial = measured.record.partial
        state = "failed" if ended else "partial" if partial else "invalid" if measured.invalid else "complete"
        recording.finish(
            state,  # type: ignore[arg-type]  # one of the words above
            figures([measured], slo_latency_ns=workload.slo_latency_ns),
            ended or measured.invalid,
        )
        found = _result(measured, workload, recording.run_id, ended)
        return replace(
            found, figures={**found.figures, **self._shares(measured), **self._calls(measured)}
        ), partial

    def _calls(self, measured: Measured) -> dict[str, float]:
        """Tries at servers elsewhere; of a request without an answer at least one, as nobody tells."""
        if all(model.remote is None for model in self._configuration.service.models.values()):
            return {}
        rows = measured.window
        is_called = ~rows.words["upstream"].equal("") | ~rows.words["outcome"].equal("ok", "late")
        return {CALLS: float(np.maximum(rows["attempts"], is_called).sum())}

    def _shares(self, measured: Measured) -> dict[str, float]:
        """Who stood in for the model as declared."""
        degrade = self._configuration.service.degrade
        if degrade is None:
            return {}
        words = measured.window.words
        answered = words["outcome"].equal("ok", "late")
        return shares_of_rows(words["instead"].decode()[answered].tolist(), degrade.names)

    def _offer(self, made: Side, workload: Workload) -> Measured:
        pinned = made.started.server is not None
        wanted = job(
            workload,
            0,
            made.target,
            made.requests,
            server_cores=self._placement.server if pinned else (),
        )
        configuration = made.configuration
        labels = {"service": made.name, "configuration": configuration.hash if configuration else ""}
        return measure(
            wanted,
            processes=made.started.processes,
            core=self._placement.generator,
            labels=labels,
            is_pinned=pinned,
        )


def _result(measured: Measured, workload: Workload, run_id: str, failure: str) -> BlockResult:
    values = block_values(measured, workload.slo_latency_ns)
    window = measured.window
    answered = window.words["outcome"].equal("ok", "late")
    latencies = window.latency_ns().copy()
    latencies[~answered] = NEVER_NS
    if len(latencies):
        at_slo = percentile_ns(latencies, workload.slo_percentile / 100)
        if at_slo < NEVER_NS:
            values["slo_latency_ms"] = at_slo / 1e6
        budget_ns = workload.slo_latency_ns or NEVER_NS - 1
        values["slo_attainment"] = float((latencies <= budget_ns).mean())
        price = lived_price(window)
        values |= {} if price is None else {PRICE: price}
        cache = window.words["cache"]
        if not cache.equal("").all():
            values["hit_share"] = float((~cache.equal("", "miss")).mean())
    return BlockResult(
        rate_rps=workload.rate_rps or math.nan,
        figures=values,
        num_requests=len(latencies),
        run=run_id,
        invalid="" if failure else measured.invalid,
        failure=failure,
    )
