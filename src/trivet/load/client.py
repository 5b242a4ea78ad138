"""The client: one process, one thread, one loop that never sleeps, so that sends leave on time.

Why it spins: a sleeping process is woken tens of microseconds late, and epoll's own timeout counts in whole
milliseconds. Give the loop a core of its own.

Invariant: requests are sent in the order of their intended times, and each ends exactly once: with an answer,
or in `Record.failures`. Latency counts from the intended time, so that whatever delays a send (a slow server
that holds all connections, or the client itself) counts; the client's own share is known as the send lag.
"""

import errno
import gc
import select
import time
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import zip_longest

from trivet.load.connection import (
    BROKEN,
    LEFT,
    NO_REQUEST,
    READ_BYTES,
    READABLE,
    WRITABLE,
    Connection,
    Target,
)
from trivet.load.http import BadAnswerError
from trivet.load.progress import Monitor, OnProgress, Stop
from trivet.load.record import Record
from trivet.spec.row import ABSENT

MAX_EVENTS = 32  # answers read between two looks at the schedule: they delay a send by 0.2 ms at most
START_NS = 20_000_000  # from set-up to the first instant of the schedule
LOOK_NS = 1_000_000  # between two looks at what can wait: timeouts, progress, the wish to stop
DRAIN_NS = 1_000_000_000  # for answers under way, after the wish to stop
CONNECT_TIMEOUT_S = 5.0

now_ns = time.monotonic_ns


