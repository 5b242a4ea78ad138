"""Tries at the upstreams of a remote model, recorded through a live server: one user at a time, then more of them at once.

Each call may cost money: there are at most MAX_CALLS of them for each number of users. Nothing is repaired meanwhile (no
retries, no hedges, no fallbacks), so that each row tells of one try: of the model that the requests end at. Where a remote
model stands behind another, its requests come through that one, whose failures are taken off.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from trivet.experiment.simulating.live_points import LivePoint
from trivet.pipeline.tries import Why
from trivet.simulate.profile import HostCosts
from trivet.simulate.remote_times import RemoteTimes, Tries
from trivet.spec.configuration import Configuration, with_service
from trivet.spec.cost import NANO, CallPrice, Cost
from trivet.spec.remote import Upstream, names_of
from trivet.spec.route import first_model
from trivet.spec.row import ABSENT, RowColumns
from trivet.spec.service import Service, Stage

MAX_CALLS = 200
USERS = (1, 4, 16, 32)
_WHY: dict[int, Why] = {502: "status", 503: "refused", 504: "timeout", 400: "request"}
_FEWER_INPUT_TOKENS = 1_000_000  # than this in one call
_TRAVEL = 0.05  # as of host_costs.py


def remote_places(configuration: Configuration) -> list[int]:
    """Of the remote models in the pipeline, in order; empty: all run here."""
    service = configuration.service
    return [
        place
        for place, stage in enumerate(service.pipeline)
        if stage.model is not None and service.models[stage.model].remote is not None
    ]


def past_everything(configuration: Configuration, place: int) -> Configuration:
    """The service whose requests all end at the remote model there, at its own upstreams and those of its fallback alike."""
    service = configuration.service
    stage = service.pipeline[place]
    model = service.models[stage.model or ""]
    assert model.remote is not None  # as `remote_places` says
    upstreams = (*model.remote.upstreams, *last_upstreams(stage))
    models = dict(service.models)
    models[stage.model or ""] = msgspec.structs.replace(
        model, remote=msgspec.structs.replace(model.remote, upstreams=upstreams)
    )
    first = 0
    if service.route is not None and place > first_model(service):  # as requests that are hard
        first = first_model(service) + 1
    stages = service.pipeline[first : place + 1]
    if first and stages[0].model is not None:
        service = msgspec.structs.replace(service, inputs=None)  # which Python code before it had declared
    return cut_to(msgspec.structs.replace(service, models=models), stages, configuration)


def cut_to(service: Service, stages: Sequence[Stage], configuration: Configuration) -> Configuration:
    """The service that ends with these stages, whatever they give: nothing leaves early, nobody stands in."""
    used = {one.model for one in stages}
    changes: dict[str, Any] = dict.fromkeys(
        (
            "route",
            "cascade",
            "degrade",
            "cache",
            "semantic_cache",
            "precomputed",
            "decode",
            "metric",
            "outputs",
        )
    )
    changed = msgspec.structs.replace(
        service,
        models={name: one for name, one in service.models.items() if name in used},
        pipeline=tuple(msgspec.structs.replace(one, exit=None, failures=None) for one in stages),
        slo=msgspec.structs.replace(service.slo, accuracy=None, accuracy_drop=None),
        **changes,
    )
    # What stands in its file is something else, whatever their hashes are.
    return msgspec.structs.replace(with_service(configuration, changed), source="")


def last_upstreams(stage: Stage) -> list[Upstream]:
    """Of a stage's fallback."""
    ways = stage.failures.fallback if stage.failures else ()
    return [Upstream(url=one.upstream) for one in ways if one.upstream is not None]


def upstream_names(asked_for: Configuration) -> list[str]:
    """Of all upstreams of the remote model that `past_everything` ends with."""
    service = asked_for.service
    model = service.models[service.pipeline[-1].model or ""]
    assert model.remote is not None  # as above
    return list(names_of(model.remote.upstreams).values())


