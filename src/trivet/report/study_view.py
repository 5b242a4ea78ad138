"""What a page needs of a study, worked out once: which trials matter, where each stands, and how much was gained."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec

from trivet.catalog.records import Figure, Run
from trivet.catalog.study import Study, Trial
from trivet.experiment.variants.judged_variants import JudgedVariant
from trivet.report.numbers import lever_value, lever_word, milliseconds, value
from trivet.spec.service import SMALLER_IS_BETTER
from trivet.tune.legs import ratio_of

RATE, ACCURACY, COST, MEMORY = "max_rate_rps", "accuracy", "cpu_ms_per_request", "memory_mib"
PRICE = "cost_per_million"  # where calls to other servers are paid
HITS = "hit_share"  # answered before the pipeline, at no engine's cost
NS_PER_MS = 1e6


@dataclass(frozen=True, slots=True)
class Point:
    """Where a trial stands. figures: measured ones where there are any, else predicted."""

    trial: Trial
    figures: Mapping[str, Figure]
    is_measured: bool
    is_front: bool
    role: str  # "default", "recommended", "closest" (where nothing meets the goal), "runner-up", or nothing

    def at(self, x: str, y: str) -> tuple[float, float]:
        """Estimates of two of its figures."""
        return self.figures[x].estimate, self.figures[y].estimate


@dataclass(frozen=True)  # without slots, so that what is worked out is worked out once
class StudyView:
    """runs: of the trials, by id; one that is not in the catalog is missing. levers of the default are known by trial 0."""

    study: Study
    runs: Mapping[str, Run]

    @cached_property
    def by_id(self) -> dict[int, Trial]:
        return {trial.id: trial for trial in self.study.trials}

    @cached_property
    def default(self) -> Trial | None:
        return next((trial for trial in self.study.trials if trial.stage == "default"), self.by_id.get(0))

    @cached_property
    def chosen(self) -> Trial | None:
        found = self.study.recommendation
        return self.by_id.get(found.trial) if found is not None else None

    @cached_property
    def runner_up(self) -> Trial | None:
        found = self.study.recommendation
        return self.by_id.get(found.runner_up) if found is not None and found.runner_up is not None else None

    @cached_property
    def variants(self) -> list[JudgedVariant]:
        # Keys of JSON objects are text, and those of times are numbers.
        return [msgspec.convert(judged, JudgedVariant, strict=False) for judged in self.study.variants]

    @cached_property
    def latency_name(self) -> str:
        """The latency that trials have at the SLO's percentile; p99 where they have none there."""
        wanted = f"latency_p{self.study.goal.slo_percentile:g}_ms".replace(".", "")
        return (
            wanted
            if any(wanted in trial.measured or wanted in trial.predicted for trial in self.study.trials)
            else "latency_p99_ms"
        )

    @cached_property
    def points(self) -> list[Point]:
        """Of every trial that has a rate or a latency, the front last, so that it is drawn above the others."""
        front = set(self.study.front)
        found = [
            Point(trial, figures_of(trial), is_measured(trial), trial.id in front, self.role(trial))
            for trial in self.study.trials
            if figures_of(trial)
        ]
        return sorted(found, key=lambda point: (bool(point.role), point.is_front, point.is_measured))

    @property
    def objective(self) -> str:
        """The figure that the goal is about."""
        cost = PRICE if self.study.goal.currency else COST
        return {"rate": RATE, "latency": self.latency_name, "cost": cost}[self.study.goal.objective]

    @property
    def slo_ms(self) -> float:
        return self.study.goal.slo_latency_ns / NS_PER_MS

    @property
    def smaller_is_better(self) -> bool:
        """Of the accuracy's metric: an error such as mae."""
        return self.study.goal.metric in SMALLER_IS_BETTER

    @cached_property
    def accuracy_unit(self) -> str:
        """As the trials have it; the metric's name where none was judged."""
        known = (figures_of(trial).get(ACCURACY) for trial in self.study.trials)
        return next((figure.unit for figure in known if figure is not None), self.study.goal.metric or "")

    @property
    def floor(self) -> str:
        """`at least 90.0 %`; of an error `at most`; empty where there is no floor."""
        limit = self.study.goal.accuracy_floor
        if limit is None:
            return ""
        word = "at most" if self.smaller_is_better else "at least"
        return f"{word} {value(Figure(estimate=limit, unit=self.accuracy_unit))}"

    @property
    def has_live(self) -> bool:
        return any(is_measured(trial) for trial in self.study.trials)

    @property
    def is_recommended(self) -> bool:
        return self.study.recommendation is not None and self.study.recommendation.meets

    def role(self, trial: Trial) -> str:
        if self.chosen is not None and trial.id == self.chosen.id:
            return "recommended" if self.is_recommended else "closest"
        if self.default is not None and trial.id == self.default.id:
            return "default"
        return "runner-up" if self.runner_up is not None and trial.id == self.runner_up.id else ""

    def under_floor(self, figures: Mapping[str, Figure]) -> bool:
        """The estimate of the accuracy is worse than the floor (of an error: above the ceiling)."""
        floor, accuracy = self.study.goal.accuracy_floor, figures.get(ACCURACY)
        if floor is None or accuracy is None:
            return False
        return accuracy.estimate > floor if self.smaller_is_better else accuracy.estimate < floor

    def changed(self, trial: Trial) -> dict[str, str]:
        """The levers in which a trial is not the default, in words; all of them where there is no default."""
        base: Mapping[str, Any] = {} if self.default is None else self.default.levers
        return {
            lever_word(name): lever_value(name, value)
            for name, value in trial.levers.items()
            if name not in base or base[name] != value
        }

    def told(self, trial: Trial) -> str:
        """What a trial is, on one line."""
        changed = self.changed(trial)
        if not changed:
            return (
                "the default" if self.default is not None and trial.id == self.default.id else trial.variant
            )
        return ", ".join(f"{name} {value}" for name, value in changed.items())

    def gain(self, name: str) -> Figure | None:
        """A figure of the chosen trial beside the default's, as a ratio; None where one of them was not measured."""
        if self.chosen is None or self.default is None or self.chosen.id == self.default.id:
            return None
        return ratio_of(self.chosen.measured, self.default.measured, name)


def figures_of(trial: Trial) -> dict[str, Figure]:
    """Predicted figures, and measured ones in their place where there are any."""
    return {**trial.predicted, **trial.measured}


def is_measured(trial: Trial) -> bool:
    """Under load: accuracy alone is measured without any."""
    return any(name != ACCURACY for name in trial.measured)


def slo_words(study: Study) -> str:
    """`p99 within 20 ms`."""
    return f"p{study.goal.slo_percentile:g} within {milliseconds(study.goal.slo_latency_ns)}"
