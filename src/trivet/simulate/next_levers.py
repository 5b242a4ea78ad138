"""What would help most: the same service simulated with one lever at another value, as far as that was profiled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from trivet.load.arrivals import NS, Poisson
from trivet.simulate.forecast import NoRateError, largest_rate
from trivet.simulate.plan_records import LeverGain
from trivet.simulate.profile import ServiceProfile
from trivet.simulate.setup import Setup, StageSetup
from trivet.stats.interval import Interval

MATTERS = 0.03  # a gain below it is within what two simulations differ by
PRECISION = 0.02  # of a rate


def bearable_rps(
    profile: ServiceProfile,
    setup: Setup,
    guess_rps: float,
    seed: int,
    num_requests: int,
    replications: int = 1,
    span_s: float = 0.0,
) -> Interval:
    """What one replica bears within its SLO under Poisson arrivals.

    Args: num_requests: of each simulation.  span_s: as `largest_rate`; levers are compared on the same draws, and a
    machine's slow spells meet all of them.
    Raises: NoRateError, NotProfiledError: as `largest_rate`.
    """
    return largest_rate(
        profile,
        setup,
        Poisson(rate_rps=guess_rps, duration_ns=NS),
        seed=seed,
        replications=replications,
        num_requests=num_requests,
        span_s=span_s,
        precision=PRECISION,
    )


def lever_gains(
    profile: ServiceProfile,
    setup: Setup,
    guess_rps: float,
    names: Mapping[str, str],
    seed: int,
    num_requests: int,
) -> list[LeverGain]:
    """All that can be tried, the greatest gain for each core first; what was not profiled at the end, with the reason.

    Args: guess_rps: what the setup bears, about.  names: of what the profile's keys stand for, by digest.
    """
    # Once more by the draws that the others get: what differs between them is the lever alone.
    own_rps = bearable_rps(profile, setup, guess_rps, seed, num_requests).estimate
    found = [
        _gain(profile, setup, other, lever, own_rps, seed, num_requests)
        for lever, other in others(profile, setup, names)
    ]
    return sorted(found, key=lambda one: -(one.gain or 0.0))


def others(profile: ServiceProfile, setup: Setup, names: Mapping[str, str]) -> Iterator[tuple[str, Setup]]:
    """The setup with one lever at another value, and what that is called."""
    for at, stage in enumerate(setup.stages):
        if stage.kind != "model":
            continue
        where = f"{_name(stage.key, names)}: " if sum(one.kind == "model" for one in setup.stages) > 1 else ""
        for told, other in _of_stage(profile, stage, names):
            yield where + told, replace(setup, stages=(*setup.stages[:at], other, *setup.stages[at + 1 :]))
    for workers in (setup.workers - 1, setup.workers + 1):
        if 1 <= workers <= setup.cores:
            yield f"workers {setup.workers} -> {workers}", replace(setup, workers=workers)


def _of_stage(
    profile: ServiceProfile, stage: StageSetup, names: Mapping[str, str]
) -> Iterator[tuple[str, StageSetup]]:
    size, instances = stage.max_batch_size, stage.instances
    for wanted in (2 * size, size // 2):
        if wanted >= 1:
            yield f"batch limit {size} -> {wanted}", replace(stage, max_batch_size=wanted)
    if stage.execution != "inline":
        yield f"instances {instances} -> {instances + 1}", replace(stage, instances=instances + 1)
    if stage.deferral_ns:
        yield "no deferral", replace(stage, deferral_ns=0)
    digest, *_ = stage.key.split("/")
    for key in sorted(profile.models):
        if key == stage.key or key.count("/") < 2:
            continue
        other, _, threads, *_ = key.split("/")
        told = f"threads {stage.threads} -> {threads}" if other == digest else f"variant {_name(key, names)}"
        if other != digest and int(threads) != stage.threads:
            told += f" with {threads} threads"
        yield told, replace(stage, key=key, threads=int(threads))


def _gain(
    profile: ServiceProfile,
    setup: Setup,
    other: Setup,
    lever: str,
    own_rps: float,
    seed: int,
    num_requests: int,
) -> LeverGain:
    if reason := profile.covers(other):
        return LeverGain(lever=lever, reason=f"not profiled: {reason}")
    try:
        rate = bearable_rps(profile, other, own_rps, seed, num_requests).estimate
    except NoRateError as error:
        return LeverGain(lever=lever, reason=str(error))
    return LeverGain(lever=lever, rate_rps=rate, gain=rate / own_rps * setup.cores / other.cores)


def _name(key: str, names: Mapping[str, str]) -> str:
    digest = key.split("/", maxsplit=1)[0]
    return next((name for known, name in names.items() if known.startswith(digest)), digest)
