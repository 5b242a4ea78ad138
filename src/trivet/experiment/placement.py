"""Who runs on which core: a load generator that shares a core with the server measures itself."""

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

_TOPOLOGY = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"


@dataclass(frozen=True, slots=True)
class Placement:
    """Disjoint cores for the load generator and the servers. `invalid` is empty, or says why they are not."""

    generator: int
    server: tuple[int, ...]
    invalid: str = ""


def siblings(core: int) -> frozenset[int]:
    """The hardware threads of a core's own core, itself included; itself alone where the kernel does not say."""
    try:
        text = Path(_TOPOLOGY.format(core)).read_text()
    except OSError:
        return frozenset((core,))
    return frozenset(parse_cores(text)) | {core}


def parse_cores(text: str) -> list[int]:
    """The kernel's lists of cores: `0-2,5` is 0, 1, 2, 5. Raises: ValueError: not such a list."""
    cores: list[int] = []
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        cores += range(int(first), int(last or first) + 1)
    return cores


def place(
    allowed: Collection[int] | None = None,
    siblings_of: Callable[[int], Collection[int]] = siblings,
    num_server_cores: int | None = None,
) -> Placement:
    """The first core for the generator, the others for servers, without its hardware sibling where others are left.

    Args: allowed: cores to choose from; None: those of this process.  num_server_cores: at most so many, the last.
    """
    cores = sorted(os.sched_getaffinity(0) if allowed is None else allowed)
    generator, others = cores[0], tuple(cores[1:])
    if not others:
        return Placement(
            generator,
            (generator,),
            f"the load generator and the server share core {generator}, the only one that this process may use; "
            "measure on a machine with two cores or more, or allow more (taskset, container limits)",
        )
    apart = tuple(core for core in others if core not in siblings_of(generator)) or others
    return Placement(generator, apart if num_server_cores is None else apart[-num_server_cores:])
