"""The worker's side of a python engine: starts the process, sends batches, receives events; never waits.

Belongs to no event loop: watch `fileno()` for reading with any of them, and call `receive()` when it is
readable.

Invariant: each batch sent gets exactly one `Finished` or `Failed`, each stream opened exactly one
`StreamEnded`, and `Exited` comes last, once, however the process ended (checked in test_python_faults.py).
"""

import select
import socket
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from math import inf
from pathlib import Path

import msgspec

from trivet.engine.contract import Tensors
from trivet.engine.python import events, messages
from trivet.engine.python.channel import Channel
from trivet.engine.python.child import Child
from trivet.engine.python.events import Event
from trivet.engine.python.in_flight import InFlight
from trivet.engine.python.layout import NamedDtypes, named_dtypes, read, write
from trivet.engine.python.messages import Places, ToParent
from trivet.engine.python.slab import Regions, Slab
from trivet.errors import BadRequestError, EngineError, TrivetError
from trivet.spec.signature import Signature

_NO_LIMIT = 1 << 62  # inputs were bounded when their requests were read
# At one time: a stream with many credits may send as fast as we read, and the event loop has others to serve.
_MAX_EVENTS = 64


@dataclass(frozen=True, slots=True)
class PythonSpec:
    """What a python engine runs, as the service file names it.

    target: `module:attribute` or `file.py:attribute`, found beside `root`, the service file's folder.
    signature: as declared there; None: the code's own `inputs` and `outputs` attributes.
    threads: for the libraries of linear algebra (OMP_NUM_THREADS and its kind).
    env: further environment variables, which win over all others.
    max_output_bytes: of one batch or chunk; more is an error of the model, not of the machine's memory.
    """

    target: str
    root: Path
    signature: Signature | None = None
    threads: int = 1
    env: Mapping[str, str] = field(default_factory=dict)
    max_output_bytes: int = 1 << 30


