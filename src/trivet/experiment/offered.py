"""From a workload in words to the jobs of its blocks: arrivals, traces and their scaling."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import msgspec
import numpy as np

from trivet.errors import SpecError
from trivet.experiment.workload import Workload
from trivet.load.arrivals import NS, Arrivals, Constant, Gamma, Instants, Mmpp, Poisson, Recorded
from trivet.load.dispersion import describe
from trivet.load.job import ClosedLoop, HttpRequest, Job, OpenLoop
from trivet.load.popularity import exponent_of
from trivet.load.rates import at_rate
from trivet.load.scaling import How, scaled
from trivet.load.traces import read_curve, read_trace

ARRIVALS = "poisson, constant, gamma:CV, mmpp, curve:FILE or trace:FILE[:users|amplitude|time:FACTOR]"
MAX_FACTOR = 1e6
MAX_GAP_CV = 20.0
_SCALING = (
    1  # the purpose of the seed that scales a trace: one for all blocks, so that they are parts of one trace
)


def needs_rate(workload: Workload) -> bool:
    """Whether nothing says yet how much is offered."""
    return workload.rate_rps is None and workload.users is None and _kind(workload) not in ("trace", "curve")


def file_of(workload: Workload) -> Path | None:
    """The file that the arrivals come from, if there is one. Raises: SpecError: the words name none."""
    kind, _, detail = workload.arrivals.partition(":")
    if kind == "trace":
        return Path(_trace_words(detail)[0])
    return Path(detail) if kind == "curve" else None


def arrivals(workload: Workload, block: int) -> Arrivals:
    """The arrival process of one block, its warm-up included.

    Raises: SpecError: the words name none, or the file cannot be read.
    """
    kind, _, detail = workload.arrivals.partition(":")
    duration_ns = workload.warmup_ns + workload.block_ns
    if kind == "trace":
        return _part(workload, block)
    if kind == "curve":
        curve = read_curve(detail)
        return at_rate(curve, workload.rate_rps or curve.mean_rps, duration_ns, _rng(workload))
    if workload.rate_rps is None:
        raise SpecError(f"arrivals {workload.arrivals!r} need a rate: give --rate")
    rate_rps = workload.rate_rps
    if kind == "gamma":
        gap_cv = _number(detail, "gamma:CV", MAX_GAP_CV)
        return Gamma(rate_rps=rate_rps, duration_ns=duration_ns, gap_cv=gap_cv)
    if kind == "poisson" and not detail:
        return Poisson(rate_rps=rate_rps, duration_ns=duration_ns)
    if kind == "constant" and not detail:
        return Constant(rate_rps=rate_rps, duration_ns=duration_ns)
    if kind == "mmpp" and not detail:
        return Mmpp(rate_rps=rate_rps, duration_ns=duration_ns)
    raise SpecError(f"unknown arrivals {workload.arrivals!r}; known: {ARRIVALS}")


def job(workload: Workload, block: int, target: str, requests: Sequence[HttpRequest], **settings: Any) -> Job:
    """What the load generator is told for one side of one block.

    Raises: SpecError: the workload names no load that there is.
    """
    load: OpenLoop | ClosedLoop
    if workload.users is None:
        load = OpenLoop(arrivals=arrivals(workload, block))
    else:
        duration_ns = workload.warmup_ns + workload.block_ns
        load = ClosedLoop(num_users=workload.users, duration_ns=duration_ns, think_ns=workload.think_ns)
    made = Job(
        target=target,
        requests=list(requests),
        load=load,
        seed=workload.block_seed(block),
        zipf=exponent_of(workload.popularity),
        warmup_ns=workload.warmup_ns,
        timeout_ns=workload.timeout_ns,
        min_connections=min(32, workload.max_connections),
        max_connections=workload.max_connections,
        max_send_lag_ns=workload.max_send_lag_ns,
    )
    return msgspec.structs.replace(made, **settings)


def trace_in_words(workload: Workload) -> list[str]:
    """What a trace is like, and where it is scaled, what that made of it; nothing for other arrivals."""
    if _kind(workload) != "trace":
        return []
    before, after = _trace(workload)
    lines = [f"trace: {describe(before)}"]
    return lines if after is before else [*lines, f"scaled: {describe(after)}"]


def _kind(workload: Workload) -> str:
    return workload.arrivals.partition(":")[0]


def _part(workload: Workload, block: int) -> Recorded:
    """The part of a trace that is a block's. A trace is cut, never stretched: what lies between bursts belongs to it."""
    instants = _trace(workload)[1]
    begin = block * workload.block_ns
    part = instants[(instants >= begin) & (instants < begin + workload.warmup_ns + workload.block_ns)]
    if not len(part):
        raise SpecError(
            f"{file_of(workload)}: no arrivals in block {block + 1}, from {begin / NS:g} s on; shorten --duration"
        )
    return Recorded(at_ns=tuple((part - begin).tolist()))


def _trace(workload: Workload) -> tuple[Instants, Instants]:
    """As it was recorded, and as it is offered."""
    file, how, factor = _trace_words(workload.arrivals.partition(":")[2])
    recorded = read_trace(file)
    rng = _rng(workload)
    instants = recorded if how is None else scaled(recorded, factor, how, rng)
    if workload.rate_rps is not None:
        own_rps = len(instants) / (int(instants[-1]) + 1) * NS
        instants = scaled(instants, workload.rate_rps / own_rps, "amplitude", rng)
    return recorded, instants


def _rng(workload: Workload) -> np.random.Generator:
    return np.random.default_rng((workload.seed, _SCALING))


def _trace_words(detail: str) -> tuple[str, How | None, float]:
    """FILE, or FILE:SCALING:FACTOR; a file's name may hold colons."""
    rest, _, factor = detail.rpartition(":")
    file, _, how = rest.rpartition(":")
    known = next((word for word in get_args(How) if word == how), None)
    if file and known is not None:
        return file, known, _number(factor, f"trace:FILE:{how}:FACTOR", MAX_FACTOR)
    if not detail:
        raise SpecError(f"a trace needs a file; known: {ARRIVALS}")
    if Path(file).is_file() and not Path(detail).exists():
        raise SpecError(f"unknown scaling {how!r} of {file}; known: {', '.join(get_args(How))}")
    return detail, None, 1.0


def _number(text: str, form: str, largest: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value <= largest:
        raise SpecError(f"expected {form} with a number over 0 and at most {largest:g}, got {text!r}")
    return value
