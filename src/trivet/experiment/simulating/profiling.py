"""The profile that a simulation starts from: at most 20 short points on the machine that will serve.

Engines are measured alone, on the server's cores, and in turn with a live server that shows what everything else costs; each
point is kept in a file as soon as it is there, so that a profile that was stopped goes on.
"""

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np

from trivet import host
from trivet.experiment.data_parts import why_no_data
from trivet.experiment.placement import Placement
from trivet.experiment.side import Side
from trivet.experiment.simulating.engine_points import EngineJob, EngineTimes
from trivet.experiment.simulating.engine_process import EngineProcess, ProfilingError
from trivet.experiment.simulating.front_points import FrontPoints, num_front_points
from trivet.experiment.simulating.fronts import has_fronts, why_not_semantic, without_fronts
from trivet.experiment.simulating.hiccup_probe import Seen
from trivet.experiment.simulating.host_costs import LivePoints, costs_of
from trivet.experiment.simulating.live_points import (
    NUM_USERS,
    LivePoint,
    asked,
    closed,
    nearly_idle,
    patient,
    served,
    used,
)
from trivet.experiment.simulating.pacing import PACE_NS, joined, live_stretches, speeds_of
from trivet.experiment.simulating.remote_asking import RemoteAsking
from trivet.experiment.simulating.remote_points import USERS
from trivet.experiment.simulating.simulated import (
    front_key,
    has_exits,
    local_alone,
    one_alone,
    remote_keys,
    rung_configurations,
    setup_of,
    stage_key,
    table_key,
    wanted_deadline_ns,
)
from trivet.host import affinity
from trivet.runtime.preparing.engines import wanted_batch_size
from trivet.simulate.profile import (
    VERSION,
    ServiceProfile,
    reaches,
    read_profile,
    write_profile,
)
from trivet.simulate.setup import Setup
from trivet.simulate.times import mean_ns
from trivet.spec.configuration import Configuration
from trivet.spec.units import format_duration

MAX_POINTS = 20
POINT_S = 1.5
_LIVE_POINTS = 3  # nearly idle, full, and the idle cores' hiccups
_ROUNDS = 3  # in which each of the live points is visited, with the engines alone in between
_LEAST_RUNS = 20  # of one row within a point; slower models have one round
_LIVE_TOLD = 2  # the hiccups, and the rounds
_PASSES = 2  # of the engines: before the live points, and in between or after them
_EXIT_POINTS = 4  # as long: rows of data through a pipeline with early exits
_FEWEST_USERS, _TIMES_EACH = 4, 3
_MUCH = 0.02  # of a core, that others had meanwhile
NS_PER_S = 1_000_000_000
_LONGEST_BUSY_NS = 600 * NS_PER_S  # of a process that is killed long before

Progress = Callable[[str, int, int], None]

__all__ = ["MAX_POINTS", "POINT_S", "ProfilingError", "distinct", "profile_service"]


def profile_service(
    configurations: Sequence[Configuration],
    placement: Placement,
    *,
    max_points: int = MAX_POINTS,
    point_s: float = POINT_S,
    path: Path | None = None,
    seed: int = 0,
    longest_ns: int = 0,
    fronts: Configuration | None = None,
    asks_far: bool = False,
    on_progress: Progress = lambda what, done, of: None,
) -> ServiceProfile:
    """Args: configurations: one for each variant and number of threads that matters; the first is served for the live
    points.  path: where the profile is kept; what a file there holds of this machine already is not measured again.
    longest_ns: larger batches than the first that takes longer are of no use; 0: than the deadline allows.
    fronts: whose caches and tables are measured; None: those of the first.
    asks_far: where exits or a route are judged, models elsewhere are asked for each row, too.
    Raises: UserError: a configuration cannot be served.  ProfilingError: a point could not be measured.
    """
    bare = map(without_fronts, configurations)
    every = [one for whole in bare for one in (whole, *rung_configurations(whole))]
    profiling = _Profiling(
        every,
        placement,
        max_points,
        int(point_s * NS_PER_S),
        path,
        seed,
        longest_ns,
        fronts or configurations[0],
        asks_far,
        on_progress,
    )
    return profiling.run()


