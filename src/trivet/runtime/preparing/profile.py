"""A short profile of a model at load: service times by batch size and shape bucket, kept between starts."""

import hashlib
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from trivet import host
from trivet.engine.contract import Engine
from trivet.errors import EngineError

BUDGET_NS = 3_000_000_000
_MIN_RUNS, _MAX_RUNS = 3, 30
_SHARE_OF_BUDGET = 0.12  # one size of one bucket gets at most this share of what the profile may take
_VERSION = 2  # part of the key: profiles of another version are not found

Samples = dict[int, list[int]]  # rows -> service times in ns
Batches = Callable[[int], Mapping[str, NDArray[Any]]]  # rows -> a batch of them


class Batching(msgspec.Struct, frozen=True):
    """Whether batched answers are the same as single ones, the largest difference, and what differs."""

    same: bool
    difference: float
    reason: str = ""


class Profile(msgspec.Struct, frozen=True):
    """`by_length[length]` holds the samples of one size of the free dimensions; key 0 where there are none.

    measured_on: in words. Without samples, nothing is known before the first requests have run.
    """

    by_length: dict[int, Samples]
    batching: Batching
    measured_on: str

    def max_rows(self) -> int:
        """The largest batch that was profiled: 1 where requests cannot share one."""
        return max([max(samples) for samples in self.by_length.values()], default=1)

    def batch1_ns(self) -> int:
        """Median service time of one row at the largest profiled length; 0 where nothing was profiled."""
        if not self.by_length:
            return 0
        return int(np.median(self.by_length[max(self.by_length)][1]))


def measure(
    engine: Engine,
    batches: Mapping[int, Batches],
    max_batch_size: int,
    now_ns: Callable[[], int],
) -> dict[int, Samples]:
    """Run batches of 1, 2, 4, ... rows for each length, until the sizes or the budget end; batch 1 always.

    Args: batches: for each length, what makes a batch of a number of rows.
    Raises: EngineError: the model fails on a batch of one.
    """
    end_ns = now_ns() + BUDGET_NS
    by_length: dict[int, Samples] = {}
    for i, (length, batch_of) in enumerate(batches.items()):
        share_end_ns = now_ns() + (end_ns - now_ns()) // (len(batches) - i)
        by_length[length] = _measure_sizes(engine, batch_of, max_batch_size, now_ns, share_end_ns)
    return by_length


def _measure_sizes(
    engine: Engine,
    batch_of: Batches,
    max_batch_size: int,
    now_ns: Callable[[], int],
    end_ns: int,
) -> Samples:
    samples: Samples = {}
    rows = 1
    while True:
        inputs = batch_of(rows)
        try:
            samples[rows] = _measure_runs(engine, inputs, now_ns, int(BUDGET_NS * _SHARE_OF_BUDGET))
        except EngineError:
            if rows == 1:
                raise
            break  # larger batches are not for this model: what was profiled bounds them
        if rows >= max_batch_size or now_ns() + 2 * _MIN_RUNS * samples[rows][-1] > end_ns:
            break
        rows = min(2 * rows, max_batch_size)
    return samples


def _measure_runs(
    engine: Engine, inputs: Mapping[str, NDArray[Any]], now_ns: Callable[[], int], limit_ns: int
) -> list[int]:
    engine.run(inputs)  # the first run of a shape plans memory and is not like the others
    times: list[int] = []
    spent_ns = 0
    while len(times) < _MIN_RUNS or (len(times) < _MAX_RUNS and spent_ns < limit_ns):
        started_ns = now_ns()
        engine.run(inputs)
        times.append(now_ns() - started_ns)
        spent_ns += times[-1]
    return times


def cache_folder() -> Path:
    """`TRIVET_CACHE`, else the user's cache folder."""
    chosen = os.environ.get("TRIVET_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trivet"


def cache_path(model_digest: str, settings: Mapping[str, Any]) -> Path:
    """Where the profile of this model with these settings on this machine is kept."""
    key = msgspec.json.encode([_VERSION, model_digest, host.digest(), sorted(settings.items())])
    return cache_folder() / "profiles" / f"{hashlib.sha256(key).hexdigest()[:32]}.json"


Kept = TypeVar("Kept", bound=msgspec.Struct)


def read(path: Path, kind: type[Kept]) -> Kept | None:
    """A kept profile; None where there is none or it cannot be read (it is then made anew)."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.MsgspecError):
        return None


def write(path: Path, profile: msgspec.Struct) -> None:
    """Keep a profile. A read-only or full disk only costs the next start its three seconds."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(f".{os.getpid()}")
        draft.write_bytes(msgspec.json.encode(profile))
        draft.replace(path)
