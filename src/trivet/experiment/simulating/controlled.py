"""The p99 of a run with the simulator beside it: a second interval, narrower where both follow the same arrivals."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from trivet import host
from trivet.catalog.records import Figure
from trivet.errors import UserError
from trivet.experiment.making_figures import interval_figure, plain_figure
from trivet.experiment.measured import Measured
from trivet.experiment.offered import arrivals
from trivet.experiment.simulating.checking import replayed
from trivet.experiment.simulating.simulated import setup_of
from trivet.experiment.simulating.simulator_errors import folder
from trivet.experiment.variants.variant_store import tuned_profile_path
from trivet.experiment.workload import Workload
from trivet.simulate.controlled import controlled_percentile
from trivet.simulate.errors import NotProfiledError
from trivet.simulate.profile import ServiceProfile, usable_profile
from trivet.spec.configuration import Configuration
from trivet.spec.service_file import load_configuration
from trivet.stats.control_variate import Controlled
from trivet.stats.errors import TooFewError
from trivet.stats.interval import Interval
from trivet.stats.percentile import percentile_ns

NAME = "latency_p99_controlled_ms"
P, NS_PER_MS = 0.99, 1e6


def check_controllable(workload: Workload) -> None:
    """Raises: UserError: a load that a simulator has no expectation of."""
    kind = workload.arrivals.partition(":")[0]
    if (
        workload.users is not None
        or workload.scenario != "steady"
        or kind == "trace"
        or workload.num_blocks != 1
    ):
        raise UserError(
            "--controlled compares one block with simulations of fresh arrivals at the same rate: leave out --users, "
            "--scenario, --blocks and traces"
        )
    if workload.workers is None:
        raise UserError("--controlled simulates the server that was measured: say --workers 1")


def kept_profile(service: Path, named: Path | None, catalog_url: str | None) -> ServiceProfile:
    """The named file, or what `trivet simulate`, else `trivet tune`, has kept of the service on this machine.

    Raises: UserError: there is none yet, or the service cannot be read.
    """
    configuration = load_configuration(service)
    own = folder(catalog_url) / "simulator" / f"{configuration.service.name}-{host.digest()}.json"
    tuned = tuned_profile_path(configuration, catalog_url)
    path = named or (tuned if tuned.exists() and not own.exists() else own)
    if not path.exists():
        raise UserError(
            f"no profile at {path}: measured times are needed; run once:  trivet simulate {service} --rate 10   "
            f"or  trivet tune {service}"
        )
    return usable_profile(path)


def controlled_figure(
    measured: Measured,
    workload: Workload,
    configuration: Configuration,
    profile: ServiceProfile,
    *,
    on_progress: Callable[[int, int], None] = lambda done, of: None,
) -> dict[str, Figure]:
    """The figure by its name; none where nothing was answered.

    Raises: UserError: as `check_controllable`.
    """
    check_controllable(workload)
    rows = measured.rows
    order = np.argsort(rows["intended_ns"], kind="stable")
    is_counted = rows.words["outcome"].equal("ok", "late")[order]
    is_counted &= rows["intended_ns"][order] >= measured.record.measured_from_ns
    latencies = rows.latency_ns()[order]
    if not is_counted.any():
        return {}
    given = replayed(measured, profile)
    setup = setup_of(configuration, profile, workers=workload.workers or 1, num_cores=profile.cores)
    try:
        found = controlled_percentile(
            profile,
            setup,
            arrivals(workload, 0),
            given.arrivals_ns,
            latencies,
            P,
            is_counted=is_counted,
            lengths=given.lengths,
            asked=given.asked,
            seed=workload.seed,
            on_progress=on_progress,
        )
    except (TooFewError, NotProfiledError) as error:
        estimate = percentile_ns(latencies[is_counted], P) / NS_PER_MS
        return {NAME: plain_figure(estimate, "ms", f"no interval: {error}")}
    return {NAME: interval_figure(_in_ms(found.interval), "ms", _words(found))}


def _in_ms(interval: Interval) -> Interval:
    return Interval(interval.estimate / NS_PER_MS, interval.low / NS_PER_MS, interval.high / NS_PER_MS)


def _words(found: Controlled) -> str:
    if found.is_used:
        return f"with the simulator as control variate: worth {found.saving:.2g} times the requests"
    return f"the plain interval: {found.reason}"
