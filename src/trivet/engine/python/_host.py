"""Child: the process of one python engine. Loads the target, then answers one message after the other.

Started as `python -P -m trivet.engine.python._host SOCKET INPUTS OUTPUTS LIFELINE` (file descriptors);
everything else comes with the first message. What the user's code prints goes to standard error, never into
the protocol.
"""

import faulthandler
import fcntl
import gc
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from trivet.engine.python._batches import Batches
from trivet.engine.python._outbox import Outbox, describe, log_traceback
from trivet.engine.python._sync_loop import SyncLoop
from trivet.engine.python._target import Target, resolve
from trivet.engine.python.channel import Channel
from trivet.engine.python.messages import Load, Loaded, LoadFailed, ToChild
from trivet.engine.python.slab import Slab

if TYPE_CHECKING:
    from trivet.engine.python._async_loop import AsyncLoop


# A loop that shares its core with a busy model must win against it, or every refusal and every small model waits for
# a time slice.
NICENESS = 5


def die_with_parent(lifeline: int) -> None:
    """Have the kernel kill this process group once the parent's end of the pipe is closed, however it died.

    Works while the user's code hangs, with or without the interpreter lock. PR_SET_PDEATHSIG is not used: it
    fires when the *thread* that started us ends, and engines are loaded in threads that come and go.
    """
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    os.set_blocking(lifeline, False)
    try:
        closed = os.read(lifeline, 1) == b""  # it may have died before we listened
    except BlockingIOError:
        closed = False
    if closed:
        os._exit(1)


def serve(channel: Channel[ToChild], inputs: Slab, outputs: Slab) -> None:
    """Load, then answer until the parent says stop or is gone."""
    message = channel.receive(wait=True)
    if not isinstance(message, Load):
        return
    try:
        target = resolve(message.target, Path(message.root), message.signature)
        outbox = Outbox(channel, outputs, target.name, message.max_output_bytes)
        loop = make_loop(target, channel, inputs, outbox)
        loop.load()
    except Exception as error:
        fail_load(channel, error)
    # What loading made lives as long as the process: no collection needs to look at it again.
    gc.collect()
    gc.freeze()
    channel.send(Loaded(target.signature, target.streams))
    loop.serve()


def make_loop(
    target: Target, channel: Channel[ToChild], inputs: Slab, outbox: Outbox
) -> "SyncLoop | AsyncLoop":
    batches = Batches(inputs, target)
    if not target.is_async:
        return SyncLoop(channel, batches, outbox)
    from trivet.engine.python._async_loop import AsyncLoop  # asyncio costs time and memory: who needs it pays

    return AsyncLoop(channel, batches, outbox)


def fail_load(channel: Channel[ToChild], error: Exception) -> NoReturn:
    log_traceback(error)
    channel.send(LoadFailed(describe(error)))
    leave(1)


def leave(status: int) -> NoReturn:
    """Exit at once: threads and exit handlers of a model that failed must not keep its batches waiting."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(
            Exception
        ):  # the user's code may have closed or replaced them, and nobody is left to tell
            stream.flush()
    os._exit(status)


def main(arguments: list[str]) -> None:
    socket_fd, input_fd, output_fd, lifeline = map(int, arguments)
    die_with_parent(lifeline)
    os.nice(NICENESS)
    faulthandler.enable()  # a segmentation fault leaves the user's frames in the log
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # nothing has replaced it yet
    channel: Channel[ToChild] = Channel(socket.socket(fileno=socket_fd), ToChild)
    try:
        serve(channel, Slab(input_fd, writable=False), Slab(output_fd, writable=True))
    except SystemExit as request:
        leave(exit_status(request.code))
    except BaseException as error:
        log_traceback(error)
        leave(1)


def exit_status(code: object) -> int:
    """The status that the interpreter would exit with; a text goes to standard error, as there."""
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    sys.stderr.write(f"{code}\n")
    return 1


if __name__ == "__main__":
    main(sys.argv[1:])
