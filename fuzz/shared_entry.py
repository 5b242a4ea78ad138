"""Entries of a shared cache, whoever wrote them: as they come, and with a right checksum in front of any body.

The first byte of an input says which; the rest is the entry, or its body.
"""

from typing import Any

import numpy as np

from trivet.runtime.fronts import shared_entry
from trivet.runtime.fronts.kept import keep
from trivet.runtime.fronts.shared_entry import decode_entry, encode_entry

_KEY = b"k" * 24
_NOW_NS, _WALL_NS = 10**12, 10**18
_HEAD = len(shared_entry._MARK) + shared_entry._CHECK_BYTES
_LARGEST = 1 << 22  # bytes of an answer, from an entry of a few


def _entry(outputs: dict[str, Any], rows: int = 1, answered_by: Any = "") -> bytes:
    return encode_entry(_KEY, keep(outputs, list(outputs), rows, _NOW_NS, answered_by), 5, _WALL_NS)


_WHOLE = {
    "numbers": _entry({"y": np.ones((1, 4), np.float32), "z": np.arange(3)}),
    "texts": _entry({"y": np.array([[b"a", b"bb"]], object)}),
    "rows": _entry({"y": np.zeros((3, 0), np.bool_)}, rows=3, answered_by=["front", "rest", "front"]),
}
SEEDS = {
    **{name: b"\0" + data for name, data in _WHOLE.items()},
    **{f"{name}-body": b"\1" + data[_HEAD:] for name, data in _WHOLE.items()},
    "old": b"\0TRVT\x00" + _WHOLE["numbers"][5:],
}
TOKENS = [
    b"TRVT\x01", b"\xc4\x18" + _KEY, b"\xa3<f4", b"\xa3<i8", b"\xa1O", b"\xa3<U4", b"\xa2O8", b"\xa3<M8", b"\x95", b"\x92",
    b"\x90", b"\xc0", b"\xff", b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00", b"\xa1y",
]  # fmt: skip


def check(data: bytes) -> bool:
    """An answer that is whole, or none; never an error.

    True: the former.
    """
    entry = data[1:]
    if data[:1] == b"\1":
        entry = shared_entry._MARK + shared_entry._check(entry) + entry
    found = decode_entry(_KEY, entry, _NOW_NS, _WALL_NS)
    if found is None:
        return False
    if found.rows < 1 or found.stored_ns > _NOW_NS or found.num_bytes > _LARGEST:
        raise AssertionError(f"rows {found.rows}, stored at {found.stored_ns}, {found.num_bytes} bytes")
    again = encode_entry(_KEY, found, _NOW_NS - found.stored_ns, _WALL_NS)
    same = decode_entry(_KEY, again, _NOW_NS, _WALL_NS)
    if same is None or same.tensors.keys() != found.tensors.keys():
        raise AssertionError("what was read cannot be written and read again")
    for name, array in found.tensors.items():
        if same.tensors[name].tobytes() != array.tobytes() and not array.dtype.hasobject:
            raise AssertionError(f"{name} is another one")
    return True
