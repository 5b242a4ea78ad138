"""Models for the tests of python engines, as a user would write them. Runs in the engine's own process."""

import ctypes
import os
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np

FP32 = {"datatype": "FP32", "shape": [-1, -1]}
X = [{"name": "x", **FP32}]
Y = [{"name": "y", **FP32}]


def two_inputs(inputs: dict[str, Any]) -> dict[str, Any]:
    a, b = inputs["a"], inputs["b"]
    return {"total": a + b, "difference": a - b}


two_inputs.inputs = [{"name": "a", **FP32}, {"name": "b", **FP32}]
two_inputs.outputs = [{"name": "total", **FP32}, {"name": "difference", **FP32}]


def two_inputs_in_order(inputs: dict[str, Any]) -> list[Any]:
    return [inputs["a"] + inputs["b"], inputs["a"] - inputs["b"]]


def identity(inputs: dict[str, Any]) -> Any:
    return inputs["x"]


async def async_identity(inputs: dict[str, Any]) -> Any:
    return inputs["x"]


class Gather:
    """A class with `load`: rows of a table."""

    inputs = [{"name": "x", "datatype": "INT64", "shape": [-1]}]  # noqa: RUF012  # as users write it
    outputs = [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}]  # noqa: RUF012

    def load(self) -> None:
        rows = np.arange(10, dtype=np.float32)
        self.table = np.stack([rows, rows**2], axis=1)

    def predict(self, inputs: dict[str, Any]) -> Any:
        return self.table[inputs["x"]]


class AsyncGather(Gather):
    async def load(self) -> None:
        super().load()

    async def predict(self, inputs: dict[str, Any]) -> Any:
        return self.table[inputs["x"]]


def count(inputs: dict[str, Any]) -> Iterator[Any]:
    """As many chunks as the input says, each its number; `finally` tells how far it came."""
    made = 0
    try:
        for made in range(1, int(inputs["n"][0]) + 1):
            yield np.array([made], np.int64)
    finally:
        print(f"made {made}")  # noqa: T201


async def async_count(inputs: dict[str, Any]) -> AsyncIterator[Any]:
    made = 0
    try:
        for made in range(1, int(inputs["n"][0]) + 1):
            yield np.array([made], np.int64)
    finally:
        print(f"made {made}")  # noqa: T201


def count_then_raise(inputs: dict[str, Any]) -> Iterator[Any]:
    yield from (np.array([number], np.int64) for number in range(1, int(inputs["n"][0]) + 1))
    raise ValueError("no more")


async def async_count_then_raise(inputs: dict[str, Any]) -> AsyncIterator[Any]:
    for number in range(1, int(inputs["n"][0]) + 1):
        yield np.array([number], np.int64)
    raise ValueError("no more")


def growing(inputs: dict[str, Any]) -> Iterator[Any]:
    """Chunks that grow past the slab's first size."""
    for number in range(1, int(inputs["n"][0]) + 1):
        yield np.full(number * 100_000, number, np.int64)


for streaming in (count, async_count, count_then_raise, async_count_then_raise, growing):
    streaming.inputs = [{"name": "n", "datatype": "INT64", "shape": [1]}]
    streaming.outputs = [{"name": "y", "datatype": "INT64", "shape": [-1]}]


class NobodyCanShowMe(Exception):  # noqa: N818
    def __str__(self) -> str:
        raise RuntimeError("not even this")


