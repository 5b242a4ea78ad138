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
from collections.abc import Sequence

from trivet.load.connection import BROKEN, NO_REQUEST, READ_BYTES, READABLE, WRITABLE, Connection, Target
from trivet.load.http import BadAnswerError
from trivet.spec.row import ABSENT

MAX_EVENTS = 32  # answers read between two looks at the schedule: they delay a send by 0.2 ms at most
START_NS = 20_000_000  # from set-up to the first instant of the schedule
CONNECT_TIMEOUT_S = 5.0

now_ns = time.monotonic_ns


class Record:
    """What happened to each request, by index. Lists, not arrays: the loop writes one element at a time."""

    def __init__(self, intended_ns: list[int]) -> None:
        num = len(intended_ns)
        self.intended_ns = intended_ns
        self.sent_ns = [ABSENT] * num
        self.first_byte_ns = [ABSENT] * num
        self.done_ns = [ABSENT] * num
        self.status = [0] * num
        self.server_timing: list[bytes | None] = [None] * num
        self.answers: list[bytes] = [b""] * num
        self.failures: dict[int, tuple[str, str]] = {}  # outcome and reason of what got no whole answer
        self.send_lag_ns = [ABSENT] * num  # ABSENT for a request that had to wait for a free connection
        self.idle_ns = 0  # time in turns of the loop that found nothing to do
        self.start_ns = self.end_ns = 0

    def add(self, intended_ns: int) -> None:
        for column in (self.sent_ns, self.first_byte_ns, self.done_ns, self.send_lag_ns):
            column.append(ABSENT)
        self.intended_ns.append(intended_ns)
        self.status.append(0)
        self.server_timing.append(None)
        self.answers.append(b"")


