"""router.npz: what a route has learned, in numpy's container of arrays."""

import io
import math
import os
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from trivet.errors import SpecError
from trivet.pipeline.routing import TABLE_BITS, read_router

_LONGEST_MESSAGE = 4000
_PLACES = 1 << TABLE_BITS
_folder = tempfile.TemporaryDirectory()
_PATH = Path(_folder.name, f"router-{os.getpid()}.npz")


def _file(*, compressed: bool = True, **changes: Any) -> bytes:
    arrays = {
        "scale": np.ones(_PLACES, np.float32),
        "weights": np.zeros((2, _PLACES), np.float32),
        "bias": np.zeros(2, np.float32),
    } | changes
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, **arrays)
    return file.getvalue()


def _lone() -> bytes:
    file = io.BytesIO()
    np.save(file, np.ones(3))
    return file.getvalue()


def _without_a_head() -> bytes:
    """A member that is no array."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for name in ("scale", "weights", "bias"):
            made.writestr(f"{name}.npy", b"no array")
    return file.getvalue()


SEEDS = {
    "whole": _file(),
    "headless": _without_a_head(),
    "numbers": _file(bias=np.zeros(2)),
    "objects": _file(bias=np.array(["a", None], object)),
    "short": _file(compressed=False, scale=np.ones(4, np.float32), weights=np.ones((2, 4), np.float32)),
    "holes": _file(bias=np.array([np.nan, np.inf], np.float32)),
    "array": _lone(),
    "no": b"rubbish",
    "nothing": b"",
}
TOKENS = [
    b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"\x93NUMPY\x01\x00", b"'descr': '<f4'", b"'shape': (65536,)",
    b"'fortran_order': False", b"scale.npy", b"weights.npy", b"bias.npy", b"\x08\x00", b"\x63\x00", b"\xff\xff\xff\xff",
]  # fmt: skip


def check(data: bytes) -> bool:
    """A router that finds every text so and so easy, or an error that names the file and says what to do.

    True: the former.
    """
    _PATH.write_bytes(data)
    try:
        router = read_router(_PATH)
    except SpecError as error:
        if "trivet certify" not in str(error) or len(str(error)) > _LONGEST_MESSAGE:
            raise AssertionError(f"{len(str(error))} characters: {str(error)[:200]!r}") from error
        return False
    for text in ("", "an easy one", "\ufffd\0"):
        ease = router.ease(text)
        if not math.isfinite(ease) or not 0 <= ease <= 2:
            raise AssertionError(f"{text!r} is {ease} easy")
    return True
