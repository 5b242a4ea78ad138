"""One remote model of a service, asked through a live server: what its upstreams do, and what a call costs this host."""

import math
from collections.abc import Callable

import msgspec
import numpy as np

from trivet.experiment.placement import Placement
from trivet.experiment.simulating.engine_process import ProfilingError
from trivet.experiment.simulating.live_points import LivePoint, asked, few, patient, served
from trivet.experiment.simulating.remote_points import (
    MAX_CALLS,
    USERS,
    failing_share,
    host_of,
    loop_ns,
    past_everything,
    remote_times,
    token_counting,
    tokens_of,
    upstream_names,
)
from trivet.experiment.simulating.simulated import remote_keys, setup_of, stage_key
from trivet.simulate.profile import ModelTimes, ServiceProfile
from trivet.simulate.remote_times import RemoteTimes, Tries
from trivet.simulate.times import mean_ns
from trivet.spec.configuration import Configuration


class RemoteAsking:
    """Args: place: of the remote model in the pipeline.  profile: which has all remote models before it."""

    def __init__(
        self, configuration: Configuration, place: int, profile: ServiceProfile, num_cores: int
    ) -> None:
        self._name = configuration.service.pipeline[place].target
        self._key, self._asked_for = stage_key(configuration, place), past_everything(configuration, place)
        self._names = upstream_names(self._asked_for)
        self._profile, self._num_cores = profile, num_cores

    @property
    def is_known(self) -> bool:
        """Whether all its upstreams were asked before."""
        known = self._profile.remotes.get(self._key)
        return known is not None and not known.lacks(self._names)

    def ask(
        self, placement: Placement, point_ns: int, seed: int, told: Callable[[str], None]
    ) -> ServiceProfile:
        """The profile with its tries. Raises: ProfilingError: nobody answered."""
        points = []
        with served(patient(token_counting(self._asked_for)), placement, asked()) as made:
            for users in USERS:
                points.append(few(made, placement, users, point_ns, MAX_CALLS, seed))
                told(f"upstreams of {self._name}, asked by {users} at once")
        costs, call_ns = self._profile.host, 0
        if costs.per_request_ns:
            call_ns = max(0, loop_ns(points[0]) - self._known_loop_ns())
        else:
            costs = host_of(points[0], costs)
        times = self._times(points, call_ns)
        good = [ns for by_level in times.tries.values() for ns in by_level.get(1, Tries()).good_ns]
        if not good:
            statuses = sorted({int(status) for point in points for status in point.rows["status"]})
            raise ProfilingError(
                f"no upstream of {self._name} answered: its requests ended with status "
                f"{', '.join(map(str, statuses)) or '0'}; is it there, and does it take what it is given?"
            )
        expected = ModelTimes(samples={0: {1: good}}, batches=False)
        return msgspec.structs.replace(
            self._profile,
            host=costs,
            remotes={**self._profile.remotes, self._key: times},
            models={**self._profile.models, self._key: expected},
        )

    def _times(self, points: list[LivePoint], call_ns: int) -> RemoteTimes:
        # The share of the requests that fail before they come to this model.
        failing = 1 - math.prod(1 - failing_share(times) for times in self._before())
        times = remote_times(points, self._names, call_ns, failing)
        return msgspec.structs.replace(times, tokens=tokens_of(points))

    def _known_loop_ns(self) -> int:
        """Of the event loop for a request that comes here, without this call."""
        found = round(float(np.mean(self._profile.host.per_request_ns)))
        found += sum(times.call_ns for times in self._before())
        setup = setup_of(self._asked_for, self._profile, workers=1, num_cores=self._num_cores)
        inline = [stage.key for stage in setup.stages if stage.execution == "inline"]
        known = [self._profile.models[key] for key in inline if key in self._profile.models]
        return found + round(sum(mean_ns(times, 1) for times in known))

    def _before(self) -> list[RemoteTimes]:
        """Of the remote models that its requests pass."""
        *before, _ = remote_keys(self._asked_for).values()
        return [self._profile.remotes[key] for key in before]
