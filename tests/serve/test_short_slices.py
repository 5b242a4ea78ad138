"""The worker's loop asks the kernel for short turns; nothing that it starts inherits them."""

import ast
import subprocess
import sys

import pytest

ASKS = """
import ctypes, os, platform, threading
from trivet import host

def now():
    attr = host._SchedAttr(ctypes.sizeof(host._SchedAttr))
    number = {"x86_64": 315, "aarch64": 275}[platform.machine()]
    ctypes.CDLL(None).syscall(ctypes.c_long(number), 0, ctypes.byref(attr), ctypes.sizeof(attr), 0)
    return attr.policy, attr.nice, attr.runtime

def in_thread():
    found = []
    thread = threading.Thread(target=lambda: found.append(now()))
    thread.start()
    thread.join()
    return found[0]

os.nice(3)
before, is_taken = now(), host.take_short_slices()
print(is_taken, before, now(), in_thread(), sep="|")
"""


@pytest.fixture(scope="module")
def found() -> tuple[str, ...]:
    done = subprocess.run([sys.executable, "-c", ASKS], capture_output=True, text=True, check=True)
    return tuple(done.stdout.strip().split("|"))


def test_the_kernel_takes_it(found: tuple[str, ...]) -> None:
    assert found[0] == "True"


def test_policy_and_niceness_stay(found: tuple[str, ...]) -> None:
    (before, after) = (ast.literal_eval(text) for text in found[1:3])
    assert before[:2] == after[:2]
    assert before[0] == 0
    assert before[1] >= 3


def test_the_turn_is_short_where_the_kernel_knows_turns(found: tuple[str, ...]) -> None:
    (before, after) = (ast.literal_eval(text)[2] for text in found[1:3])
    assert after in (100_000, before)
    assert after == 100_000 or before == 0  # a kernel before 6.12 tells none


def test_threads_have_the_usual_turns(found: tuple[str, ...]) -> None:
    assert ast.literal_eval(found[3]) == ast.literal_eval(found[1])
