"""Is the process that writes a run still there? Asked of real processes."""

import os
import platform
import subprocess
import sys

import msgspec

from trivet.catalog.cpu_time import parse_stat
from trivet.catalog.host_files import HOST
from trivet.catalog.writer import Writer

WAITS = "import sys; print('ready', flush=True); sys.stdin.read()"


def writer_of(pid: int) -> Writer:
    parsed = parse_stat(HOST.text(f"proc/{pid}/stat"))
    assert parsed is not None
    return msgspec.structs.replace(Writer.current(), pid=pid, started=parsed[0][1])


def test_this_process_is_alive_and_says_who_it_is() -> None:
    writer = Writer.current()
    assert (writer.fate(), writer.pid) == ("alive", os.getpid())
    assert str(writer) == f"process {os.getpid()} on {platform.node()}"


def test_a_killed_process_is_gone_also_before_its_parent_has_noticed() -> None:
    command = [sys.executable, "-c", WAITS]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        writer = writer_of(process.pid)
        assert writer.fate() == "alive"
        process.kill()
        process.stdout.read()  # its end of the pipe is closed: it has died
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert writer.fate() == "gone"  # a zombie
    assert writer.fate() == "gone"


def test_an_id_that_is_used_again_is_another_process() -> None:
    writer = Writer.current()
    assert msgspec.structs.replace(writer, started=writer.started - 1).fate() == "gone"


def test_a_boot_ago_everything_is_gone_and_of_other_machines_nothing_is_known() -> None:
    before = msgspec.structs.replace(Writer.current(), boot="an earlier one")
    assert before.fate() == "gone"
    assert msgspec.structs.replace(before, host="another machine").fate() == "unknown"


def test_of_another_container_nothing_is_known() -> None:
    assert msgspec.structs.replace(Writer.current(), namespace="pid:[1]").fate() == "unknown"


def test_a_writer_is_named_in_a_file_name() -> None:
    writer = msgspec.structs.replace(Writer.current(), host="h" * 50 + ".example.org")
    name = writer.file_name()
    assert Writer.of_file_name(name) == writer
    assert len(name) < 200  # a file's name has 255 bytes, and a draft's has more in it
    assert not set(name) & set("/*?[]:")


def test_a_command_may_hold_spaces_and_parentheses() -> None:
    text = "7 (a) (b c) S 3 " + " ".join(str(number) for number in range(5, 53))
    parsed = parse_stat(text)
    assert parsed is not None
    (pid, started), process = parsed
    assert (pid, process.command, process.parent, process.ticks, started) == (7, "a) (b c", 3, 14 + 15, 22)
    assert parse_stat("") is None
