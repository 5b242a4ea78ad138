"""The load generator in a process of its own, on a core of its own: nothing of the caller's delays a send."""

import contextlib
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec

from trivet.errors import SpecError, TrivetError
from trivet.host import give_way
from trivet.load.__main__ import BAD_JOB, NO_TARGET
from trivet.load.connection import TargetError
from trivet.load.interrupt import wish_to_stop
from trivet.load.job import Job
from trivet.load.progress import OnProgress, Progress, Stop
from trivet.load.result import Result

POLL_S = 0.1  # between two looks at the wish to stop
READ_BYTES = 1 << 20


class GeneratorError(TrivetError):
    """The load generator's process died; the message is its own."""


def offer_from(
    core: int | None, job: Job, on_progress: OnProgress | None = None, stop: Stop | None = None
) -> Result:
    """Offer the load of `job` from a process pinned to `core`; None: wherever this one may run.

    The first Ctrl-C ends the run, and the result is partial; a second one is a KeyboardInterrupt. Where the caller
    handles that signal itself, `stop` is how to end a run.
    Raises: SpecError: a job or a core that makes no sense.  TargetError: nothing answers at the target.
    GeneratorError: the process died.
    """
    return offer_together_from(core, [job], None if on_progress is None else [on_progress], stop)[0]


def offer_together_from(
    core: int | None,
    jobs: Sequence[Job],
    on_progress: Sequence[OnProgress] | None = None,
    stop: Stop | None = None,
) -> list[Result]:
    """The same of several jobs, each in its turns. `on_progress` is called by a thread of its own."""
    with wish_to_stop() as interrupt, contextlib.ExitStack() as stack:
        ends = os.pipe()
        reading = stack.enter_context(os.fdopen(ends[0], "rb", 0))
        writing = stack.enter_context(os.fdopen(ends[1], "wb", 0))
        command = [sys.executable, "-m", "trivet.load"]
        command += [] if core is None else ["--core", str(core)]
        command += [] if on_progress is None else ["--progress", str(writing.fileno())]
        process = _start(command, writing.fileno())
        stack.callback(_close, process)
        # What is told on the way is read by a thread that gives way: the server's core is the only one with room for it,
        # and no request there shall wait until a line of progress is written.
        listener = stack.enter_context(ThreadPoolExecutor(1, "listener", give_way))
        stack.callback(
            _kill, process
        )  # first of all: then the listener ends, and nobody reads what is closed
        writing.close()
        _give(process, msgspec.json.encode(jobs))
        output, errors = listener.submit(
            _listen,
            process,
            reading.fileno(),
            on_progress,
            lambda: interrupt.is_set() or (stop is not None and stop.is_set()),
        ).result()
        code = process.wait()
    if code:
        raise _error(code, errors.decode(errors="replace").strip().removeprefix("trivet.load: "))
    return msgspec.msgpack.decode(output, type=list[Result])


def _start(command: list[str], progress: int) -> "subprocess.Popen[bytes]":
    # Ctrl-C reaches us alone (a session of its own), and we pass it on. Until the process can take it as a wish it
    # holds the signal back: the mask is inherited, and the process lifts it (`__main__`).
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[progress],
            start_new_session=True,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _give(process: "subprocess.Popen[bytes]", job: bytes) -> None:
    """The job, all of it: the process reads it to the end before it says anything, or dies and says why."""
    if process.stdin is None:
        raise GeneratorError("the load generator has no input")
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(job)
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()


def _listen(
    process: "subprocess.Popen[bytes]",
    progress: int,
    on_progress: Sequence[OnProgress] | None,
    is_over: Callable[[], bool],
) -> tuple[bytes, bytes]:
    """What the process writes to stdout and stderr, until it closes both; its progress is told on the way."""
    if process.stdout is None or process.stderr is None:
        raise GeneratorError("the load generator has no output")
    descriptors = (process.stdout.fileno(), process.stderr.fileno(), progress)
    pieces: dict[int, list[bytes]] = {descriptor: [] for descriptor in descriptors}
    was_told = False
    with selectors.DefaultSelector() as selector:
        for descriptor in descriptors:
            selector.register(descriptor, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select(POLL_S):
                data = os.read(key.fd, READ_BYTES)
                if not data:
                    selector.unregister(key.fd)
                pieces[key.fd].append(data)
            if on_progress is not None:
                pieces[progress] = [_tell(b"".join(pieces[progress]), on_progress)]
            if is_over() and not was_told:
                was_told = True
                process.send_signal(signal.SIGINT)
    output, errors = (b"".join(pieces[descriptor]) for descriptor in descriptors[:2])
    return output, errors


def _tell(lines: bytes, on_progress: Sequence[OnProgress]) -> bytes:
    """Pass on what has come in whole lines; what is left."""
    *whole, rest = lines.split(b"\n")
    for line in whole:
        place, progress = msgspec.json.decode(line, type=tuple[int, Progress])
        on_progress[place](progress)
    return rest


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """Nothing stays behind, whatever went wrong on our side."""
    if process.poll() is None:
        process.kill()
    process.wait()


def _close(process: "subprocess.Popen[bytes]") -> None:
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


def _error(code: int, message: str) -> TrivetError:
    if code == NO_TARGET:
        return TargetError(message)
    if code == BAD_JOB:
        return SpecError(message)
    return GeneratorError(f"the load generator ended with code {code}: {message or 'it said nothing'}")
