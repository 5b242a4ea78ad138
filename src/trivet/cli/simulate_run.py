"""From the options of `trivet simulate` to a forecast, and what is printed of it."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from trivet import host
from trivet.catalog.records import Figure
from trivet.cli.bench_run import slo_of
from trivet.cli.live_line import LiveLine
from trivet.errors import UserError
from trivet.experiment.measured import measure
from trivet.experiment.offered import arrivals as arrivals_of
from trivet.experiment.offered import job
from trivet.experiment.placement import Placement, place
from trivet.experiment.simulating.checking import Check, check
from trivet.experiment.simulating.live_points import asked, served
from trivet.experiment.simulating.profiling import profile_service
from trivet.experiment.simulating.simulated import setup_of
from trivet.experiment.simulating.simulator_errors import (
    Errors,
    errors_path,
    folder,
    keep_checks,
    read_errors,
)
from trivet.experiment.workload import Workload
from trivet.load.popularity import EVEN, exponent_of
from trivet.report.simulated import draw_latencies
from trivet.report.text import figures_text
from trivet.simulate.asked import Asked
from trivet.simulate.errors import NotProfiledError
from trivet.simulate.forecast import UNITS, Forecast, forecast, largest_rate
from trivet.simulate.profile import ServiceProfile, usable_profile
from trivet.simulate.server import simulated
from trivet.simulate.setup import Setup
from trivet.spec.configuration import Configuration
from trivet.spec.service_file import load_configuration
from trivet.spec.units import parse_duration_ns
from trivet.stats.interval import Interval

_CHECK_NS = 10_000_000_000
_DEFAULT_NS = 30_000_000_000
_LONGEST_NS = 366 * 24 * 3600 * 1_000_000_000  # of a trace that is simulated whole


@dataclass(slots=True)
class _Asked:
    configuration: Configuration
    profile: ServiceProfile
    setup: Setup
    workload: Workload
    placement: Placement
    errors: Errors
    asked: Asked


def simulated_text(path: Path, options: Mapping[str, Any]) -> str:
    """Raises: UserError: options that make no sense, or a profile that cannot be made or does not cover them."""
    if options["rate"] is None and options["trace"] is None:
        raise UserError("what is offered? give --rate 200, or --trace FILE")
    with LiveLine(sys.stderr) as line:
        given = _asked(path, options, line)
        found = forecast(
            given.profile,
            given.setup,
            arrivals_of(given.workload, 0),
            replications=options["replications"],
            seed=options["seed"],
            warmup_ns=given.workload.warmup_ns,
            error=given.errors.relative(given.setup.service),
            asked=given.asked,
        )
        if found.refused:
            raise NotProfiledError(f"no forecast: {found.refused}")
        figures = dict(found.figures)
        if options["largest_rate"]:
            figures["max_rate_rps"] = largest_rate(
                given.profile,
                given.setup,
                arrivals_of(given.workload, 0),
                seed=options["seed"],
                asked=given.asked,
            )
        checked = _checked(given, options, line) if options["check"] else None
    if options["plot"] is not None:
        _draw(found, given, options)
    errors = given.errors if checked is None else keep_checks(errors_path(options["catalog_url"]), [checked])
    said = errors.words(given.setup.service)
    if options["as_json"]:
        return _json(given, figures, checked, said)
    return "\n".join(_text(given, figures, checked, said, found.replications))


def _asked(path: Path, options: Mapping[str, Any], line: LiveLine) -> _Asked:
    configuration = load_configuration(path)
    placement = place()
    cores = options["cores"] or len(placement.server)
    profile = _profile(configuration, placement, options, line)
    setup = setup_of(configuration, profile, workers=options["workers"], num_cores=cores)
    percentile, latency_ns = slo_of(options["slo"])
    slo = configuration.service.slo
    if latency_ns is None:
        percentile, latency_ns = slo.percentile, slo.latency_ns
    workload = Workload(
        arrivals=options["arrivals"] if options["trace"] is None else f"trace:{options['trace']}",
        rate_rps=options["rate"],
        duration_ns=_duration_ns(options),
        slo_percentile=percentile,
        slo_latency_ns=latency_ns,
        seed=options["seed"],
        workers=options["workers"],
        popularity=options["popularity"],
    )
    asked_for = Asked(zipf=exponent_of(options["popularity"]))
    errors = read_errors(errors_path(options["catalog_url"]))
    return _Asked(
        configuration,
        profile,
        _with_slo(setup, percentile, latency_ns),
        workload,
        placement,
        errors,
        asked_for,
    )


def _duration_ns(options: Mapping[str, Any]) -> int:
    if options["duration"] is not None:
        return parse_duration_ns(options["duration"])
    if options["trace"] is None:
        return _DEFAULT_NS
    whole = Workload(arrivals=f"trace:{options['trace']}", rate_rps=options["rate"], duration_ns=_LONGEST_NS)
    return int(arrivals_of(whole, 0).instants_ns(np.random.default_rng(0))[-1]) + 1


def _with_slo(setup: Setup, percentile: float, latency_ns: int | None) -> Setup:
    return replace(setup, slo_percentile=percentile, slo_latency_ns=latency_ns)


def _profile(
    configuration: Configuration, placement: Placement, options: Mapping[str, Any], line: LiveLine
) -> ServiceProfile:
    """The named file as it is; else the one beside the catalog, completed where something is missing."""
    named: Path | None = options["profile"]
    if named is not None and named.exists() and not options["again"]:
        return usable_profile(named)
    kept = folder(options["catalog_url"]) / "simulator"
    path = named or kept / f"{configuration.service.name}-{host.digest()}.json"
    if options["again"]:
        path.unlink(missing_ok=True)
    return profile_service(
        [configuration],
        placement,
        path=path,
        on_progress=lambda what, done, of: line.say(f"{done} of {of}: {what}"),
    )


def _checked(given: _Asked, options: Mapping[str, Any], line: LiveLine) -> Check:
    """A short live run of the same load, beside its own forecast."""
    if given.placement.invalid:
        raise UserError(f"a live run would say nothing: {given.placement.invalid}")
    workload = msgspec.structs.replace(given.workload, duration_ns=min(_CHECK_NS, given.workload.duration_ns))
    with served(given.configuration, given.placement, _asking(given)) as made:
        line.say("checking the forecast against a live run")
        measured = measure(
            job(workload, 0, made.target, made.requests, server_cores=given.placement.server),
            processes=made.started.processes,
            core=given.placement.generator,
            is_pinned=True,
            on_progress=lambda progress: line.show(made.name, 0, progress),
        )
    return check(
        measured, given.profile, given.setup, replications=options["replications"], seed=options["seed"]
    )


def _asking(given: _Asked) -> Workload:
    """What the profile asked, so that the simulator knows every input that a live run carries."""
    fronts = given.profile.fronts
    if given.setup.fronts is None or fronts is None:
        return asked(given.setup.workers)
    return asked(given.setup.workers, max_inputs=fronts.num_inputs)


def _repeating(given: _Asked) -> list[str]:
    """What is to be known of the inputs where something before the pipeline knows them again."""
    fronts = given.profile.fronts
    if given.setup.fronts is None or fronts is None:
        return []
    drawn = f"  {fronts.num_inputs} inputs ({len(set(fronts.keys))} different) asked for by {given.workload.popularity}"
    why = "; say how often they repeat: --popularity zipf:1.0" if given.workload.popularity == EVEN else ""
    return [f"{drawn}, from empty caches on{why}"]


def _text(
    given: _Asked, figures: Mapping[str, Interval], checked: Check | None, said: str, replications: int
) -> list[str]:
    offered = f"{given.workload.rate_rps:g}/s " if given.workload.rate_rps is not None else ""
    stages = ", ".join(
        f"{one.execution} x {one.instances}, {one.threads} threads, batches up to {one.max_batch_size}"
        for one in given.setup.stages
    )
    lines = [
        f"{given.setup.service} under {offered}{given.workload.arrivals}, simulated {replications} times",
        f"  {stages}; {given.setup.workers} workers on {given.setup.cores} cores; deadline "
        f"{given.setup.deadline_ns / 1e6:g} ms",
        *_repeating(given),
        *figures_text({name: _figure(name, one) for name, one in figures.items()}),
        f"  {said}",
        *(f"  note: {note}" for note in given.profile.notes),
    ]
    if checked is not None:
        lines += ["live, on the same arrivals:", *_checked_lines(checked)]
    return lines


def _checked_lines(checked: Check) -> list[str]:
    if checked.invalid:
        return [f"  INVALID: {checked.invalid}"]
    lines = [
        f"  {name}: {live:.4g} live, {checked.predicted[name][0]:.4g} forecast"
        f" ({checked.error(name):+.1%}{'' if checked.covers(name) else ', outside the interval'})"
        for name, live in checked.live.items()
        if name in checked.predicted
    ]
    known = checked.error_at_level()
    if known is not None:
        lines.append(
            f"  batches took {checked.level:.2f} times as long as the profile says; knowing that, p99 would have been off "
            f"by {known:+.1%}"
        )
    return lines


def _figure(name: str, one: Interval) -> Figure:
    return Figure(estimate=one.estimate, low=one.low, high=one.high, unit=UNITS[name])


def _json(given: _Asked, figures: Mapping[str, Interval], checked: Check | None, said: str) -> str:
    value = {
        "service": given.setup.service,
        "configuration": given.configuration.hash,
        "setup": msgspec.to_builtins(given.setup),
        "workload": msgspec.to_builtins(given.workload),
        "figures": {name: msgspec.to_builtins(_figure(name, one)) for name, one in figures.items()},
        "error": said,
        "notes": given.profile.notes,
        "check": None if checked is None else msgspec.to_builtins(checked),
    }
    return msgspec.json.format(msgspec.json.encode(value)).decode()


def _draw(found: Forecast, given: _Asked, options: Mapping[str, Any]) -> None:
    """The latencies of one simulated run: where people look."""
    rng = np.random.default_rng(options["seed"])
    instants = arrivals_of(given.workload, 0).instants_ns(rng)
    run = simulated(given.profile, given.setup, instants, rng=rng, asked=given.asked)
    draw_latencies(
        run.latency_ns()[run.is_ok()] / 1e6, found.figures, given.setup.slo_latency_ns, options["plot"]
    )
