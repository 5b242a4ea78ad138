"""What was measured of a service on one machine before anything is simulated: engine times, and what the host costs.

One JSON file. A simulation may go between the points that were measured, never beyond them: `covers` says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from trivet.errors import SpecError
from trivet.simulate.exit_table import ExitTable
from trivet.simulate.front_table import FrontTable
from trivet.simulate.remote_times import RemoteTimes
from trivet.simulate.route_table import RouteTable
from trivet.simulate.setup import FrontsSetup, RemoteSetup, Setup, StageSetup

NO_LENGTH = 0  # the bucket of a model without free sizes
_ABOUT = 1.25
VERSION = 4  # with the hiccups of the load generator's core
COOLING_NS = 5_000_000  # where nothing tells


class ModelTimes(msgspec.Struct, frozen=True, kw_only=True):
    """Service times of one engine alone on the server's cores, in ns.

    samples: length bucket (0: none) -> rows -> times in the order measured: their dependence is kept.
    paces: of the machine at each of them, as in HostCosts; empty: 1, or not known.
    same: batched answers are the same as single ones, so that requests may share a batch.  batches: the model has a
    batch axis at all.
    """

    samples: dict[int, dict[int, list[int]]]
    paces: dict[int, dict[int, list[float]]] = {}
    same: bool = True
    batches: bool = True


class HostCosts(msgspec.Struct, frozen=True, kw_only=True):
    """What the host takes beside the engines, in ns; samples in the order measured.

    per_request_ns: of the event loop, for reading, decoding, encoding and writing one request; answer_share of it
        after the engine.
    per_batch_ns: of the event loop, for forming and starting one batch.
    short_wake_ns: between sending and reading a request, and back: kernel, network, wake-up.  per_wake_ns: the same after
        so long a pause that everything is cold.
    cooling_ns: after a pause p a share of 1 - exp(-p / cooling_ns) of what was warm is cold.
    travel_ns: the part of both that a busy server costs, too.
    wake_core_ns: core time of the loop for a lone request on top of all that, as after a pause everything is cold.
    housekeeping: share of a core that an idle server uses.
    hand_over_ns: to an engine thread, until the engine begins; hand_back_ns: from its end to the event loop.
    process_hand_over_ns: the same for an engine in a process of its own, beyond what its times hold.
    interference: engines busy at once -> factor of their times.
    busy_factors: rows -> of a service time in the server, where the work of requests shares caches with the engine.
    idle_factor: of one row after so long a pause that caches and clocks are cold; larger batches take as much more.
    speeds: of the machine at different times, relative: a whole run may be so many times as slow; 1 is usual.
    paces: how many times as long as usual the same work took from moment to moment: stretches in the order measured, each
        value for pace_ns.
    hiccups: [start, length] of intervals in which an idle loop on the server's core did not run, within observed_ns.
    generator_hiccups: the same of the core that requests were sent from, where that is another one.
    """

    per_request_ns: list[int] = []
    answer_share: float = 0.5
    per_batch_ns: list[int] = []
    per_wake_ns: list[int] = []
    short_wake_ns: list[int] = []
    travel_ns: int = 0
    wake_core_ns: int = 0
    housekeeping: float = 0.0
    hand_over_ns: list[int] = []
    hand_back_ns: list[int] = []
    process_hand_over_ns: list[int] = []
    interference: dict[int, float] = {}
    busy_factors: dict[int, float] = {}
    idle_factor: float = 1.0
    cooling_ns: int = COOLING_NS
    speeds: list[float] = []
    paces: list[list[float]] = []
    pace_ns: int = 10_000_000
    hiccups: list[tuple[int, int]] = []
    observed_ns: int = 0
    generator_hiccups: list[tuple[int, int]] = []


class ServiceProfile(msgspec.Struct, frozen=True, kw_only=True):
    """Times of the models and steps of one service, by key, and the host's costs.

    lengths: the length bucket of each measured input, where the first model has free sizes; drawn from for requests.
    machine: `host.digest()` where it was measured; cores: that the server had.
    longest_ns: batches were measured up to the first that takes longer; those beyond are taken in proportion. 0: as far as
        the deadline allows.
    exits: what the early exits of a pipeline do with the data, by the key of the pipeline.  routes: what
        routes do, likewise.  remotes: tries at the upstreams of remote models, by the key of the stage.
    fronts: what caches and tables before a pipeline do with the data; None: not measured.
    version: of what its costs mean; another one's is not gone on with.
    """

    service: str
    models: dict[str, ModelTimes]
    host: HostCosts = HostCosts()
    measured_on: str = ""
    machine: str = ""
    cores: int = 1
    lengths: list[int] = []
    notes: list[str] = []
    longest_ns: int = 0
    exits: dict[str, ExitTable] = {}
    routes: dict[str, RouteTable] = {}
    remotes: dict[str, RemoteTimes] = {}
    fronts: FrontTable | None = None
    version: int = 0

    def doubts(self) -> str:
        """What is to be known of the profile, behind an error that rests on it; empty: nothing."""
        return "".join(f"; {note}" for note in self.notes)

    def covers(self, setup: Setup, lengths: Sequence[int] = ()) -> str:
        """Empty, or what a simulation would need and was not profiled: no forecast is made of it."""
        if setup.workers > setup.cores:
            return (
                f"{setup.workers} workers on {setup.cores} core{'s' * (setup.cores != 1)} share it as the kernel "
                "likes, which was not profiled; at most one worker a core"
            )
        if setup.route is not None and not setup.route.ways:
            return "which requests the route finds easy was not profiled: the service needs `data:` for that"
        rungs = () if setup.ladder is None else setup.ladder.rungs
        stages = (*setup.stages, *(rung.stage for rung in rungs))
        reasons = (self._missing(stage, setup, lengths) for stage in stages)
        return next(filter(None, reasons), "") or self._missing_fronts(setup.fronts)

    def _missing_fronts(self, fronts: FrontsSetup | None) -> str:
        if fronts is None:
            return ""
        if self.fronts is None or not self.fronts.hit_ns:
            return "what a cache costs, and which inputs are equal, was not profiled"
        if fronts.semantic is not None and (self.fronts.semantic is None or not self.fronts.semantic_ns):
            return f"what inputs mean to the semantic cache was not profiled ({self.fronts.why_not_semantic})"
        return ""

    def _lacks(self, stage: StageSetup, remote: RemoteSetup) -> str:
        times = self.remotes.get(stage.key)
        names = [*(name for name, _ in remote.upstreams), *remote.last]
        silent = names[0] if times is None else times.lacks(names)
        if silent:
            return f"the upstream {silent} of {stage.key} was not profiled"
        return f"{remote.unknown} of {stage.key} is not simulated" if remote.unknown else ""

    def _missing(self, stage: StageSetup, setup: Setup, lengths: Sequence[int]) -> str:
        if stage.remote is not None:
            return self._lacks(stage, stage.remote)
        times = self.models.get(stage.key)
        if times is None or not times.samples:
            return f"{stage.key} was not profiled; profiled: {', '.join(sorted(self.models)) or 'nothing'}"
        if stage.execution == "thread" and not self.host.hand_over_ns:
            return "handing a batch to an engine thread was not profiled"
        longest_ns = min(setup.deadline_ns, self.longest_ns or setup.deadline_ns)
        for by_rows in times.samples.values():
            most = max(by_rows)
            # A batch that takes longer than a request may is never formed.
            if stage.max_batch_size > most and not reaches(by_rows[most], longest_ns):
                return f"batches of {stage.max_batch_size} of {stage.key}: profiled up to {most} rows"
        at_once = min(stage.instances, max(1, setup.engine_cores // stage.threads))
        measured = max([1, *self.host.interference])
        if stage.execution != "inline" and at_once > measured:
            return f"{at_once} engines of {stage.key} at once: profiled up to {measured}"
        known = [length for length in times.samples if length != NO_LENGTH]
        if known and lengths and max(lengths) > max(known):
            return f"requests of length {max(lengths)}: profiled up to {max(known)}"
        return ""


def reaches(times_ns: Sequence[int], longest_ns: int) -> bool:
    """Whether a batch takes so long that larger ones need not be measured.

    Of two runs that took longer the next ones may be a little faster: that must not send anybody to measure again.
    """
    return min(times_ns) * _ABOUT >= longest_ns


def model_key(
    digest: str, engine: str, threads: int, graph_optimization: str = "all", *, spinning: bool = False
) -> str:
    """The name of one engine's times: what it is made of, and the levers that its speed alone depends on."""
    extra = [
        *([graph_optimization] if graph_optimization != "all" else []),
        *(["spinning"] if spinning else []),
    ]
    return "/".join([digest[:16], engine, str(threads), *extra])


def write_profile(profile: ServiceProfile, path: Path) -> None:
    """Replace the file as a whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.draft")
    draft.write_bytes(msgspec.json.encode(profile))
    draft.replace(path)


def read_profile(path: Path) -> ServiceProfile:
    """Raises: SpecError: the file cannot be read, or holds no profile."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=ServiceProfile)
    except OSError as error:
        raise SpecError(f"the profile cannot be read: {error.strerror}", str(path)) from None
    except msgspec.MsgspecError as error:
        raise SpecError(f"not a profile of a service: {error}", str(path)) from None


def usable_profile(path: Path) -> ServiceProfile:
    """The same, to forecast from. Raises: SpecError: also one of another version: its costs mean something else."""
    found = read_profile(path)
    if found.version != VERSION:
        raise SpecError(
            f"the profile was measured by another version of trivet ({found.version}, this one needs {VERSION}), whose "
            "times mean something else: measure it anew with  trivet simulate ... --again",
            str(path),
        )
    return found