class Client:
    """Sends prebuilt requests over keep-alive connections, and records what comes back.

    Args: picks: request i carries payload `picks[i % len(picks)]`.  min_connections: opened before the
    start; more are opened on demand up to max_connections, then requests wait.  timeout_ns: so long after its
    intended time a request is given up, and its connection closed.
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
    ) -> None:
        self._target, self._payloads, self._picks = target, payloads, picks
        self._max_connections, self._timeout_ns, self._keep_answers = (
            max_connections,
            timeout_ns,
            keep_answers,
        )
        self._min_connections = min_connections
        self._epoll = select.epoll()
        self._by_fd: dict[int, Connection] = {}
        # Oldest first: all connections take turns, so that all workers of a server see the same load.
        self._idle: deque[Connection] = deque()
        self._holders: dict[int, Connection] = {}  # by request in flight
        self._next = 0  # the next request to send
        self._oldest = 0  # no request before it is in flight
        self._num_done = 0
        self._exhausted_ns = ABSENT  # when a request last found no free connection
        self._think_ns, self._until_ns, self._max_requests = 0, 0, 0

    def run_open(self, instants_ns: Sequence[int]) -> Record:
        """Send one request at each instant, counted from the start, whatever comes back.

        Raises: TargetError: the connections of the start could not be opened.
        """
        return self._run(list(instants_ns))

    def run_closed(self, num_users: int, think_ns: int, duration_ns: int, max_requests: int) -> Record:
        """Each user sends, waits for the answer, thinks and sends again, until time or count is over."""
        self._think_ns, self._until_ns, self._max_requests = think_ns, duration_ns, max_requests
        return self._run([0] * min(num_users, max_requests))

    def _run(self, offsets_ns: list[int]) -> Record:
        gc_was_enabled = gc.isenabled()
        try:
            for _ in range(self._min_connections):
                connection = Connection.opened(self._target, CONNECT_TIMEOUT_S)
                self._watch(connection, READABLE)
                self._idle.append(connection)
            gc.collect()
            gc.disable()  # nothing here makes cycles, and a full collection takes longer than a millisecond
            start_ns = now_ns() + START_NS
            self._until_ns += start_ns
            self._record = Record([start_ns + offset_ns for offset_ns in offsets_ns])
            self._record.start_ns = start_ns
            self._loop()
            self._record.end_ns = now_ns()
        finally:
            if gc_was_enabled:
                gc.enable()
            for connection in self._by_fd.values():
                connection.close()
            self._epoll.close()
        return self._record

    def _loop(self) -> None:
        record, poll, by_fd = self._record, self._epoll.poll, self._by_fd
        last_ns = record.start_ns
        while self._num_done < len(record.intended_ns):
            now = now_ns()
            num_before = self._next
            self._send_due(now)
            events = poll(0, MAX_EVENTS)
            for fd, mask in events:
                connection = by_fd.get(fd)
                if connection is not None:  # else: closed by an earlier event of this turn
                    self._on_event(connection, mask)
            self._expire(now)
            if not events and self._next == num_before and now > last_ns:
                record.idle_ns += now - last_ns
            last_ns = max(now, last_ns)

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
            self._dispatch(request, moment)

    def _dispatch(self, request: int, now: int) -> None:
        """Give a request to an idle connection, or to a new one that sends it once it is connected."""
        payload = self._payloads[self._picks[request % len(self._picks)]]
        if self._idle:
            connection = self._idle.popleft()
        else:
            try:
                connection = Connection.opening(self._target)
            except OSError as error:
                self._fail(request, now, "disconnected", _reason(error))
                return
            self._watch(connection, READABLE | WRITABLE)
        connection.request, connection.unsent = request, payload
        self._holders[request] = connection
        if connection.is_open:
            self._send(connection)

    def _send(self, connection: Connection) -> None:
        sent_ns = self._record.sent_ns
        try:
            if not connection.is_open:
                connection.finish_opening()
            if sent_ns[connection.request] == ABSENT:
                sent_ns[connection.request] = now_ns()
            is_flushed = connection.flush()
        except OSError as error:
            self._lose(connection, now_ns(), _reason(error))
            return
        if not is_flushed:
            self._epoll.modify(connection.fd, READABLE | WRITABLE)

    def _on_event(self, connection: Connection, mask: int) -> None:
        # Reading comes first: a server that refuses a large body answers and closes before it was all sent.
        if mask & (READABLE | BROKEN) and connection.is_open:
            self._receive(connection)
        if mask & (WRITABLE | BROKEN) and connection.unsent:
            if mask & WRITABLE:
                self._epoll.modify(connection.fd, READABLE)
            self._send(connection)

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
        if is_whole:
            self._finish(connection, request, now)

    def _finish(self, connection: Connection, request: int, now: int) -> None:
        record, reader = self._record, connection.reader
        head = reader.head
        record.done_ns[request] = now
        record.status[request] = head.status
        record.server_timing[request] = head.header(b"server-timing")
        if self._keep_answers:
            record.answers[request] = reader.body()
        connection.request = NO_REQUEST
        del self._holders[request]
        if head.keep_alive and not connection.unsent:
            reader.reset()
            self._idle.append(connection)
        else:
            self._drop(connection)
        self._ended(now)

    def _ended(self, now: int) -> None:
        """A request is over; in a closed loop its user comes back."""
        self._num_done += 1
        if self._max_requests > len(self._record.intended_ns) and now + self._think_ns < self._until_ns:
            self._record.add(now + self._think_ns)

    def _expire(self, now: int) -> None:
        """Give up what is older than the timeout. Intended times ascend, so only the oldest is looked at."""
        record = self._record
        while self._oldest < len(record.intended_ns):
            request = self._oldest
            if record.done_ns[request] == ABSENT:
                if record.intended_ns[request] + self._timeout_ns > now:
                    return
                connection = self._holders.get(request)
                if connection is not None:
                    outcome = "unsent" if record.sent_ns[request] == ABSENT else "unanswered"
                    self._lose(connection, now_ns(), "timeout of the load generator", outcome)
                else:  # it is the next to be sent, and waits for a connection
                    self._next = request + 1
                    self._fail(request, now_ns(), "unsent", "no free connection")
            self._oldest += 1

    def _lose(self, connection: Connection, now: int, reason: str, outcome: str = "disconnected") -> None:
        """The connection is of no use any more; so is the request on it, if there is one."""
        request = connection.request
        self._drop(connection)
        if request != NO_REQUEST:
            del self._holders[request]
            self._fail(request, now, outcome, reason)

    def _fail(self, request: int, now: int, outcome: str, reason: str) -> None:
        self._record.done_ns[request] = now
        self._record.failures[request] = (outcome, reason)
        self._ended(now)

    def _watch(self, connection: Connection, mask: int) -> None:
        self._by_fd[connection.fd] = connection
        self._epoll.register(connection.fd, mask)

    def _drop(self, connection: Connection) -> None:
        if connection.request == NO_REQUEST and connection in self._idle:
            self._idle.remove(connection)
        del self._by_fd[connection.fd]
        connection.unsent = b""
        connection.close()  # which takes it out of the epoll set, too


def _reason(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, type(error).__name__)
