"""From the options of `trivet tune` to a study, and from the study to what is printed and written."""

import re
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
import msgspec

from trivet.catalog.catalog import Catalog
from trivet.catalog.study import Goal, Study, Trial
from trivet.cli.live_line import LiveLine
from trivet.cli.tune_text import studies_text, study_text
from trivet.cli.tune_variants import judged_variants
from trivet.errors import SpecError, UserError
from trivet.experiment.certifying.kept_losses import kept_losses, losses_path
from trivet.experiment.placement import Placement, place
from trivet.experiment.target import subject_of
from trivet.experiment.variants.judged_variants import JudgedVariant
from trivet.experiment.variants.variant_store import default_store, tuned_profile_path
from trivet.spec.configuration import Configuration, with_service
from trivet.spec.tuning import Tuning
from trivet.spec.units import format_duration, parse_duration_ns
from trivet.tune.choice import Choice
from trivet.tune.goals import goal_of
from trivet.tune.live import LiveBench
from trivet.tune.progress import Progress
from trivet.tune.proposed_slo import PROFILE_NS, proposed_slo
from trivet.tune.recommending.written import (
    FILE_NAME,
    Written,
    configuration_yaml,
    header_lines,
    write_configuration,
)
from trivet.tune.space import Space, space_of
from trivet.tune.state import Origin
from trivet.tune.study import tune
from trivet.variants.apply import with_variant
from trivet.variants.store import VariantStore

EXIT_CODES = {"failed": 1, "partial": 130}
NOT_MET = 2
_ROWS = re.compile(r"(\d+) rows")
LEAST_RESUMED_NS = 60_000_000_000
_ANY_LATENCY_NS = 1_000_000_000  # of a goal whose latency is still to be proposed


def list_studies(url: str | None, *, as_json: bool) -> str:
    found = Catalog.open(url, create=False).studies()
    return msgspec.json.format(msgspec.json.encode(found)).decode() if as_json else studies_text(found)


def tune_service(text: str, options: Mapping[str, Any]) -> int:
    """Tune, print, write; the exit code. Raises: UserError: nothing was begun, or nothing could be measured."""
    configuration = subject_of(text).configuration
    if configuration is None:
        raise UserError(
            f"{text}: expected a service.yaml or a model file: a server elsewhere has no levers of ours"
        )
    catalog = Catalog.open(options["catalog_url"])
    earlier = None if options["resume"] is None else _earlier(catalog, options["resume"], configuration)
    budget_ns = _budget_ns(options, earlier)
    placement = place()
    with LiveLine(sys.stderr) as line:
        store = default_store(options["catalog_url"])
        judged = _judged(configuration, store, placement, earlier, options["which"], line)
        run = _Run(configuration, judged, store, placement, catalog, options, line)
        study = run.study(budget_ns, earlier)
        written = run.write(study)
    click.echo(_json(study) if options["as_json"] else "\n".join(study_text(study, written)))
    return _exit_code(study)


def _judged(
    configuration: Configuration,
    store: VariantStore,
    placement: Placement,
    earlier: Study | None,
    which: str | None,
    line: LiveLine,
) -> list[JudgedVariant]:
    """Of an earlier part of the study those that it had: its trials are of them."""
    if earlier is not None:
        return [msgspec.convert(one, JudgedVariant, strict=False, str_keys=True) for one in earlier.variants]
    began_ns = time.monotonic_ns()
    found = judged_variants(configuration, which, store, placement, line)
    took_s = (time.monotonic_ns() - began_ns) / 1e9
    if found and took_s >= 1:
        line.say(f"variants took {took_s:.0f} s, beside the budget")
    return found