class _Profiling:
    def __init__(
        self,
        configurations: Sequence[Configuration],
        placement: Placement,
        max_points: int,
        point_ns: int,
        path: Path | None,
        seed: int,
        longest_ns: int,
        fronts: Configuration,
        asks_far: bool,
        on_progress: Progress,
    ) -> None:
        self._bound_ns, self._with_fronts, self._asks_far = longest_ns, fronts, asks_far
        self._configurations, self._placement = distinct(configurations), placement
        self._point_ns, self._path, self._seed = point_ns, path, seed
        # Many configurations share what time there is for engines: each pass of each then takes less.
        num_visits = _PASSES * len(self._configurations)
        self._engine_ns = min(point_ns // _PASSES, (max_points - _LIVE_POINTS) * point_ns // num_visits)
        self._on_progress = on_progress
        self._num_cores = len(placement.server)
        self._lengths = max(1, (max_points - _LIVE_POINTS) // num_visits)
        self._num_done = self._num_visits = 0
        num_remote = len({key for one in configurations for key in remote_keys(one).values()})
        self._num_all = _LIVE_TOLD + num_visits + num_remote * len(USERS) + num_front_points(fronts)
        self._process = EngineProcess(placement)
        self._profile = msgspec.structs.replace(self._begun(), longest_ns=longest_ns)
        self._known_paces = self._profile.host.paces
        self._stretches: dict[str, list[list[float]]] = {}  # of each configuration, and of the live points

    def run(self) -> ServiceProfile:
        with self._process:
            return self._run()

    def _run(self) -> ServiceProfile:
        passes: dict[str, list[EngineTimes]] = {}
        missing = [one for one in self._configurations if not self._is_known(one)]
        for one in missing:
            passes[one.hash] = [self._engines(one, self._engine_ns, with_exits=True)]
            self._told_engines(one)
            self._keep(one, passes[one.hash])
        if not self._profile.host.per_request_ns:
            local = local_alone(self._configurations[0])
            if local is not None:
                alone = one_alone(local, self._setup(local))
                self._live(alone, passes.setdefault(alone.hash, []))
        for one in self._configurations:
            for place in remote_keys(one):
                self._upstreams(one, place)
        self._fronts()
        for one in missing:
            if len(passes[one.hash]) < _PASSES:
                passes[one.hash].append(self._engines(one, self._engine_ns))
            self._told_engines(one)
            self._keep(one, passes[one.hash])
        return self._profile

    def _begun(self) -> ServiceProfile:
        name = self._configurations[0].service.name
        if self._path is not None and self._path.exists():
            known = read_profile(self._path)
            found = (known.service, known.machine, known.cores, known.version)
            if found == (name, host.digest(), self._num_cores, VERSION):
                return known
        return ServiceProfile(
            service=name, models={}, machine=host.digest(), cores=self._num_cores, version=VERSION
        )

    def _is_known(self, configuration: Configuration) -> bool:
        """Whether all that it needs was measured already, batches as large as it allows included."""
        longest_ns = self._longest_ns(configuration)
        if self._wants_exits(configuration) and table_key(configuration) not in {
            *self._profile.exits,
            *self._profile.routes,
        }:
            return False
        elsewhere = remote_keys(configuration).values()
        for key, rows in _wanted(configuration):
            if key in elsewhere:
                continue
            times = self._profile.models.get(key)
            if times is None:
                return False
            for by_rows in times.samples.values():
                most = max(by_rows)
                if most < rows and times.same and times.batches and not reaches(by_rows[most], longest_ns):
                    return False
        return True

    @staticmethod
    def _wants_exits(configuration: Configuration) -> bool:
        decides = has_exits(configuration) or configuration.service.route is not None
        return decides and not why_no_data(configuration)

    def _longest_ns(self, configuration: Configuration) -> int:
        deadline_ns = wanted_deadline_ns(configuration)
        return min(deadline_ns, self._bound_ns) if self._bound_ns else deadline_ns

    def _told(self, what: str) -> None:
        self._num_done += 1
        self._on_progress(what, self._num_done, self._num_all)

    # --- engines ------------------------------------------------------------------------------------------------

    def _engines(
        self, configuration: Configuration, point_ns: int, *, with_exits: bool = False
    ) -> EngineTimes:
        job = EngineJob(
            configuration=configuration,
            num_cores=self._num_cores,
            point_ns=point_ns,
            longest_ns=self._longest_ns(configuration),
            lengths=self._lengths,
            parallel=max(1, self._num_cores - 1),
            exits_ns=_EXIT_POINTS * self._point_ns if with_exits and self._wants_exits(configuration) else 0,
            asks_far=self._asks_far,
            seed=self._seed + self._num_visits,
        )
        self._num_visits += 1
        with self._generator_busy():
            return self._process.measure(job)

    def _told_engines(self, configuration: Configuration) -> None:
        self._told(f"engines of {configuration.short_hash} alone")

    def _keep(self, configuration: Configuration, passes: Sequence[EngineTimes]) -> None:
        found, self._stretches[configuration.hash] = joined(configuration, passes)
        costs = self._profile.host
        at_once: dict[int, list[float]] = {}
        for stage in (stage for one in passes for stage in one.stages.values()):
            for num, factor in stage.at_once.items():
                at_once.setdefault(num, []).append(factor)
        interference = {num: float(np.exp(np.mean(np.log(factors)))) for num, factors in at_once.items()}
        tables = [one.exits for one in passes if one.exits is not None]
        exits = {table_key(configuration): tables[0]} if tables else {}
        ways = [one.route for one in passes if one.route is not None]
        routes = {table_key(configuration): ways[0]} if ways else {}
        buckets = next((stage.buckets for stage in passes[0].stages.values() if stage.buckets), [])
        self._save(
            msgspec.structs.replace(
                self._profile,
                models={**self._profile.models, **found},
                host=msgspec.structs.replace(
                    costs, interference={**costs.interference, **interference}, paces=self._paces()
                ),
                lengths=buckets or self._profile.lengths,
                measured_on=passes[0].told,
                exits={**self._profile.exits, **exits},
                routes={**self._profile.routes, **routes},
            )
        )

    def _paces(self) -> list[list[float]]:
        """All stretches of the machine's pace that are known."""
        found = [stretch for kind in self._stretches.values() for stretch in kind if stretch]
        return [*self._known_paces, *found]

    # --- servers elsewhere --------------------------------------------------------------------------------------

    def _upstreams(self, configuration: Configuration, place: int) -> None:
        """Tries at the upstreams of the remote model there, where they are not known yet."""
        asking = RemoteAsking(configuration, place, self._profile, self._num_cores)
        if not asking.is_known:
            self._save(asking.ask(self._placement, self._point_ns, self._seed, self._told))

    # --- the live server ----------------------------------------------------------------------------------------

    def _live(self, configuration: Configuration, passes: list[EngineTimes]) -> None:
        """Costs of the host. Args: passes: get what the engines did before each round and after the last one."""
        setup = self._setup(configuration)
        one_ns = round(sum([mean_ns(self._profile.models[stage.key], 1) for stage in setup.stages]))
        num = _ROUNDS if _LEAST_RUNS * one_ns <= self._point_ns else 1
        rounds = []
        with served(patient(configuration), self._placement, asked()) as made:
            before = used(made)
            server, generator = self._hiccups(2 * self._point_ns)
            idle = before.shares(used(made))
            self._told("hiccups of the server's core, and of the load generator's")
            passes.append(self._engines(configuration, self._engine_ns // num))
            for number in range(num):
                points = self._round(made, one_ns, num, self._seed + number, idle)
                passes.append(self._engines(configuration, self._engine_ns // num))
                rounds.append(LivePoints(*points, alone=joined(configuration, passes[-2:])[0]))
                later = self._hiccups(2 * self._point_ns // num)
                server, generator = server.and_then(later[0]), generator.and_then(later[1])
            self._told("the server in turn with its engines")
        ones, fulls = (
            live_stretches([getattr(points, kind) for points in rounds]) for kind in ("one", "full")
        )
        between = joined(configuration, passes)[1]
        first = len(passes) - num
        visits = [between[:first], *zip(ones, fulls, between[first:], strict=True)]
        self._stretches |= {configuration.hash: between, "live": [*ones, *fulls]}
        costs = costs_of(self._profile, setup, rounds, server.share + generator.share)
        costs = msgspec.structs.replace(
            costs,
            hiccups=server.hiccups,
            observed_ns=server.observed_ns,
            generator_hiccups=generator.hiccups,
            housekeeping=sum(idle),
            paces=self._paces(),
            pace_ns=PACE_NS,
            speeds=speeds_of(visits),
        )
        self._save(
            msgspec.structs.replace(
                self._profile, host=costs, notes=_notes(server, generator, self._bound_ns)
            )
        )

    def _setup(self, configuration: Configuration) -> Setup:
        return setup_of(configuration, self._profile, workers=1, num_cores=self._num_cores)

    def _round(
        self, made: Side, one_ns: int, num: int, seed: int, idle: tuple[float, float]
    ) -> tuple[LivePoint, LivePoint, LivePoint]:
        """The `num`-th part of each live point: the server nearly idle, with one user, and with many."""
        users, whole_ns = _many(self._point_ns, one_ns)
        lone = nearly_idle(made, self._placement, one_ns, 2 * self._point_ns // num, seed, idle)
        one = closed(made, self._placement, 1, self._point_ns // num, seed, idle)
        full = closed(made, self._placement, users, whole_ns // num, seed, idle)
        return lone, one, full

    def _fronts(self) -> None:
        """Of the configuration that has any, where they are not known yet."""
        configuration = self._with_fronts
        if not has_fronts(configuration.service) or self._knows_fronts(configuration):
            return
        setup = self._setup(without_fronts(configuration))
        points = FrontPoints(
            configuration,
            patient(configuration),
            self._placement,
            setup,
            self._profile.host,
            self._point_ns,
            self._seed,
            self._told,
        )
        found = msgspec.structs.replace(points.measure(), of=front_key(configuration))
        self._save(msgspec.structs.replace(self._profile, fronts=found))

    def _knows_fronts(self, configuration: Configuration) -> bool:
        known, service = self._profile.fronts, configuration.service
        if known is None or known.of != front_key(configuration):
            return False
        is_meant = (
            service.semantic_cache is None
            or known.semantic is not None
            or bool(why_not_semantic(configuration))
        )
        return is_meant and (service.precomputed is None or configuration.hash in known.tabled)

    def _save(self, profile: ServiceProfile) -> None:
        self._profile = profile
        if self._path is not None:
            write_profile(profile, self._path)

    def _hiccups(self, duration_ns: int) -> tuple[Seen, Seen]:
        """Of the server's core and of the load generator's, both at work: they may be the same processor's.

        None of the latter where they share one: what holds up one of them is in the other's.
        Raises: ProfilingError: a probe failed.
        """
        if self._placement.invalid:
            return _seen(_probe((), duration_ns)), Seen(hiccups=[], observed_ns=duration_ns)
        with (
            _probe(self._placement.server, duration_ns) as server,
            _probe([self._placement.generator], duration_ns) as generator,
        ):
            return _seen(server), _seen(generator)

    @contextlib.contextmanager
    def _generator_busy(self) -> Iterator[None]:
        """The load generator's core is at work, as it is while load is offered: it may be the same processor's."""
        if self._placement.invalid:
            yield
        else:
            with _busy(self._placement.generator):
                yield


def _many(point_ns: int, one_ns: int) -> tuple[int, int]:
    """How many users fill a server, and for how long: each is to be answered about three times, whatever a model takes."""
    users = max(_FEWEST_USERS, min(NUM_USERS, point_ns // max(1, _TIMES_EACH * one_ns)))
    return users, max(point_ns, _TIMES_EACH * users * one_ns)


def distinct(configurations: Sequence[Configuration]) -> list[Configuration]:
    """Of those whose engines are the same the one with the largest batches: its times are the others', too."""
    chosen: dict[tuple[str, ...], tuple[int, Configuration]] = {}
    for configuration in configurations:
        wanted = _wanted(configuration)
        keys, rows = tuple(key for key, _ in wanted), sum(rows for _, rows in wanted)
        if keys not in chosen or rows > chosen[keys][0]:
            chosen[keys] = (rows, configuration)
    return [configuration for _, configuration in chosen.values()]


def _wanted(configuration: Configuration) -> list[tuple[str, int]]:
    """The key of each stage, and the rows of its largest batch."""
    service = configuration.service
    return [
        (
            stage_key(configuration, index),
            wanted_batch_size(service.models[stage.model]) if stage.model else 1,
        )
        for index, stage in enumerate(service.pipeline)
    ]


@contextlib.contextmanager
def _busy(core: int) -> Iterator[None]:
    """A process of ours keeps a core at work until the end."""
    process = _probe([core], _LONGEST_BUSY_NS)
    try:
        yield
    finally:
        process.kill()
        process.communicate()


def _probe(cores: Sequence[int], duration_ns: int) -> subprocess.Popen[bytes]:
    with affinity(cores):
        return subprocess.Popen(
            [sys.executable, "-m", "trivet.experiment.simulating.hiccup_probe", str(duration_ns)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )


def _seen(probe: subprocess.Popen[bytes]) -> Seen:
    """Raises: ProfilingError: the probe failed."""
    told, errors = probe.communicate()
    if probe.returncode:
        raise ProfilingError(errors.decode(errors="replace").strip()[-2000:])
    return msgspec.json.decode(told, type=Seen)


def _notes(server: Seen, generator: Seen, bound_ns: int) -> list[str]:
    """What whoever reads a forecast should know of the profile."""
    notes = []
    if bound_ns:
        notes.append(
            f"batches that take longer than {format_duration(bound_ns)} were not measured: their times are in proportion"
        )
    notes += [
        f"others had {one.share:.0%} of the {whose}'s core while it was profiled: forecasts are of a machine like that; "
        "profile it again (--again) when it is quiet"
        for whose, one in (("server", server), ("load generator", generator))
        if one.share >= _MUCH
    ]
    return notes
