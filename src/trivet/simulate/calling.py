"""The remote stages of one simulated worker together: what is on its way, what happens next, and what has ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trivet.schedule import Batch, Scheduler
from trivet.simulate.auditing import SimulatedAudit
from trivet.simulate.hiccups import NEVER
from trivet.simulate.record import Record
from trivet.simulate.remote import SimulatedRemote
from trivet.simulate.stages import ModelStage, SimulatedRequest
from trivet.simulate.upstreams import CallRow


class SimulatedCalls:
    """Of one worker; a service may have several remote models, each with budgets and breakers of its own."""

    def __init__(self, stages: Sequence[ModelStage], scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._remotes = [(one, one.remote) for one in stages if one.remote is not None]

    def __bool__(self) -> bool:
        """Whether the service has any."""
        return bool(self._remotes)

    def next_ns(self) -> int:
        """When anything happens; NEVER: nothing will."""
        return min([remote.next_ns for _, remote in self._remotes], default=NEVER)

    def start(self, batch: Batch, remote: SimulatedRemote, now_ns: int) -> int:
        """When the loop is done with it."""
        now_ns += remote.call_ns
        jobs: list[SimulatedRequest] = batch.jobs  # type: ignore[assignment]  # every job here is one
        remote.start(batch, now_ns, max([job.end_by_ns for job in jobs]))
        return now_ns

    def ended(self, now_ns: int, record: Record) -> Iterator[tuple[ModelStage, Batch, CallRow]]:
        """What upstreams have said until now, one call after the other; the scheduler has learned of it, and the record."""
        for stage, remote in self._remotes:
            if remote.next_ns > now_ns:
                continue
            for batch, row in remote.ended(now_ns):
                took_ns = row.done_ns - row.sent_ns if row.failure is None else None
                self._scheduler.finished(batch, row.done_ns, took_ns)
                jobs: list[SimulatedRequest] = batch.jobs  # type: ignore[assignment]  # every job here is one
                for job in jobs:
                    if type(job) is not SimulatedAudit:
                        record.tell(job.place, remote.told(row))
                yield stage, batch, row