class _Run:
    """One study of one service."""

    def __init__(
        self,
        configuration: Configuration,
        judged: list[JudgedVariant],
        store: VariantStore,
        placement: Placement,
        catalog: Catalog,
        options: Mapping[str, Any],
        line: LiveLine,
    ) -> None:
        self._configuration, self._judged, self._store = configuration, judged, store
        self._placement, self._catalog, self._options, self._line = placement, catalog, options, line
        self._command = ("trivet", *sys.argv[1:])
        self._notes = [placement.invalid] if placement.invalid else []
        self._space: Space | None = None

    def study(self, budget_ns: int, earlier: Study | None) -> Study:
        seed = self._options["seed"] if earlier is None else earlier.seed
        latency_ns = self._configuration.service.slo.latency_ns
        if earlier is not None:
            latency_ns = earlier.goal.slo_latency_ns
        if latency_ns is None:
            began_ns = time.monotonic_ns()
            latency_ns = self._proposed(seed, min(PROFILE_NS, budget_ns // 3))
            budget_ns = max(1, budget_ns - (time.monotonic_ns() - began_ns))
        configuration = _with_latency(self._configuration, latency_ns)
        goal = goal_of(configuration.service, self._options["objective"], latency_ns)
        if earlier is not None:
            goal = earlier.goal
        self._space = self._made(configuration)
        with self._bench(self._space, goal, seed) as bench:

            def save(study: Study) -> Study:
                kept = self._catalog.save_study(study) if study.id else self._catalog.begin_study(study)
                bench.tags["study"] = kept.id
                return kept

            return tune(
                bench,
                self._space,
                goal,
                budget_ns,
                seed,
                on_progress=partial(_show, self._line),
                save=save,
                resume=earlier,
                origin=Origin(
                    environment=bench.environment,
                    dataset=_dataset(configuration, self._judged),
                    command=self._command,
                    notes=self._notes,
                ),
                yaml_of=self._yaml,
                losses=kept_losses(losses_path(configuration, self._options["catalog_url"])),
            )

    def _made(self, configuration: Configuration) -> Space:
        try:
            return space_of(
                configuration,
                self._judged,
                len(self._placement.server),
                configuration.service.tune or Tuning(),
                with_variant=lambda base, variant: with_variant(base, variant, self._store),
            )
        except SpecError as error:
            raise UserError(f"{configuration.source or 'the service'}: {error}") from None

    def _bench(self, space: Space, goal: Goal, seed: int) -> LiveBench:
        return LiveBench(
            space,
            goal,
            self._placement,
            seed=seed,
            catalog=self._catalog,
            command=self._command,
            profile_path=tuned_profile_path(self._configuration, self._options["catalog_url"]),
            max_send_lag_ns=_duration_ns("--max-send-lag", self._options["max_send_lag"]),
            say=self._line.say,
        )

    def _proposed(self, seed: int, budget_ns: int) -> int:
        """A latency budget for a service that declares none; said, and noted."""
        configuration = _with_latency(self._configuration, _ANY_LATENCY_NS)
        space = self._made(configuration)
        goal = goal_of(configuration.service, self._options["objective"], _ANY_LATENCY_NS)
        with self._bench(space, goal, seed) as bench:
            latency_ns = proposed_slo(bench, space, seed, budget_ns)
        note = (
            f"the service declares no slo.latency: {format_duration(latency_ns)} is proposed from its profile (twice its "
            "p99 at half of what its engines bear); declare the one that you need"
        )
        self._line.say(note)
        self._notes.append(note)
        return latency_ns

    def _yaml(self, study: Study, trial: Trial) -> str:
        return self._written(study, trial).text

    def _written(self, study: Study, trial: Trial) -> Written:
        if self._space is None:
            raise RuntimeError("a configuration before there is a space")
        configuration, workers = self._space.configuration(Choice(trial.levers))
        return configuration_yaml(
            configuration,
            self._out.parent.absolute(),
            workers=workers,
            header=header_lines(study, trial, configuration.hash),
            store=self._store.folder,
        )

    @property
    def _out(self) -> Path:
        chosen: Path | None = self._options["out"]
        return chosen or Path(self._configuration.root, FILE_NAME)

    def write(self, study: Study) -> Path | None:
        """configuration.yaml, where something was measured that may be recommended."""
        chosen = study.recommendation
        if chosen is None or not any(trial.measured for trial in study.trials):
            return None
        trial = next(trial for trial in study.trials if trial.id == chosen.trial)
        write_configuration(self._written(study, trial), self._out)
        return self._out


def _with_latency(configuration: Configuration, latency_ns: int) -> Configuration:
    slo = msgspec.structs.replace(configuration.service.slo, latency_ns=latency_ns)
    return with_service(configuration, msgspec.structs.replace(configuration.service, slo=slo))


def _dataset(configuration: Configuration, judged: Sequence[JudgedVariant]) -> dict[str, Any]:
    """Where inputs come from; rows: how many accuracies are of, as their figures say it (`accuracy_figures`)."""
    data = configuration.service.data
    told = [_ROWS.search(one.accuracy.verdict) for one in judged if one.accuracy is not None]
    found: dict[str, Any] = {"source": "random" if data is None else data.path}
    if told and told[0] is not None:
        found["rows"] = int(told[0][1])
    return found


def _earlier(catalog: Catalog, ref: str, configuration: Configuration) -> Study:
    """Raises: UserError: no such study, or one of another configuration."""
    if ref == "last":
        ref = f"last:{configuration.service.name}"
    study = catalog.study(ref)
    if study.base_hash != configuration.hash:
        raise UserError(
            f"study {study.id} is of configuration {study.base_hash[:12]}, and the service is {configuration.hash[:12]} "
            "now: its trials say nothing of it; begin a new study"
        )
    return study


def _budget_ns(options: Mapping[str, Any], earlier: Study | None) -> int:
    """Of this part. Raises: UserError: not a duration."""
    source = click.get_current_context().get_parameter_source("budget")
    if earlier is not None and source is click.core.ParameterSource.DEFAULT:
        return max(LEAST_RESUMED_NS, earlier.budget_ns - sum(earlier.spent_ns.values()))
    text = options["budget"]
    # `5m` is refused elsewhere, as it might mean milliseconds; of a budget nobody means those.
    budget_ns = _duration_ns(
        "--budget", f"{text}in" if text[:-1].isdecimal() and text.endswith("m") else text
    )
    if budget_ns <= 0:
        raise UserError("--budget 0s leaves no time for anything; give 5min")
    return budget_ns


def _duration_ns(option: str, text: str) -> int:
    try:
        return parse_duration_ns(text)
    except SpecError as error:
        raise UserError(f"{option}: {error}") from None


def _show(line: LiveLine, progress: Progress) -> None:
    if progress.note:
        line.say(progress.note)
    else:
        line.step(str(progress))


def _json(study: Study) -> str:
    values = msgspec.to_builtins(study, str_keys=True)
    del values["profile"]  # thousands of service times; the catalog has them
    return msgspec.json.format(msgspec.json.encode(values)).decode()


def _exit_code(study: Study) -> int:
    if study.state in EXIT_CODES:
        return EXIT_CODES[study.state]
    return 0 if study.recommendation is not None and study.recommendation.meets else NOT_MET