def _our_sockets() -> list[int]:
    names = [(int(name), f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")]
    return [fd for fd, path in names if os.path.islink(path) and os.readlink(path).startswith("socket:")]


def _write_to_protocol(raw: bytes) -> None:
    socket.socket(fileno=os.dup(_our_sockets()[0])).send(raw)


def _hang_with_the_lock() -> None:
    ctypes.PyDLL(None).pause()  # PyDLL, unlike CDLL, keeps the interpreter lock


def _say_that_it_started(path: str) -> None:
    with open(path, "wb") as fifo:  # opening waits for the reader
        fifo.write(b"x")


def misbehave(inputs: dict[str, Any]) -> Any:
    """Do what `how` says; anything else: answer with the number of rows as FP32 [rows, 1]."""
    how, _, rest = inputs["how"][0].decode().partition(" ")
    if rest:
        _say_that_it_started(rest)
    rows = len(inputs["how"])
    good = np.ones((rows, 1), np.float32)
    match how:
        case "raise":
            raise ValueError("a bad value: 7")
        case "raise-surrogate":
            raise ValueError("\udcff")
        case "raise-unshowable":
            raise NobodyCanShowMe
        case "raise-long":
            raise ValueError("x" * 1_000_000)
        case "write-input":
            inputs["how"][0] = b"mine"  # BYTES are the model's own
            return good
        case "abort":
            os.abort()
        case "sys-exit":
            sys.exit(3)
        case "sys-exit-well":
            sys.exit()
        case "os-exit":
            os._exit(4)
        case "exit-with-a-thread":
            threading.Thread(target=threading.Event().wait).start()
            sys.exit(5)
        case "segfault":
            ctypes.string_at(0)
        case "hang-with-the-lock":
            _hang_with_the_lock()
        case "hang-without-the-lock":
            signal.pause()
        case "close-fds":
            os.closerange(3, 1024)
            return good
        case "close-fds-and-hang":
            os.closerange(3, 1024)
            signal.pause()
        case "garbage":
            _write_to_protocol(b"\xff\x00garbage")
        case "truncated":
            _write_to_protocol(b"\x93\x02")
        case "outside-the-slab":
            _write_to_protocol(b"\x93\x02\x01\x91\x93\xce\x7f\xff\xff\xff\x04\x92\x01\x01")
        case "print":
            print("to standard output")  # noqa: T201
            os.write(1, b"to descriptor 1\n")
            sys.stderr.write("to standard error\n")
            return good
        case "child":
            if (pid := os.fork()) == 0:
                signal.pause()
            print(f"child {pid}")  # noqa: T201
            os._exit(0)
        case "wrong-dtype":
            return good.astype(np.float64)
        case "wrong-rank":
            return good[0]
        case "wrong-rows":
            return np.ones((rows + 1, 1), np.float32)
        case "wrong-dimension":
            return np.ones((rows, 2), np.float32)
        case "missing":
            return {"z": good}
        case "unknown":
            return {"y": good, "z": good}
        case "nothing":
            return None
        case "list":
            return [[1]] * rows
    return good


misbehave.inputs = [{"name": "how", "datatype": "BYTES", "shape": [-1]}]
misbehave.outputs = [{"name": "y", "datatype": "FP32", "shape": [-1, 1]}]


class _Deadly:
    def __array__(self, *_: Any, **__: Any) -> Any:
        os._exit(6)


def dies_while_it_answers(inputs: dict[str, Any]) -> dict[str, Any]:
    return {"total": inputs["a"], "difference": _Deadly()}


dies_while_it_answers.inputs = two_inputs.inputs
dies_while_it_answers.outputs = two_inputs.outputs


def large(inputs: dict[str, Any]) -> Any:
    return np.full((1, int(inputs["n"][0])), 7, np.uint8)


large.inputs = [{"name": "n", "datatype": "INT64", "shape": [1]}]
large.outputs = [{"name": "y", "datatype": "UINT8", "shape": [1, -1]}]


def environment(inputs: dict[str, Any]) -> Any:
    return [[os.environ.get(name.decode(), "").encode() for name in inputs["x"]]]


environment.inputs = [{"name": "x", "datatype": "BYTES", "shape": [-1]}]
environment.outputs = [{"name": "y", "datatype": "BYTES", "shape": [1, -1]}]


def modules(inputs: dict[str, Any]) -> Any:
    return sorted(sys.modules)


modules.inputs = []
modules.outputs = [{"name": "y", "datatype": "BYTES", "shape": [-1]}]


def writes_its_input(inputs: dict[str, Any]) -> Any:
    inputs["x"] += 1
    return inputs["x"]


writes_its_input.inputs, writes_its_input.outputs = X, Y

not_callable = 7


def undeclared(inputs: dict[str, Any]) -> Any:
    return inputs


def declared_badly(inputs: dict[str, Any]) -> Any:
    return inputs


declared_badly.inputs = [{"name": "x", "datatype": "FP32"}]
declared_badly.outputs = Y


def count_wrongly(inputs: dict[str, Any]) -> Iterator[Any]:
    yield np.array([[1]], np.int64)


count_wrongly.inputs, count_wrongly.outputs = count.inputs, count.outputs