class PythonProcess:
    """One process, one target. Not thread-safe. Not restarted here: that is the runtime's decision."""

    def __init__(self, spec: PythonSpec) -> None:
        self.spec = spec
        self.signature = spec.signature  # once it is `Ready`: what the target has
        self._tensors_in: NamedDtypes | None = None  # known with `Ready`
        self._tensors_out: NamedDtypes = ()
        self._regions = Regions()
        self._in_flight = InFlight(self._regions)
        self._num_received = 0
        self._load_error: str | None = None
        self._kill_reason: str | None = None
        self._stopping = False
        self._exited = False

    def start(self) -> None:
        """Start the process and have it load the target; `Ready` or `Exited` will follow. Returns at once.

        Raises: EngineError: the system has no process, memory or file descriptor left for it.
        """
        with ExitStack() as resources:
            try:
                self._inputs = resources.enter_context(Slab.create("inputs", writable=True))
                self._outputs = resources.enter_context(Slab.create("outputs", writable=False))
                ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                resources.enter_context(ours)
                with theirs:
                    fds = (theirs.fileno(), self._inputs.fd, self._outputs.fd)
                    self._child = resources.enter_context(
                        Child(fds, threads=self.spec.threads, env=self.spec.env)
                    )
                self._poll = resources.enter_context(select.epoll())
                self._poll.register(ours, select.EPOLLIN)
                self._poll.register(self._child.pidfd, select.EPOLLIN)
            except OSError as error:
                raise EngineError(f"{self.spec.target}: its process cannot be started: {error}") from error
            self._channel: Channel[ToParent] = Channel(ours, ToParent)
            self._resources = resources.pop_all()
        spec = self.spec
        self._channel.post(messages.Load(spec.target, str(spec.root), spec.signature, spec.max_output_bytes))

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def has_exited(self) -> bool:
        """`Exited` was received, or is about to be: nothing more will be answered."""
        return self._exited

    def fileno(self) -> int:
        """Readable while `receive` has something to give. An epoll descriptor: any event loop takes it."""
        return self._poll.fileno()

    def send(self, batch_id: int, inputs: Tensors) -> None:
        """Have a batch answered. `inputs` are copied before this returns.

        Args: batch_id: the caller's choice, unique among the batches in flight.
        Raises: EngineError: not ready, or gone, or these are not the signature's inputs. Nothing was sent.
        """
        start, places = self._write(inputs)
        self._in_flight.add_batch(batch_id, start)
        self._channel.post(messages.Run(batch_id, self._num_received, places))

    def open_stream(self, stream_id: int, inputs: Tensors, num_credits: int = 1) -> None:
        """Have a request answered in chunks, `num_credits` of them before more are granted.

        Raises: EngineError: as `send`.
        """
        start, places = self._write(inputs)
        self._in_flight.add_stream(stream_id, start)
        self._channel.post(messages.Open(stream_id, self._num_received, num_credits, places))

    def grant(self, stream_id: int, num_credits: int) -> None:
        """Allow that many chunks more; nothing for a stream that has ended or was cancelled."""
        if self._in_flight.has_reader(stream_id):
            self._channel.post(messages.Grant(stream_id, self._num_received, num_credits))

    def cancel(self, stream_id: int) -> None:
        """No more chunks of this stream; `StreamEnded` follows once the code has let go of it."""
        if self._in_flight.cancel(stream_id):
            self._channel.post(messages.Cancel(stream_id))

    def _write(self, inputs: Tensors) -> tuple[int, Places]:
        if self._tensors_in is None or self._exited:
            raise EngineError(f"{self.spec.target}: its process is {'gone' if self._exited else 'not ready'}")
        arrays = []
        for name, dtype in self._tensors_in:
            array = inputs.get(name)
            if array is None or array.dtype != dtype:
                got = f"one of {array.dtype}" if array is not None else f"only {sorted(inputs)}"
                raise EngineError(f"{self.spec.target}: expected an input {name!r} of {dtype}, got {got}")
            arrays.append(array)
        if len(inputs) != len(arrays):
            known = [name for name, _ in self._tensors_in]
            raise EngineError(f"{self.spec.target}: expected the inputs {known}, got {sorted(inputs)}")
        return write(self._inputs, self._regions, arrays, _NO_LIMIT)

    def receive(self) -> list[Event]:
        """What has happened since the last call; empty when nothing has. Never waits.

        When the process has ended: an error for each batch and stream in flight, then `Exited`.
        """
        received: list[Event] = []
        if self._exited:
            return received
        self._drain(received, _MAX_EVENTS)
        self._channel.flush()
        if self._channel.ended and not self._stopping:
            self.kill("it closed its connection to the server")
        if not received and self._child.has_exited():
            self._drain(received, max_events=inf)  # what it said between our last look and its end
            self._on_exit(received)
        return received

    def _drain(self, received: list[Event], max_events: float) -> None:
        if self._channel.ended:
            return
        try:
            while len(received) < max_events and (message := self._channel.receive(wait=False)) is not None:
                event = self._event(message)
                if event is not None:
                    received.append(event)
                if self._in_flight.is_empty():
                    break  # nothing more is due: spare the system call that would find nothing
        except (msgspec.DecodeError, ValueError, TypeError, TrivetError) as error:
            self.kill(f"it broke the protocol: {error}")
            self._channel.ended = True
        if self._channel.ended:
            self._poll.unregister(self._channel.fileno())

    def _event(self, message: ToParent) -> Event | None:
        """None: of interest to nobody any more."""
        match message:
            case messages.Done():
                outputs = self._take(message.places)
                known = self._in_flight.forget_batch(message.batch_id)
                return events.Finished(message.batch_id, outputs) if known else None
            case messages.Chunk():
                outputs = self._take(message.places)
                known = self._in_flight.has_reader(message.stream_id)
                return events.Chunk(message.stream_id, outputs) if known else None
            case messages.Error():
                known = self._in_flight.forget_batch(message.batch_id)
                kind = BadRequestError if message.bad_request else EngineError
                return events.Failed(message.batch_id, kind(message.error)) if known else None
            case messages.End():
                known = self._in_flight.forget_stream(message.stream_id)
                kind = BadRequestError if message.bad_request else EngineError
                failure = None if message.error is None else kind(message.error)
                return events.StreamEnded(message.stream_id, failure) if known else None
            case messages.Loaded():
                self.signature = message.signature
                self._tensors_in = named_dtypes(message.signature.inputs)
                self._tensors_out = named_dtypes(message.signature.outputs)
                return events.Ready(message.signature, message.streams)
            case messages.LoadFailed():
                self._load_error = message.error
                return None

    def _take(self, places: Places) -> events.Outputs:
        """Arrays of the caller's own: the child may write over the slab from our next message on."""
        outputs = read(self._outputs, self._tensors_out, places)
        self._num_received += 1
        for name, view in outputs.items():
            outputs[name] = view.copy()
        return outputs

    def _on_exit(self, received: list[Event]) -> None:
        returncode = self._child.reap()
        self._exited = True
        self._poll.unregister(self._child.pidfd)
        reason = self._reason(returncode)
        received += self._in_flight.fail_all(reason)
        received.append(events.Exited(returncode, reason))

    def _reason(self, returncode: int) -> str:
        if self._load_error is not None:
            return f"{self.spec.target} could not be loaded: {self._load_error}"
        during = "" if self._tensors_in is not None else " while it loaded"
        how = self._child.how(returncode, self._kill_reason)
        return f"{self.spec.target}: its process ended{during}: {how}"

    def kill(self, reason: str = "it was killed") -> None:
        """Kill the process and all that it started, at once; `receive` then tells the rest."""
        if not self._exited:
            self._kill_reason = self._kill_reason or reason
            self._child.kill()

    def stop(self) -> None:
        """Ask the process to finish its batches, break off its streams and exit."""
        if not self._stopping and not self._exited:
            self._stopping = True
            self._channel.post(messages.Stop())

    def close(self, grace_ns: int = 0) -> list[Event]:
        """Stop it, kill it if it is still there after `grace_ns`, free everything. Gives the events left."""
        self.stop()
        if not self._exited and not self._child.wait_exit(grace_ns):
            self.kill(f"it did not stop within {grace_ns / 1e9:g} s")
            self._child.wait_exit(None)
        received = []
        while not self._exited:
            received += self.receive()
        self._resources.close()
        return received
