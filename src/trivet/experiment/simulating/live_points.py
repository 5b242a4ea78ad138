"""What a live server costs beside its engines, seen from outside: a short run while it is nearly idle, one while it is full.

Costs are found by subtraction. The event loop is one thread, and the kernel says what it has used; requests say how long
each of their phases took; what is left of a lone request's latency is the way there and back, and the waking of an idle
core.
"""

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from trivet.experiment.placement import Placement
from trivet.experiment.side import Side, side
from trivet.experiment.target import subject_of
from trivet.experiment.workload import Asking, Workload
from trivet.load.arrivals import NS, Poisson
from trivet.load.job import ClosedLoop, Job, OpenLoop
from trivet.load.process import offer_from
from trivet.spec.configuration import Configuration, with_service
from trivet.spec.row import RowColumns, concatenate
from trivet.spec.service import Model, Stage
from trivet.spec.service_file import load_configuration
from trivet.spec.sources import is_target, resolve_target
from trivet.spec.yaml_text import service_yaml

Ints = NDArray[np.int64]
NUM_USERS = 32  # of the full run: as many connections as requests can wait
NUM_INPUTS = Asking().max_inputs
_PATIENCE_NS = 60 * NS
LEAST_RPS, MOST_RPS = 5.0, 200.0  # of the nearly idle one


@dataclass(frozen=True, slots=True)
class LivePoint:
    """One short run. rows: of lone or of batched requests, warm-up cut off.  loop_ns, engine_ns: processor time of the
    event loops and of all other threads of the workers, for num_done requests, without what they use while idle."""

    rows: RowColumns
    num_done: int
    loop_ns: int
    engine_ns: int

    def column(self, name: str) -> Ints:
        """Of the requests that got a result and ran in a batch; what the server did not say is left out."""
        ran = self.rows.words["outcome"].equal("ok", "late") & (self.rows["batch_size"] > 0)
        return np.asarray(self.rows[name][ran])


def together(points: Sequence[LivePoint]) -> LivePoint:
    """Several runs of one kind as one."""
    return LivePoint(
        concatenate([point.rows for point in points]),
        sum(point.num_done for point in points),
        sum(point.loop_ns for point in points),
        sum(point.engine_ns for point in points),
    )


def patient(configuration: Configuration) -> Configuration:
    """The same with a deadline that nobody misses: what a refusal costs is not what a request costs."""
    slo = msgspec.structs.replace(configuration.service.slo, deadline_ns=_PATIENCE_NS)
    return with_service(configuration, msgspec.structs.replace(configuration.service, slo=slo))


@contextlib.contextmanager
def served(configuration: Configuration, placement: Placement, workload: Workload) -> Iterator[Side]:
    """The configuration as it is in memory, started for a measurement, and what it is asked."""
    if _is_in_its_file(configuration):
        with side(subject_of(configuration.source), workload, placement) as made:
            yield made
        return
    with tempfile.TemporaryDirectory(prefix="trivet-profile-") as folder:
        path = Path(folder, "service.yaml")
        path.write_text(service_yaml(absolute(configuration).service))
        with side(subject_of(str(path)), workload, placement) as made:
            yield made


def _is_in_its_file(configuration: Configuration) -> bool:
    """Whether its service file says it: from there everything is found that belongs to it, a table of its answers too."""
    path = Path(configuration.source)
    return path.is_file() and load_configuration(path).hash == configuration.hash


def absolute(configuration: Configuration) -> Configuration:
    """The same with absolute names of files, so that its service file may lie anywhere."""
    root, service = Path(configuration.root).absolute(), configuration.service

    def name(text: str | None) -> str | None:
        if text is None or not text:
            return text
        if is_target(text):
            path, attribute = resolve_target(text, root)
            return f"{path}:{attribute}"
        return str(root / text)

    def model(one: Model) -> Model:
        files = tuple(str(root / file) for file in one.files)
        return msgspec.structs.replace(one, file=name(one.file), python=name(one.python), files=files)

    def stage(one: Stage) -> Stage:
        files = tuple(str(root / file) for file in one.files)
        steps = {"preprocess": name(one.preprocess), "postprocess": name(one.postprocess)}
        return msgspec.structs.replace(one, **steps, files=files)

    changes: dict[str, Any] = {
        "models": {key: model(one) for key, one in service.models.items()},
        "pipeline": tuple(stage(one) for one in service.pipeline),
    }
    if service.data is not None:
        changes["data"] = msgspec.structs.replace(service.data, path=str(root / service.data.path))
    if service.decode is not None:
        labels = service.decode.labels
        by = name(service.decode.by) if is_target(service.decode.by) else service.decode.by
        labels = name(labels) if isinstance(labels, str) else labels
        changes["decode"] = msgspec.structs.replace(service.decode, by=by, labels=labels)
    if service.cache is not None:
        stages = tuple(str(name(one)) if is_target(one) else one for one in service.cache.stages)
        changes["cache"] = msgspec.structs.replace(service.cache, stages=stages)
    if service.precomputed is not None:
        changes["precomputed"] = msgspec.structs.replace(
            service.precomputed, table=str(root / service.precomputed.table)
        )
    if service.semantic_cache is not None and is_target(service.semantic_cache.encoder):
        encoder = name(service.semantic_cache.encoder)
        changes["semantic_cache"] = msgspec.structs.replace(service.semantic_cache, encoder=encoder)
    if service.metric is not None and is_target(service.metric):
        changes["metric"] = name(service.metric)
    return msgspec.structs.replace(configuration, service=msgspec.structs.replace(service, **changes))


