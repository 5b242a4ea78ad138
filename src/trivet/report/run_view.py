"""What a page needs of a run, worked out once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from trivet.catalog.catalog import Catalog
from trivet.catalog.errors import NoSuchArtifactError
from trivet.catalog.records import Figure, Run
from trivet.experiment.compare import blocks_of
from trivet.experiment.measured import Measured
from trivet.experiment.scenario import ONE_RATE
from trivet.report.numbers import number
from trivet.report.pictures import cohort_plots, latency_plots, load_plots, phase_plots
from trivet.report.pictures.plot import Missing, Plot, Shown

NS_PER_MS, NS_PER_S = 1e6, 1e9


@dataclass(frozen=True)  # without slots, so that what is worked out is worked out once
class RunView:
    """blocks: none where nothing was measured, or `trouble` says why they cannot be read."""

    run: Run
    blocks: Sequence[Measured]
    trouble: str = ""

    @cached_property
    def used(self) -> list[Measured]:
        """Valid blocks; all where none is valid: the banner says what the run is."""
        return [measured for measured in self.blocks if not measured.invalid] or list(self.blocks)

    @property
    def workload(self) -> Mapping[str, Any]:
        return self.run.workload

    @property
    def slo_ms(self) -> float | None:
        value = self.workload.get("slo_latency_ns")
        return None if value is None else float(value) / NS_PER_MS

    @property
    def percentile(self) -> float:
        return float(self.workload.get("slo_percentile", 99.0))

    @property
    def scenario(self) -> str:
        return str(self.workload.get("scenario", "steady"))

    @property
    def has_one_rate(self) -> bool:
        return self.scenario in ONE_RATE

    def figure(self, name: str) -> Figure | None:
        return self.run.figures.get(name)


@dataclass(frozen=True, slots=True)
class RunPlots:
    latency: Shown
    over_time: Shown
    load: Shown
    phases: Shown
    queue: Shown
    batches: Shown
    accuracy: Shown

    def drawn(self) -> list[Plot]:
        every = (
            self.latency,
            self.over_time,
            self.load,
            self.phases,
            self.queue,
            self.batches,
            self.accuracy,
        )
        return [shown for shown in every if isinstance(shown, Plot)]


def read_run(catalog: Catalog, run: Run) -> RunView:
    """With its rows. Where they are elsewhere the page says so: the figures of the record still stand.

    Raises: DamagedArtifactError, CatalogError: rows that are there and cannot be read.
    """
    try:
        return RunView(run, blocks_of(catalog, run))
    except NoSuchArtifactError as error:
        return RunView(run, [], f"its rows are not in this catalog: {error}")


def run_plots(view: RunView) -> RunPlots:
    accuracy = cohort_plots.of_run(view.run.figures)
    if not view.blocks:
        why = view.trouble or "no load was offered, so there are no rows of requests to draw."
        nothing = {name: Missing(name.replace("_", "-"), title, why) for name, title in _TITLES.items()}
        return RunPlots(**nothing, accuracy=accuracy)
    return RunPlots(
        latency=_latency(view),
        over_time=latency_plots.over_time(view.used),
        load=load_plots.against_load(view.used, view.slo_ms, view.percentile, view.figure("knee_rps")),
        phases=phase_plots.phases(view.used),
        queue=phase_plots.queue_delay(view.used),
        batches=phase_plots.batch_fill(view.used),
        accuracy=accuracy,
    )


def _latency(view: RunView) -> Shown:
    if view.has_one_rate:
        return latency_plots.distribution(view.used, view.run.figures, view.slo_ms)
    why = f"the scenario {view.scenario} offers several loads, and one distribution would mix them."
    return Missing("latency", _TITLES["latency"], why)


def offered_words(workload: Mapping[str, Any]) -> str:
    """`400 requests/s, poisson, for 10 s`."""
    seconds = f"{float(workload.get('duration_ns', 0)) / NS_PER_S:g} s"
    scenario = workload.get("scenario", "steady")
    if scenario != "steady":
        return f"scenario {scenario}"
    if workload.get("users"):
        return f"{workload['users']} users for {seconds}"
    rate = workload.get("rate_rps")
    offered = f"{number(float(rate))} requests/s, " if rate else ""
    return f"{offered}{workload.get('arrivals', 'poisson')}, for {seconds}"


_TITLES = {
    "latency": "Latency",
    "over_time": "Latency over time",
    "load": "Latency against offered load",
    "phases": "Where the time goes",
    "queue": "Queue delay",
    "batches": "Batch fill",
}