def remote_times(
    points: Sequence[LivePoint], upstreams: Sequence[str], call_ns: int, failing_before: float = 0.0
) -> RemoteTimes:
    """Args: points: one for each number of users, each of `past_everything`.  failing_before: the share of the requests
    that already fail at remote models before this one.
    """
    tries: dict[str, dict[int, Tries]] = {name: {} for name in upstreams}
    for point in points:
        rows = point.rows
        good = rows.words["outcome"].equal("ok", "late")
        span_ns = max(1, int(rows["done_ns"].max()) - int(rows["sent_ns"].min())) if len(good) else 1
        failed = _failed(rows, good, failing_before)
        for number, name in enumerate(upstreams):
            times = rows["compute_ns"][good & rows.words["upstream"].equal(name)]
            # Little's law: how many were on their way, on average. Nobody tells whose failures were whose.
            level = max(1, round(float(times.sum()) / span_ns))
            own = Tries(good_ns=times.tolist(), failed=failed[number :: len(upstreams)])
            known = tries[name].get(level, Tries())
            tries[name][level] = Tries(
                good_ns=[*known.good_ns, *own.good_ns], failed=[*known.failed, *own.failed]
            )
    return RemoteTimes(
        tries={
            name: {level: one for level, one in by_level.items() if one.good_ns or one.failed}
            for name, by_level in tries.items()
        },
        call_ns=call_ns,
    )


def _failed(rows: RowColumns, good: NDArray[np.bool_], failing_before: float) -> list[tuple[int, Why]]:
    """How long each failure of the model itself took, and why; what a request has behind it by then is taken off."""
    latency_ns = rows["done_ns"] - rows["sent_ns"]
    before_ns = int(np.median((latency_ns - rows["compute_ns"])[good])) if good.any() else 0
    took_ns = np.maximum(latency_ns[~good] - before_ns, 1)
    found: list[tuple[int, Why]] = [
        (int(took), _WHY.get(int(status), "status"))
        for took, status in zip(took_ns, rows["status"][~good], strict=True)
    ]
    num_own = max(0, len(found) - round(failing_before * len(good)))
    return [found[place * len(found) // num_own] for place in range(num_own)]


def failing_share(times: RemoteTimes) -> float:
    """Of all tries at all upstreams."""
    tries = [one for by_level in times.tries.values() for one in by_level.values()]
    num_failed = sum(len(one.failed) for one in tries)
    return num_failed / max(1, num_failed + sum(len(one.good_ns) for one in tries))


def token_counting(asked_for: Configuration) -> Configuration:
    """With prices by which the rows of an OpenAI-compatible service tell its tokens (`tokens_of`); nothing else costs."""
    service = asked_for.service
    name = service.pipeline[-1].model or ""
    remote = service.models[name].remote
    if remote is None or remote.operation == "infer":
        return msgspec.structs.replace(asked_for, service=msgspec.structs.replace(service, cost=None))
    price = CallPrice(per_1k_tokens=1000 / NANO, per_1k_output_tokens=1000 * _FEWER_INPUT_TOKENS / NANO)
    changed = msgspec.structs.replace(service, cost=Cost(models={name: price}))
    return msgspec.structs.replace(asked_for, service=changed)


def tokens_of(points: Sequence[LivePoint]) -> tuple[float, float]:
    """Of an answered call, of its input and its output, on average; 0 where nobody counts any."""
    told = np.concatenate([point.column("cost_nano") for point in points])
    told = told[told != ABSENT]
    if not len(told):
        return 0.0, 0.0
    return float((told % _FEWER_INPUT_TOKENS).mean()), float((told // _FEWER_INPUT_TOKENS).mean())


def loop_ns(point: LivePoint) -> int:
    """Of the event loop for a request, its call included."""
    return round(point.loop_ns / max(1, point.num_done))


def host_of(point: LivePoint, costs: HostCosts) -> HostCosts:
    """Of a service that has no model of its own: what is left when the call is subtracted. Args: point: of one user."""
    request_ns = loop_ns(point)
    rest: NDArray[np.int64] = np.maximum(
        point.column("done_ns") - point.column("sent_ns") - point.column("compute_ns") - request_ns, 0
    )
    if not len(rest):
        return costs
    kept = rest.tolist()
    return msgspec.structs.replace(
        costs,
        per_request_ns=[max(1, request_ns)],
        per_batch_ns=[0],
        per_wake_ns=kept,
        short_wake_ns=kept,
        travel_ns=int(np.quantile(rest, _TRAVEL)),
    )