class Client:
    """Sends prebuilt requests over keep-alive connections, and records what comes back.

    Args: picks: request i carries payload `picks[i % len(picks)]`.  min_connections: opened before the
    start; more are opened on demand up to max_connections, then requests wait.  timeout_ns: so long after its
    intended time a request is given up (within a millisecond), and its connection closed.  stop: once it is
    set nothing more is sent, and answers under way have a second.
    """

    def __init__(
        self,
        target: Target,
        payloads: Sequence[bytes],
        picks: Sequence[int],
        *,
        min_connections: int,
        max_connections: int,
        timeout_ns: int,
        keep_answers: bool = False,
        keep_chunks: bool = False,
        on_progress: OnProgress | None = None,
        server_processes: Sequence[int] = (),
        stop: Stop | None = None,
    ) -> None:
        self._target, self._payloads, self._picks = target, payloads, picks
        self._min_connections, self._max_connections = min_connections, max_connections
        self._timeout_ns, self._keep_answers, self._keep_chunks = timeout_ns, keep_answers, keep_chunks
        self._monitor = None if on_progress is None else Monitor(on_progress, server_processes)
        self._stop = stop
        self._epoll = select.epoll()
        self._by_fd: dict[int, Connection] = {}
        # Oldest first: all connections take turns, so that all workers of a server see the same load.
        self._idle: deque[Connection] = deque()
        self._next = 0  # the next request to send
        self._oldest = 0  # no request before it is in flight
        self._num_done = 0
        self._exhausted_ns = ABSENT  # when a request last found no free connection
        self._look_ns = 0
        self._stopped_ns = ABSENT
        self._think_ns, self._until_ns, self._min_requests, self._max_requests = 0, 0, 0, 0
        self._group = 1
        self._num_left: dict[int, int] = {}  # by group in flight: its requests that have not ended

    def run_open(self, instants_ns: Sequence[int]) -> Record:
        """Send one request at each instant, counted from the start, whatever comes back.

        Raises: TargetError: the connections of the start could not be opened.
        """
        return run_together([self], [instants_ns])[0]

    def run_closed(
        self,
        num_users: int,
        think_ns: int,
        duration_ns: int,
        max_requests: int,
        *,
        min_requests: int = 0,
        group: int = 1,
    ) -> Record:
        """Each user sends `group` requests at once, waits for all answers, thinks and sends again.

        It ends with the time, but not before `min_requests`, or with `max_requests`.
        """
        self._think_ns, self._until_ns, self._group = think_ns, duration_ns, group
        self._min_requests, self._max_requests = min_requests, max_requests
        return run_together([self], [[0] * min(num_users * group, max_requests)])[0]

    def _connect(self) -> None:
        self._target = self._target.resolved()
        for _ in range(self._min_connections):
            connection = Connection.opened(self._target, CONNECT_TIMEOUT_S)
            self._watch(connection, READABLE)
            self._idle.append(connection)

    def _begin(self, start_ns: int, offsets_ns: Sequence[int]) -> None:
        self._until_ns += start_ns
        self._record = Record(
            [start_ns + offset_ns for offset_ns in offsets_ns], keep_chunks=self._keep_chunks
        )
        self._record.start_ns = start_ns
        if self._monitor is not None:
            self._monitor.start(start_ns)

    def _turns(self) -> Iterator[None]:
        """The loop, which stops after each turn for who else wants one, until every request has ended."""
        record, poll, by_fd, receive = self._record, self._epoll.poll, self._by_fd, self._receive
        last_ns, was_busy = record.start_ns, False
        while self._num_done < len(record.intended_ns):
            now = now_ns()
            if was_busy:
                record.busy_ns += now - last_ns
            num_before = self._next
            self._send_due(now)
            events = poll(0, MAX_EVENTS)
            for fd, mask in events:
                connection = by_fd.get(fd)
                if connection is None:  # closed by an earlier event of this turn
                    continue
                if mask == READABLE and connection.is_open:
                    receive(connection)
                else:
                    self._on_event(connection, mask)
            if now >= self._look_ns:
                self._look(now)
            last_ns, was_busy = now, bool(events) or self._next > num_before
            yield
        record.end_ns = now_ns()
        if self._monitor is not None:
            self._tell(self._monitor, record.end_ns)

    def _close(self) -> None:
        for connection in self._by_fd.values():
            connection.close()
        self._epoll.close()

    def _look(self, now: int) -> None:
        """What can wait for a millisecond."""
        self._look_ns = now + LOOK_NS
        self._expire(now)
        if self._stop is not None and self._stop.is_set():
            self._wind_up(now)
        if self._monitor is not None and self._monitor.is_due(now):
            self._tell(self._monitor, now)

    def _tell(self, monitor: Monitor, now: int) -> None:
        monitor.tell(now, self._record, num_sent=self._next, num_done=self._num_done, oldest=self._oldest)

    def _send_due(self, now: int) -> None:
        intended = self._record.intended_ns
        while self._next < len(intended) and intended[self._next] <= now:
            if not self._idle and len(self._by_fd) >= self._max_connections:
                self._exhausted_ns = now
                return
            request = self._next
            self._next += 1
            moment = now_ns()
            if intended[request] > self._exhausted_ns:
                self._record.send_lag_ns[request] = moment - intended[request]
            payload = self._payloads[self._picks[request % len(self._picks)]]
            if self._idle:
                connection = self._idle.popleft()
            elif (opening := self._opening(request, moment)) is not None:
                connection = opening
            else:
                continue
            connection.request, connection.unsent = request, payload
            if connection.is_open:
                self._send(connection, moment)

    def _opening(self, request: int, now: int) -> Connection | None:
        """A new connection, which sends once it is connected; None: not even that, and the request is over."""
        try:
            connection = Connection.opening(self._target)
        except OSError as error:
            self._fail(request, now, "disconnected", _reason(error))
            return None
        self._watch(connection, READABLE | WRITABLE)
        return connection

    def _send(self, connection: Connection, now: int) -> None:
        try:
            if not connection.is_open:
                connection.finish_opening()
            if self._record.sent_ns[connection.request] == ABSENT:
                self._record.sent_ns[connection.request] = now
            is_flushed = connection.flush()
        except OSError as error:
            self._lose(connection, now_ns(), _reason(error))
            return
        if not is_flushed:
            self._epoll.modify(connection.fd, READABLE | LEFT | WRITABLE)

    def _on_event(self, connection: Connection, mask: int) -> None:
        # Reading comes first: a server that refuses a large body answers and closes before it was all sent.
        if mask & (READABLE | BROKEN) and connection.is_open:
            self._receive(connection)
            if mask & LEFT and connection.is_open and connection.request == NO_REQUEST:
                self._drop(connection)  # its last answer came with the end: nothing must be sent on it
        if mask & (WRITABLE | BROKEN) and connection.unsent:
            if mask & WRITABLE:
                self._epoll.modify(connection.fd, READABLE | LEFT)
            self._send(connection, now_ns())

    def _receive(self, connection: Connection) -> None:
        try:
            data = connection.sock.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(connection, now_ns(), _reason(error))
            return
        now = now_ns()
        request = connection.request
        if request == NO_REQUEST or (not data and not connection.reader.end()):
            self._lose(connection, now, "closed by the server")
            return
        if self._record.first_byte_ns[request] == ABSENT:
            self._record.first_byte_ns[request] = now
        try:
            is_whole = connection.reader.feed(data) if data else True
        except BadAnswerError as error:
            self._lose(connection, now, str(error))
            return
        if self._keep_chunks and data:
            self._record.chunks[request].append((now, connection.reader.num_body_bytes))
        if is_whole:
            self._finish(connection, request, now)

    def _finish(self, connection: Connection, request: int, now: int) -> None:
        record, reader = self._record, connection.reader
        head = reader.head
        record.done_ns[request] = now
        record.status[request] = head.status
        record.server_timing[request] = head.server_timing
        if self._keep_answers:
            record.answers[request] = reader.body()
        connection.request = NO_REQUEST
        if head.keep_alive and not connection.unsent:
            reader.reset()
            self._idle.append(connection)
        else:
            self._drop(connection)
        if not 200 <= head.status < 300 and self._monitor is not None:
            self._monitor.num_errors += 1
        self._ended(request, now)

    def _ended(self, request: int, now: int) -> None:
        """A request is over; in a closed loop its user comes back when that was the last of the group."""
        self._num_done += 1
        if not self._max_requests:
            return
        if self._group > 1:
            group = request // self._group
            self._num_left[group] = self._num_left.get(group, self._group) - 1
            if self._num_left[group]:
                return
            del self._num_left[group]
        for _ in range(self._group):
            num = len(self._record.intended_ns)
            is_over = now + self._think_ns >= self._until_ns and num >= self._min_requests
            if num < self._max_requests and (not is_over or num % self._group):
                self._record.add(now + self._think_ns)

    def _expire(self, now: int) -> None:
        """Give up what is older than the timeout. Intended times ascend, so only the oldest is looked at."""
        record = self._record
        while self._oldest < len(record.intended_ns):
            request = self._oldest
            if record.done_ns[request] == ABSENT:
                if record.intended_ns[request] + self._timeout_ns > now:
                    return
                if request < self._next:
                    outcome = "unsent" if record.sent_ns[request] == ABSENT else "unanswered"
                    holder = next(c for c in self._by_fd.values() if c.request == request)
                    self._lose(holder, now_ns(), "timeout of the load generator", outcome)
                else:  # it is the next to be sent, and waits for a connection
                    self._next = request + 1
                    self._fail(request, now_ns(), "unsent", "no free connection")
            self._oldest += 1

    def _wind_up(self, now: int) -> None:
        """Send nothing more, and after a second wait no longer."""
        record = self._record
        if self._stopped_ns == ABSENT:
            self._stopped_ns, self._max_requests = now, 0
            record.cut(now, self._next)
            while self._next < len(record.intended_ns):  # due, and waiting for a connection
                self._next += 1
                self._fail(self._next - 1, now_ns(), "cancelled", "the run was stopped")
        elif now - self._stopped_ns > DRAIN_NS:
            for connection in [c for c in self._by_fd.values() if c.request != NO_REQUEST]:
                self._lose(connection, now_ns(), "the run was stopped", "cancelled")

    def _lose(self, connection: Connection, now: int, reason: str, outcome: str = "disconnected") -> None:
        """The connection is of no use any more; so is the request on it, if there is one."""
        request = connection.request
        self._drop(connection)
        if request != NO_REQUEST:
            self._fail(request, now, outcome, reason)

    def _fail(self, request: int, now: int, outcome: str, reason: str) -> None:
        self._record.done_ns[request] = now
        self._record.failures[request] = (outcome, reason)
        if self._monitor is not None:
            self._monitor.num_errors += 1
        self._ended(request, now)

    def _watch(self, connection: Connection, mask: int) -> None:
        self._by_fd[connection.fd] = connection
        self._epoll.register(connection.fd, mask | LEFT)

    def _drop(self, connection: Connection) -> None:
        if connection.request == NO_REQUEST and connection in self._idle:
            self._idle.remove(connection)
        del self._by_fd[connection.fd]
        connection.unsent = b""
        connection.close()  # which takes it out of the epoll set, too


