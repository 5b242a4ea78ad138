"""Two network namespaces and a link between them that this process carries, packet by packet: with delay, with loss, cut.

Linux's own netem is not in every kernel; a TUN device is. What goes over it is real IP: TCP meets lost and late packets.
"""

import ctypes
import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import threading
import time
from types import TracebackType
from typing import Self

_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
_CLONE_NEWNET = 0x40000000
_DEVICE = "wire"


class Link:
    """Use it as a context manager (as root). `near` and `far` are namespaces, 10.77.0.1 and 10.77.0.2 on the link.

    Args: delay_s: of each packet.  loss: the share of packets that get lost.
    """

    def __init__(self, delay_s: float, loss: float, seed: int) -> None:
        self.near, self.far = (f"trivet-{os.getpid()}-{side}" for side in ("near", "far"))
        self.is_cut = False
        self.num_carried = 0
        self._delay_s = delay_s
        self._loss = loss
        self._rng = random.Random(seed)
        self._ends: list[int] = []
        self._waker = os.pipe()

    def __enter__(self) -> Self:
        for name, address in ((self.near, "10.77.0.1"), (self.far, "10.77.0.2")):
            _ip("netns", "add", name)
            _ip("-n", name, "tuntap", "add", "dev", _DEVICE, "mode", "tun")
            _ip("-n", name, "addr", "add", f"{address}/30", "dev", _DEVICE)
            _ip("-n", name, "link", "set", "lo", "up")
            opener = threading.Thread(target=self._open, args=(name,))
            opener.start()
            opener.join()
            _ip("-n", name, "link", "set", _DEVICE, "up")
        self._carrier = threading.Thread(target=self._carry, daemon=True)
        self._carrier.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.write(self._waker[1], b"x")
        self._carrier.join()
        for descriptor in (*self._ends, *self._waker):
            os.close(descriptor)
        for name in (self.near, self.far):
            _ip("netns", "del", name)

    def inside(self, name: str) -> list[str]:
        """The prefix of a command that runs in a namespace."""
        return ["ip", "netns", "exec", name]

    def _open(self, name: str) -> None:
        """In a thread of its own, which alone moves into the namespace and ends there."""
        with open(f"/var/run/netns/{name}") as namespace:
            moved = ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _CLONE_NEWNET)
        assert moved == 0, os.strerror(ctypes.get_errno())
        end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(end, _TUNSETIFF, struct.pack("16sH22x", _DEVICE.encode(), _IFF_TUN | _IFF_NO_PI))
        self._ends.append(end)

    def _carry(self) -> None:
        on_way: list[tuple[float, int, int, bytes]] = []  # due, number, end, packet
        while True:
            wait_s = max(0.0, on_way[0][0] - time.monotonic()) if on_way else None
            ready, _, _ = select.select([*self._ends, self._waker[0]], [], [], wait_s)
            if self._waker[0] in ready:
                return
            for i, end in enumerate(self._ends):
                if end in ready:
                    packet = os.read(end, 65536)
                    if not self.is_cut and self._rng.random() >= self._loss:
                        self.num_carried += 1
                        due = time.monotonic() + self._delay_s
                        heapq.heappush(on_way, (due, self.num_carried, self._ends[1 - i], packet))
            while on_way and on_way[0][0] <= time.monotonic():
                _, _, end, packet = heapq.heappop(on_way)
                if not self.is_cut:
                    os.write(end, packet)


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr} (needs root and iproute2)"
