"""Shared memory: a memfd that both processes map and one of them writes, and which parts of it are taken."""

import fcntl
import mmap
import os
from typing import Final, Self

# Tensors start on a cache line: vector code never has to split its first load.
ALIGNMENT: Final = 64
# Untouched pages take no memory, so a generous start costs nothing and spares most models any growth.
INITIAL_BYTES: Final = 1 << 20
_ALL_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL


def aligned(num_bytes: int) -> int:
    return (num_bytes + ALIGNMENT - 1) & -ALIGNMENT


class Slab:
    """One mapped memfd. Page aligned; grows, never shrinks.

    Sealed against shrinking: who reads a mapping beyond its file's end is killed by the kernel; the worker
    must not be at the mercy of what the child does to the file.
    """

    def __init__(self, fd: int, *, writable: bool) -> None:
        self.fd = fd
        self._prot = mmap.PROT_READ | mmap.PROT_WRITE if writable else mmap.PROT_READ
        self.map = mmap.mmap(fd, os.fstat(fd).st_size, prot=self._prot)

    @classmethod
    def create(cls, name: str, *, writable: bool) -> Self:
        """Raises: OSError: the system has no memory or file descriptors left."""
        fd = os.memfd_create(f"trivet-{name}", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(fd, INITIAL_BYTES)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _ALL_SEALS)
        return cls(fd, writable=writable)

    def grow(self, end: int) -> None:
        """Make bytes [0, end) usable. Only the side that writes grows; doubling keeps growth rare.

        Arrays over the old mapping stay valid (they hold it), and see the same memory.
        """
        if end > len(self.map):
            os.ftruncate(self.fd, 1 << (end - 1).bit_length())
            self.cover(end)

    def cover(self, end: int) -> None:
        """Map bytes [0, end), which the other side may have added since.

        Raises: ValueError: the file is not that large.
        """
        if end > len(self.map):
            size = os.fstat(self.fd).st_size
            if end > size:
                raise ValueError(f"byte {end} of a slab of {size} bytes")
            self.map = mmap.mmap(self.fd, size, prot=self._prot)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Give the memory back. Arrays over it keep their mapping until they go."""
        os.close(self.fd)
        del self.map


class Regions:
    """Which parts of a slab are taken: first fit over the few that are in flight at one time.

    Invariant: taken regions are disjoint, sorted and aligned (checked in test_python_slab.py).
    """

    def __init__(self) -> None:
        self._taken: list[tuple[int, int]] = []  # (start, end), sorted

    def take(self, num_bytes: int) -> int:
        """The start of a free region. Even an empty one has bytes of its own: its start names it."""
        size = aligned(max(num_bytes, 1))
        start = 0
        for position, (taken_start, taken_end) in enumerate(self._taken):
            if start + size <= taken_start:
                self._taken.insert(position, (start, start + size))
                return start
            start = taken_end
        self._taken.append((start, start + size))
        return start

    def free(self, start: int) -> None:
        for position, region in enumerate(self._taken):
            if region[0] == start:
                del self._taken[position]
                return
        raise KeyError(f"no region starts at byte {start}")

    @property
    def taken(self) -> tuple[tuple[int, int], ...]:
        return tuple(self._taken)