def run_together(clients: Sequence[Client], instants_ns: Sequence[Sequence[int]]) -> list[Record]:
    """Each client sends its requests at its own instants, all counted from one start, whatever comes back.

    They take turns in one loop: a client that is busy delays the others' sends, so give each moments of its own.
    Raises: TargetError: the connections of the start could not be opened.
    """
    gc_was_enabled = gc.isenabled()
    try:
        for client in clients:
            client._connect()
        gc.collect()
        gc.disable()  # nothing here makes cycles, and a full collection takes longer than a millisecond
        start_ns = now_ns() + START_NS
        for client, offsets_ns in zip(clients, instants_ns, strict=True):
            client._begin(start_ns, offsets_ns)
        for _ in zip_longest(*(client._turns() for client in clients)):
            pass
    finally:
        if gc_was_enabled:
            gc.enable()
        for client in clients:
            client._close()
    return _shared([client._record for client in clients])


def _shared(records: list[Record]) -> list[Record]:
    """What all had to do together counts as busy for each: they had one loop."""
    busy_ns = sum(record.busy_ns for record in records)
    span_ns = max(record.end_ns - record.start_ns for record in records)
    for record in records:
        record.busy_share = min(1.0, busy_ns / max(1, span_ns))
    return records


def _reason(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, type(error).__name__)
