"""How the sides of a comparison alternate: how often they are started, and how quickly their turns follow each other.

What is particular to one start (addresses, memory, the order of things) all of its blocks have in common, and no number
of them shows it: what is repeated must be the level that varies. A machine's speed wanders at every scale of time: the
sooner the other side's turn comes, the more of that both share. But a turn must be long beside the queue that the load
makes, or it shows a load that never comes to its own.

Source: Kalibera & Jones (2013), "Rigorous benchmarking in reasonable time".
"""

from collections.abc import Sequence

from trivet.errors import UserError
from trivet.experiment.probe import NUM_USERS
from trivet.experiment.recording import Recording
from trivet.experiment.session import restart
from trivet.experiment.side import Side
from trivet.experiment.simulating.fronts import has_fronts
from trivet.experiment.workload import Workload
from trivet.load.arrivals import NS
from trivet.spec.configuration import Configuration
from trivet.stats.sequential import FIRST_VERDICT

LONG_START_NS = 5_000_000_000
MIN_TURN_NS = 20_000_000
NUM_RELAXATIONS = 10  # of a turn: about 1 / (capacity * (1 - load)^2) each, the time in which a queue forgets
NUM_IN_PROBE = 2 * NUM_USERS  # answers of the probe in a turn: what runs side by side may take long
MAX_LOAD = 0.8  # of the capacity: beyond it a queue outlasts turns
MIN_TURNS = 4  # of each side in a block
_WITHOUT_MEMORY = ("poisson", "constant", "gamma")  # arrivals whose bursts are no longer than a turn


def settled_starts(workload: Workload, recordings: Sequence[Recording]) -> int:
    """How often each side is started: as declared; else so often that starts take no longer than the load, or once.

    Once, too, where a side runs elsewhere, and where one has a cache: each start would empty it.
    Raises: UserError: several starts are declared of what cannot be started again.
    """
    sides = [recording.side for recording in recordings]
    num = workload.num_starts
    if num is not None:
        _check(num, workload, sides)
        return num
    configurations = [side.configuration for side in sides]
    if len(sides) < 2 or workload.num_blocks < FIRST_VERDICT or not can_start_often(configurations):
        return 1
    room = workload.duration_ns * len(sides) // max(1, _start_ns(recordings))
    # With fewer starts than a verdict takes, pairs of blocks of one start tell more.
    return min(workload.num_blocks, room) if room >= FIRST_VERDICT else 1


def may_take_turns(workload: Workload, sides: Sequence[Side]) -> bool:
    """Whether the capacity has to be known, for the length of turns."""
    return (
        workload.turn_ns is None
        and len(sides) > 1
        and workload.users is None
        and workload.scenario == "steady"
        and workload.arrivals.partition(":")[0] in _WITHOUT_MEMORY
        and not any(side.streams for side in sides)
    )


def settled_turn_ns(workload: Workload, sides: Sequence[Side], highest_rps: float) -> int:
    """The length of a turn: as declared; else as short as the load allows; 0: each block is a turn.

    Args: highest_rps: what the slowest side can do.
    """
    if len(sides) < 2:  # a side of a comparison that is replayed alone has nobody to take turns with
        return 0
    if not may_take_turns(workload, sides):
        return workload.turn_ns or 0
    load = (workload.rate_rps or highest_rps) / highest_rps
    if load > MAX_LOAD:
        return 0
    relaxation_s = 1 / (highest_rps * (1 - load) ** 2)
    turn_ns = max(MIN_TURN_NS, round(max(NUM_RELAXATIONS * relaxation_s, NUM_IN_PROBE / highest_rps) * NS))
    return turn_ns if turn_ns * MIN_TURNS <= workload.block_ns else 0


def alternation_text(num_starts: int, turn_ns: int) -> str:
    """For the user, before anything is measured."""
    starts = f"each side is started {num_starts} times" if num_starts > 1 else "each side is started once"
    return f"{starts}; they take turns " + (f"of {turn_ns / 1e6:g} ms" if turn_ns else "block by block")


def remembers(configuration: Configuration | None) -> bool:
    """Whether it has a cache that outlives a request."""
    return configuration is not None and has_fronts(configuration.service)


def can_start_often(configurations: Sequence[Configuration | None]) -> bool:
    """Whether all sides are started here, and lose nothing by being started again. None: of a server that runs elsewhere."""
    return None not in configurations and not any(map(remembers, configurations))


def _check(num: int, workload: Workload, sides: Sequence[Side]) -> None:
    if num == 1:
        return
    if workload.scenario != "steady":
        raise UserError(
            f"--starts {num}: scenario {workload.scenario} is offered to one start, only steady load to several; "
            "leave --starts out"
        )
    if num > workload.num_blocks:
        raise UserError(
            f"--starts {num}: there are {workload.num_blocks} blocks; give --blocks {num} or more"
        )
    for side in sides:
        if side.configuration is None:
            raise UserError(
                f"--starts {num}: {side.label} was not started here, so it cannot be started again; leave --starts out"
            )


def _start_ns(recordings: Sequence[Recording]) -> int:
    """Of all sides together. A long first start may have profiled its models: a second one tells."""
    for recording in recordings:
        if _ready_after_ns(recording) > LONG_START_NS:
            restart(recording)
    return sum(map(_ready_after_ns, recordings))


def _ready_after_ns(recording: Recording) -> int:
    server = recording.side.started.server
    return 0 if server is None else server.ready_after_ns
