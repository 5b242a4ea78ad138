"""A short profile of a model at load: service times by batch size and shape bucket, kept between starts."""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from trivet import host
from trivet.engine.contract import Engine
from trivet.errors import EngineError
from trivet.spec.dtypes import NUMPY_OF_DATATYPE
from trivet.spec.signature import VARIABLE, Signature, TensorSpec

BUDGET_NS = 3_000_000_000
# Sizes of a free dimension that nothing was declared about: a short and a long one.
LENGTHS = (16, 64)
_MIN_RUNS, _MAX_RUNS = 3, 30
_SHARE_OF_BUDGET = 0.12  # one size of one bucket gets at most this share of what the profile may take
_VERSION = 1

Samples = dict[int, list[int]]  # rows -> service times in ns


class Batching(msgspec.Struct, frozen=True):
    """Whether batched answers are the same as single ones, the largest difference, and what differs."""

    same: bool
    difference: float
    reason: str = ""


class Profile(msgspec.Struct, frozen=True):
    """`by_length[length]` holds the samples of one size of the free dimensions; key 0 where there are none."""

    by_length: dict[int, Samples]
    batching: Batching
    version: int = _VERSION

    def max_rows(self) -> int:
        """The largest batch that was profiled: 1 where requests cannot share one."""
        return max(max(samples) for samples in self.by_length.values())

    def batch1_ns(self) -> int:
        """Median service time of one row at the largest profiled length."""
        return int(np.median(self.by_length[max(self.by_length)][1]))


def random_inputs(signature: Signature, rows: int, length: int, seed: int) -> dict[str, NDArray[Any]]:
    """Inputs for a profile: normal floats, small distinct integers; free dimensions are `length`."""
    generator = np.random.default_rng(seed)
    return {
        spec.name: _random(spec, signature.batch_axis, rows, length, generator) for spec in signature.inputs
    }


def _random(
    spec: TensorSpec, batch_axis: bool, rows: int, length: int, generator: np.random.Generator
) -> NDArray[Any]:
    shape = [length if dim == VARIABLE else dim for dim in spec.shape]
    if batch_axis:
        shape[0] = rows
    size = int(np.prod(shape))
    match spec.datatype:
        case "BYTES":
            values: NDArray[Any] = np.array([b"profile"] * size, object)
        case "BOOL":
            values = np.ones(size, np.bool_)
        case "FP16" | "FP32" | "FP64":
            values = generator.normal(size=size)
        case "BF16":
            values = (generator.normal(size=size).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
        case _:
            values = 1 + np.arange(size) % 100
    return values.astype(NUMPY_OF_DATATYPE[spec.datatype]).reshape(shape)


def measure(
    engine: Engine,
    signature: Signature,
    max_batch_size: int,
    lengths: Sequence[int],
    now_ns: Callable[[], int],
) -> dict[int, Samples]:
    """Run batches of 1, 2, 4, ... rows for each length, until the sizes or the budget end; batch 1 always.

    Raises: EngineError: the model fails on a batch of one.
    """
    end_ns = now_ns() + BUDGET_NS
    by_length: dict[int, Samples] = {}
    for i, length in enumerate(lengths):
        share_end_ns = now_ns() + (end_ns - now_ns()) // (len(lengths) - i)
        by_length[length] = _measure_sizes(engine, signature, max_batch_size, length, now_ns, share_end_ns)
    return by_length


def _measure_sizes(
    engine: Engine,
    signature: Signature,
    max_batch_size: int,
    length: int,
    now_ns: Callable[[], int],
    end_ns: int,
) -> Samples:
    samples: Samples = {}
    rows = 1
    while True:
        inputs = random_inputs(signature, rows, length or 1, seed=rows)
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


def read(path: Path) -> Profile | None:
    """A kept profile; None where there is none or it is of another version (it is then made anew)."""
    try:
        profile = msgspec.json.decode(path.read_bytes(), type=Profile)
    except (OSError, msgspec.MsgspecError):
        return None
    return profile if profile.version == _VERSION else None


def write(path: Path, profile: Profile) -> None:
    """Keep a profile. A read-only or full disk only costs the next start its three seconds."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(f".{os.getpid()}")
        draft.write_bytes(msgspec.json.encode(profile))
        draft.replace(path)
