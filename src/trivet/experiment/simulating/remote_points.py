"""Tries at the upstreams of a remote model, recorded through a live server: one user at a time, then more of them at once.

Each call may cost money: there are at most MAX_CALLS of them for each number of users. Nothing is repaired meanwhile (no
retries, no hedges, no fallbacks), so that each row tells of one try.
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
from trivet.spec.remote import Upstream, names_of
from trivet.spec.service import Stage

MAX_CALLS = 200
USERS = (1, 4, 16, 32)
_WHY: dict[int, Why] = {502: "status", 503: "refused", 504: "timeout", 400: "request"}
_TRAVEL = 0.05  # as of host_costs.py


def remote_place(configuration: Configuration) -> int | None:
    """Of the remote model in the pipeline; None: all run here."""
    service = configuration.service
    places = (
        place
        for place, stage in enumerate(service.pipeline)
        if stage.model is not None and service.models[stage.model].remote is not None
    )
    return next(places, None)


def past_everything(configuration: Configuration) -> Configuration:
    """The service whose requests all get to the remote model, to its own upstreams and to those of its fallback alike."""
    service, place = configuration.service, remote_place(configuration)
    assert place is not None  # whoever asks has seen it
    stage = service.pipeline[place]
    model = service.models[stage.model or ""]
    assert model.remote is not None  # as above
    upstreams = (*model.remote.upstreams, *last_upstreams(stage))
    models = dict(service.models)
    models[stage.model or ""] = msgspec.structs.replace(
        model, remote=msgspec.structs.replace(model.remote, upstreams=upstreams)
    )
    used = {one.model for one in service.pipeline}
    changes: dict[str, Any] = dict.fromkeys(
        ("route", "cascade", "degrade", "cache", "semantic_cache", "precomputed")
    )
    changed = msgspec.structs.replace(
        service,
        models={name: one for name, one in models.items() if name in used},
        pipeline=tuple(msgspec.structs.replace(one, exit=None, failures=None) for one in service.pipeline),
        **changes,
    )
    return with_service(configuration, changed)


def last_upstreams(stage: Stage) -> list[Upstream]:
    """Of a stage's fallback."""
    ways = stage.failures.fallback if stage.failures else ()
    return [Upstream(url=one.upstream) for one in ways if one.upstream is not None]


def upstream_names(configuration: Configuration) -> list[str]:
    """Of all upstreams of the remote model in `past_everything`."""
    place = remote_place(configuration)
    assert place is not None  # as above
    model = configuration.service.models[configuration.service.pipeline[place].model or ""]
    assert model.remote is not None  # as above
    return list(names_of(model.remote.upstreams).values())


def remote_times(points: Sequence[LivePoint], upstreams: Sequence[str], call_ns: int) -> RemoteTimes:
    """Args: points: one for each number of users, each of `past_everything`."""
    tries: dict[str, dict[int, Tries]] = {name: {} for name in upstreams}
    for point in points:
        rows = point.rows
        good = rows.words["outcome"].equal("ok", "late")
        span_ns = max(1, int(rows["done_ns"].max()) - int(rows["sent_ns"].min())) if len(good) else 1
        failed = [
            (int(took), _WHY.get(int(status), "status"))
            for took, status in zip(
                (rows["done_ns"] - rows["sent_ns"])[~good], rows["status"][~good], strict=True
            )
        ]
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
