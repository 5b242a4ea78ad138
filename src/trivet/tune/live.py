"""The bench that is this machine: real servers on cores of their own, offered real load; each block a run in the catalog."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from trivet.catalog.catalog import Catalog
from trivet.catalog.environment import fingerprint
from trivet.catalog.records import Figure
from trivet.catalog.study import Goal
from trivet.clock import Clock, MonotonicClock
from trivet.errors import UserError
from trivet.experiment.placement import Placement
from trivet.experiment.simulating.fronts import has_fronts, without_fronts
from trivet.experiment.simulating.live_points import asked
from trivet.experiment.simulating.profiling import MAX_POINTS, POINT_S, profile_service
from trivet.experiment.simulating.remote_points import USERS
from trivet.experiment.simulating.simulated import remote_keys, setup_of, stage_key
from trivet.experiment.workload import Workload
from trivet.runtime.preparing import profile as profiles
from trivet.runtime.preparing.engines import wanted_batch_size
from trivet.runtime.preparing.profile import Profile
from trivet.runtime.preparing.resolving import profile_path
from trivet.runtime.preparing.samples import Samples
from trivet.simulate.profile import ServiceProfile
from trivet.simulate.setup import FrontsSetup, Setup
from trivet.spec.configuration import Configuration
from trivet.tune.bench import BlockResult
from trivet.tune.choice import Choice
from trivet.tune.exit_figures import exit_accuracy, exit_difference
from trivet.tune.front_figures import (
    difference_with_wrong_hits,
    max_wrong_of,
    with_wrong_hits,
    wrong_share,
)
from trivet.tune.front_levers import profiled_fronts
from trivet.tune.legs import more_accurate_is_larger
from trivet.tune.lever import CACHE, DEGRADE, SEMANTIC_CACHE
from trivet.tune.screen import answers_of
from trivet.tune.served import Kept, Served
from trivet.tune.space import Space

LIVE_POINTS, PASSES = 3, 2  # of a profile: the server's own, and how often each engine is visited
MAX_SEND_LAG_NS = 1_000_000  # of a block that counts, at the 99th percentile
START_S = 1.0  # of an engine, beside the time of its points
LIVE_START_S = 4.0  # of the load generators in all rounds of the live points
NUM_OF_BUDGET = 30  # points as long as one that a profile's budget would have room for
_ORDER = 1  # the purpose of a seed: who goes first in a block


class LiveBench:
    """A context manager: no server outlives it. The two of the last block keep running until another is needed.

    Args: space: as it was before anything was profiled.  catalog: None: nothing is kept.  profile_path: where the profile
    is kept, to be used again on this machine.  max_send_lag_ns: of a block that counts.
    """

    def __init__(
        self,
        space: Space,
        goal: Goal,
        placement: Placement,
        *,
        seed: int,
        catalog: Catalog | None = None,
        command: Sequence[str] = (),
        profile_path: Path | None = None,
        max_send_lag_ns: int = MAX_SEND_LAG_NS,
        say: Callable[[str], None] = lambda text: None,
        clock: Clock | None = None,
    ) -> None:
        self._space, self._goal, self._placement, self._seed = space, goal, placement, seed
        self._profile_path, self._say, self._clock = profile_path, say, clock or MonotonicClock()
        self._max_send_lag_ns = max_send_lag_ns
        environment = fingerprint(pinning={"generator": (placement.generator,), "server": placement.server})
        self.environment = environment
        self.tags: dict[str, str] = {}
        self._kept = Kept(catalog=catalog, environment=environment, command=tuple(command), tags=self.tags)
        self._zipf = space.zipf
        self._wrong_shares: dict[FrontsSetup, float | None] = {}
        self._profile: ServiceProfile | None = None
        self._setups: dict[Choice, Setup] = {}
        self._running: dict[Choice, Served] = {}
        self._accuracies: dict[tuple[object, ...], Figure | None] = {}
        self._lenders: dict[str, tuple[Configuration, int]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop([*self._running])

    def now_ns(self) -> int:
        return self._clock.now_ns()

    def profile(self, choices: Sequence[Choice], *, budget_ns: int) -> ServiceProfile:
        """As many of the choices as fit, the first ones first."""
        seconds = budget_ns / 1e9
        point_s = min(POINT_S, seconds / NUM_OF_BUDGET)
        seconds -= len(remote_keys(self._space.base)) * (len(USERS) * point_s + START_S)
        fitting = int((seconds - LIVE_POINTS * 2 * point_s - LIVE_START_S) / (point_s + START_S))
        most = max(1, min((MAX_POINTS - LIVE_POINTS) // PASSES, fitting, len(choices)))
        first = self._with_thread(choices[0])
        configurations = [self._space.configuration(choice)[0] for choice in (first, *choices[1:most])]
        self._profile = profile_service(
            configurations,
            self._placement,
            max_points=max(MAX_POINTS, LIVE_POINTS + PASSES * most),
            point_s=point_s,
            # A batch that takes longer breaks the SLO for all that are in it: how much longer is of no interest.
            longest_ns=self._goal.slo_latency_ns,
            path=self._profile_path,
            fronts=self._profiled_fronts(),
            asks_far=True,
            seed=self._seed,
            on_progress=lambda what, done, of: self._say(f"profile {done} of {of}: {what}"),
        )
        for configuration in configurations:
            for index in range(len(configuration.service.pipeline)):
                self._lenders.setdefault(stage_key(configuration, index), (configuration, index))
        self._setups.clear()
        self._wrong_shares.clear()
        return self._profile

    def _profiled_fronts(self) -> Configuration:
        is_searched = any(lever.lever == CACHE for lever in self._space.levers)
        return profiled_fronts(self._space.base, is_searched=is_searched)

    def _with_thread(self, choice: Choice) -> Choice:
        """The same on an engine thread, where that is a lever: only there is seen what handing a batch over costs, and
        the engine's times are the same."""
        values = {
            lever.name: "thread"
            for lever in self._space.levers
            if lever.lever == "execution" and "thread" in lever.values
        }
        return Choice({**choice, **values})

    def setup(self, choice: Choice) -> Setup:
        if choice not in self._setups:
            configuration, workers = self._space.configuration(choice)
            profile = self._profile or ServiceProfile(service=configuration.service.name, models={})
            self._setups[choice] = setup_of(
                configuration, profile, workers=workers, num_cores=self._space.num_cores
            )
        return self._setups[choice]

    def measure(
        self, choices: Sequence[Choice], rates_rps: Mapping[Choice, float], seconds: float, block: int
    ) -> Mapping[Choice, BlockResult]:
        """In an order of the block's own coin. A configuration that does not start has a failure and no figures."""
        self._stop([choice for choice in self._running if choice not in choices])
        order = np.random.default_rng((self._seed, _ORDER, block)).permutation(len(choices))
        started = {choice: self._started(choice) for choice in choices}
        found: dict[Choice, BlockResult] = {}
        for place in order:
            choice = choices[place]
            served = started[choice]
            if isinstance(served, str):
                found[choice] = BlockResult(rate_rps=rates_rps[choice], failure=served)
                continue
            found[choice] = self._block(served, choice, rates_rps[choice], seconds, block)
        return {choice: found[choice] for choice in choices}

    def accuracy(self, choice: Choice) -> Figure | None:
        """Of the choice's pipeline, less what its semantic cache gives wrong."""
        found = self._pipeline_accuracy(choice)
        wrong, budget = self._wrong(choice)
        if found is None or wrong is None or not budget:
            return found if wrong is not None else None
        return with_wrong_hits(found, wrong, budget, larger_is_better=more_accurate_is_larger(self._goal))

    def _pipeline_accuracy(self, choice: Choice) -> Figure | None:
        """As the variant was judged; of what was not judged, as its first trial found; of other thresholds of exits as the
        profile has it until then."""
        if self._space.changes_exit(choice):
            known = self._accuracies.get(_pipeline_of(choice))
            if known is None and self._profile is not None:
                known = exit_accuracy(self._space.configuration(choice)[0], self._profile)
            return known
        changed = [
            one for one in self._space.judged(choice).values() if one.variant.answers_change and one.accuracy
        ]
        if len(changed) == 1:
            return changed[0].accuracy
        if not changed and (known := self._original()) is not None:
            return known
        return self._accuracies.get(_pipeline_of(choice))

    def difference(self, choice: Choice) -> Figure | None:
        """To the default's accuracy: of the pipelines, and of what semantic caches give wrong."""
        found = self._pipeline_difference(choice)
        if choice.get(SEMANTIC_CACHE) == self._space.default.get(SEMANTIC_CACHE):
            return found
        (wrong, budget), (own, own_budget) = self._wrong(choice), self._wrong(self._space.default)
        is_same = _pipeline_of(choice) == _pipeline_of(self._space.default)
        if wrong is None or own is None or (found is None and not is_same):
            return None
        larger = more_accurate_is_larger(self._goal)
        return difference_with_wrong_hits(found, wrong, budget, own, own_budget, larger_is_better=larger)

    def _wrong(self, choice: Choice) -> tuple[float | None, float]:
        """The share of requests that a choice's semantic cache answers wrong (None: not known), and its budget of them."""
        fronts = None if self._profile is None else self.setup(choice).fronts
        if self._profile is None or fronts is None:
            return 0.0, 0.0
        if fronts not in self._wrong_shares:
            self._wrong_shares[fronts] = wrong_share(self._profile, fronts, self._zipf, self._seed)
        return self._wrong_shares[fronts], max_wrong_of(fronts)

    def _pipeline_difference(self, choice: Choice) -> Figure | None:
        if self._space.changes_exit(choice):
            if self._profile is None:
                return None
            configuration, default = (
                self._space.configuration(one)[0] for one in (choice, self._space.default)
            )
            return exit_difference(configuration, default, self._profile)
        changed = [one for one in self._space.judged(choice).values() if one.variant.answers_change]
        return changed[0].difference if len(changed) == 1 else None

    def _original(self) -> Figure | None:
        judged = self._space.judged(self._space.default).values()
        return next((one.accuracy for one in judged if one.accuracy is not None), None)

    def _block(
        self, served: Served, choice: Choice, rate_rps: float, seconds: float, block: int
    ) -> BlockResult:
        workload = Workload(
            rate_rps=rate_rps,
            duration_ns=int(seconds * 1e9),
            slo_percentile=self._goal.slo_percentile,
            slo_latency_ns=self._goal.slo_latency_ns,
            seed=int(np.random.SeedSequence((self._seed, block)).generate_state(1)[0]),
            max_send_lag_ns=self._max_send_lag_ns,
            popularity=self._space.popularity,
            asking=self._asked().asking,
            workers=self._space.configuration(choice)[1],
        )
        result, stopped = served.block(workload, {"block": str(block), "levers": choice.told()})
        if stopped:
            raise KeyboardInterrupt
        # A block begins with empty caches, as the simulated ones do: what the one before it left would flatter it.
        if result.failure or has_fronts(self._space.configuration(choice)[0].service):
            self._stop([choice])
        return result

    def _asked(self, workers: int = 1) -> Workload:
        """With as many inputs as were profiled, so that requests repeat as they do in the simulation."""
        fronts = None if self._profile is None else self._profile.fronts
        return asked(workers) if fronts is None else asked(workers, max_inputs=fronts.num_inputs)

    def _started(self, choice: Choice) -> Served | str:
        """Its server, or why it has none."""
        if choice in self._running:
            return self._running[choice]
        configuration, workers = self._space.configuration(choice)
        self._lend_profiles(configuration)
        served = Served(configuration, workers, self._placement, self._kept, self._asked(workers))
        try:
            self._judge(choice, configuration, workers)
            self._running[choice] = served.__enter__()
        except UserError as error:
            self._stop([choice])
            return str(error)
        return served

    def _judge(self, choice: Choice, configuration: Configuration, workers: int) -> None:
        """Its pipeline, where nothing tells yet how accurate that is: without caches, which would know the rows later."""
        pipeline, changes_exit = _pipeline_of(choice), self._space.changes_exit(choice)
        if pipeline in self._accuracies or not (changes_exit or self._pipeline_accuracy(choice) is None):
            return
        bare = without_fronts(configuration)
        with Served(bare, workers, self._placement, self._kept, asked(workers)) as served:
            # On rows that no exit was made with: all others would flatter it.
            self._accuracies[pipeline] = served.accuracy(unseen=changes_exit)

    def _lend_profiles(self, configuration: Configuration) -> None:
        """A server that starts measures its engines; what was measured here of the same engine it need not measure again."""
        digest = Samples(configuration.service, Path(configuration.root), self._clock.now_ns).digest
        for index, stage in enumerate(configuration.service.pipeline):
            lender = self._lenders.get(stage_key(configuration, index)) if stage.model else None
            path = profile_path(configuration, index, digest) if stage.model else None
            if lender is None or path is None or stage.model is None or path.exists():
                continue
            known = profiles.read(profile_path(*lender, digest), Profile)
            most = wanted_batch_size(configuration.service.models[stage.model])
            if known is not None:
                by_length = {
                    length: {rows: times for rows, times in by_rows.items() if rows <= most}
                    for length, by_rows in known.by_length.items()
                }
                profiles.write(path, Profile(by_length, known.batching, known.measured_on))

    def _stop(self, choices: Sequence[Choice]) -> None:
        with contextlib.ExitStack() as stack:
            for choice in choices:
                if choice in self._running:
                    stack.push(self._running.pop(choice))


def _pipeline_of(choice: Choice) -> tuple[object, ...]:
    """The levers that change what the pipeline answers, whatever is before it, where nobody waits: nobody stands in."""
    others = {lever: value for lever, value in choice.items() if lever not in (SEMANTIC_CACHE, DEGRADE)}
    return answers_of(Choice(others))
