"""From the options of `trivet plan` to a plan, and what is printed of it."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from trivet.cli.bench_run import slo_of
from trivet.cli.live_line import LiveLine
from trivet.errors import UserError
from trivet.experiment.simulating.controlled import kept_profile
from trivet.experiment.simulating.fronts import has_fronts, without_fronts
from trivet.experiment.simulating.simulated import setup_of
from trivet.experiment.simulating.simulator_errors import errors_path, read_errors
from trivet.experiment.stage_names import stage_names
from trivet.experiment.variants.variant_store import default_store
from trivet.load.arrivals import Curve, Instants
from trivet.load.traces import holds_counts, read_curve, read_trace
from trivet.report.pictures.plan_picture import draw_plan
from trivet.report.plan_text import plan_text
from trivet.simulate.arrivals import spread
from trivet.simulate.plan import plan
from trivet.simulate.profile import ServiceProfile
from trivet.simulate.setup import Setup
from trivet.simulate.windows import How
from trivet.spec.configuration import Configuration
from trivet.spec.service_file import load_configuration

ROUNDED = 0.5  # of the stamps of a trace are others' as well: then they are rounded, and spread


def planned_text(path: Path, options: Mapping[str, Any]) -> str:
    """Raises: UserError: options that make no sense, a trace without requests, no SLO, or no profile that covers it."""
    headroom = headroom_of(options["headroom"])
    configuration = load_configuration(path)
    cost = configuration.service.cost
    trace, note = trace_of(options["trace"], options["column"], options["unit"], options["seed"])
    profile = kept_profile(path, options["profile"], options["catalog_url"])
    ways: tuple[How, How] = ("users", "amplitude") if options["how"] == "users" else ("amplitude", "users")
    errors = read_errors(errors_path(options["catalog_url"]))
    with LiveLine(sys.stderr) as line:
        found = plan(
            profile,
            _setup(configuration, profile, options),
            trace,
            scale=options["scale"],
            how=ways,
            headroom=headroom,
            cost=cost if cost is not None and cost.core_hour else None,
            names=stage_names(configuration, default_store(options["catalog_url"])),
            error=errors.relative(configuration.service.name),
            seed=options["seed"],
            num_requests=options["num_requests"],
            on_progress=line.say,
        )
    said = [note, _bare(configuration), errors.words(configuration.service.name)]
    found = msgspec.structs.replace(found, notes=[*found.notes, *filter(None, said)])
    if options["plot"] is not None:
        draw_plan(found, options["plot"])
    if options["as_json"]:
        return msgspec.json.format(msgspec.json.encode(found)).decode()
    lines = plan_text(found)
    return "\n".join([*lines, f"drawn: {options['plot']}"] if options["plot"] else lines)


def _bare(configuration: Configuration) -> str:
    """A trace says when requests come, and nothing of which ones repeat."""
    if not has_fronts(configuration.service):
        return ""
    return "caches and tables before the pipeline are left out: each request is planned as one that they do not answer"


def headroom_of(text: str) -> float:
    """The share that `20%` or `0.2` stands for. Raises: UserError: neither, or below 0."""
    number, percent = (text[:-1], 100) if text.endswith("%") else (text, 1)
    try:
        share = float(number) / percent
    except ValueError:
        share = -1.0
    if not 0 <= share < float("inf"):
        raise UserError(f"--headroom {text!r}: expected a share of the load such as 20% or 0.2")
    return share


def trace_of(path: Path, column: str | None, unit: str | None, seed: int) -> tuple[Instants | Curve, str]:
    """The trace, or the rate curve where the file counts requests; and what is to be said about it.

    Raises: SpecError: as `read_trace` and `read_curve`.
    """
    if holds_counts(path):
        return read_curve(path, column, unit), ""
    instants = read_trace(path, column, unit)
    if len(np.unique(instants)) > ROUNDED * len(instants) or instants[-1] == 0:
        return instants, ""
    return spread(instants, np.random.default_rng(seed)), (
        "the trace's times are rounded: requests of one stamp are spread evenly up to the next"
    )


def _setup(configuration: Configuration, profile: ServiceProfile, options: Mapping[str, Any]) -> Setup:
    cores = options["cores"] or profile.cores
    setup = setup_of(without_fronts(configuration), profile, workers=options["workers"], num_cores=cores)
    percentile, latency_ns = slo_of(options["slo"])
    if latency_ns is None:
        return setup
    return replace(setup, slo_percentile=percentile, slo_latency_ns=latency_ns)