@dataclass(frozen=True, slots=True)
class Used:
    """Processor time of the workers at a moment: of their event loops, and of their other threads."""

    at_ns: int
    loop_ns: int
    engine_ns: int

    def shares(self, later: "Used") -> tuple[float, float]:
        """Of the time since: what an idle server's housekeeping took, where nothing was asked of it."""
        span_ns = max(1, later.at_ns - self.at_ns)
        return (later.loop_ns - self.loop_ns) / span_ns, (later.engine_ns - self.engine_ns) / span_ns


IDLE = (0.0, 0.0)


def nearly_idle(
    made: Side,
    placement: Placement,
    one_ns: int,
    duration_ns: int,
    seed: int,
    idle: tuple[float, float] = IDLE,
) -> LivePoint:
    """A tenth of what one engine can do: nearly every request finds the server idle.

    Args: idle: shares of a core that the loops and the other threads use anyway.
    """
    rate = min(MOST_RPS, max(LEAST_RPS, 0.1 * NS / max(1, one_ns)))
    warmup_ns = duration_ns // 5
    load = OpenLoop(arrivals=Poisson(rate_rps=rate, duration_ns=warmup_ns + duration_ns))
    return _offered(made, placement, load, seed, warmup_ns, idle)


def closed(
    made: Side,
    placement: Placement,
    num_users: int,
    duration_ns: int,
    seed: int,
    idle: tuple[float, float] = IDLE,
) -> LivePoint:
    """Users who wait for each answer: one has batches of one from a server that is awake, many fill it."""
    warmup_ns = duration_ns // 5
    load = ClosedLoop(num_users=num_users, duration_ns=warmup_ns + duration_ns)
    return _offered(made, placement, load, seed, warmup_ns, idle)


def few(
    made: Side, placement: Placement, num_users: int, duration_ns: int, max_requests: int, seed: int
) -> LivePoint:
    """The same with an end to what is asked, and nothing of it cut off: of servers elsewhere, which may be paid for it."""
    load = ClosedLoop(num_users=num_users, duration_ns=duration_ns, max_requests=max_requests)
    return _offered(made, placement, load, seed, 0, IDLE)


def asked(workers: int = 1, max_inputs: int = NUM_INPUTS) -> Workload:
    """How a profile asks: as a benchmark does by default, with the phases of each request."""
    return Workload(asking=Asking(phases=True, max_inputs=max_inputs), workers=workers)


def _offered(
    made: Side,
    placement: Placement,
    load: OpenLoop | ClosedLoop,
    seed: int,
    warmup_ns: int,
    idle: tuple[float, float],
) -> LivePoint:
    job = Job(
        target=made.target,
        requests=list(made.requests),
        load=load,
        seed=seed,
        warmup_ns=warmup_ns,
        min_connections=NUM_USERS,
    )
    before = used(made)
    result = offer_from(placement.generator, job)
    after = used(made)
    rows = RowColumns.decode(result.rows)
    span_ns = after.at_ns - before.at_ns
    return LivePoint(
        result.measured(),
        int(rows.words["outcome"].equal("ok", "late").sum()),
        max(0, after.loop_ns - before.loop_ns - round(idle[0] * span_ns)),
        max(0, after.engine_ns - before.engine_ns - round(idle[1] * span_ns)),
    )


def used(made: Side) -> Used:
    """Of the workers of a server that was started for the measurement, until now."""
    loops = others = 0
    processes = made.started.processes
    for pid in [] if processes is None else processes.members():
        if not _is_worker(pid):
            continue
        for thread in _entries(pid):
            spent = _used_ns(pid, thread)
            loops, others = (loops + spent, others) if thread == pid else (loops, others + spent)
    return Used(time.monotonic_ns(), loops, others)


def _is_worker(pid: int) -> bool:
    try:
        return b"trivet.serve.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # gone
        return False


def _entries(pid: int) -> Sequence[int]:
    try:
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return []


def _used_ns(pid: int, thread: int) -> int:
    """The first figure of schedstat: time on a processor, in ns."""
    try:
        return int(Path(f"/proc/{pid}/task/{thread}/schedstat").read_text().split()[0])
    except OSError:
        return 0
