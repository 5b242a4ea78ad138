"""The engines of one worker in virtual time: how long a batch takes, and what runs beside the loop on the same cores.

The loop's thread goes first, as its niceness wants: while it is at work, engine threads have what cores it leaves them.
"""

from __future__ import annotations

from trivet.schedule import Batch
from trivet.simulate.host import Host
from trivet.simulate.stages import ModelStage


class Running:
    """A batch that an engine thread was given at ready_ns; it begins and ends as far as is known now."""

    __slots__ = ("batch", "began_ns", "end_ns", "ready_ns", "stage")

    def __init__(self, batch: Batch, stage: ModelStage, ready_ns: int, began_ns: int, end_ns: int) -> None:
        self.batch = batch
        self.stage = stage
        self.ready_ns = ready_ns
        self.began_ns = began_ns
        self.end_ns = end_ns


class Engines:
    """What engine threads run, and when an engine last ended: after a pause it begins cold.

    Args: cores: that the loop's thread and theirs share.
    """

    __slots__ = ("_cores", "_host", "end_ns", "running")

    def __init__(self, host: Host, cores: float) -> None:
        self._host = host
        self._cores = cores
        self.end_ns = -(1 << 60)
        self.running: list[Running] = []

    def drawn_ns(self, batch: Batch, stage: ModelStage, now: int) -> float:
        """How long a batch that begins now takes, if nothing holds it up."""
        times, host, rows = stage.known[batch.queue], self._host, batch.rows
        residuals = times.residuals[rows]
        medians = times.medians
        warm_ns = medians[rows] * stage.busy_factors[rows]
        cold_ns = medians[1] * host.cold_factor(now - self.end_ns)
        return (warm_ns + cold_ns) * host.factor * (residuals.pool or residuals.refill()).pop()

    def start(self, batch: Batch, stage: ModelStage, now: int) -> int:
        """Hand a batch to a thread; the core time that it takes."""
        began = now + self._host.hand_over_ns()
        work_ns = round(self.drawn_ns(batch, stage, now) * self._host.interference(len(self.running) + 1))
        self.running.append(Running(batch, stage, now, began, began + max(1, work_ns)))
        return work_ns * stage.threads

    def first_end_ns(self) -> int:
        """When the first of what runs ends; something does."""
        running = self.running
        return running[0].end_ns if len(running) == 1 else min([one.end_ns for one in running])

    def take_ended(self, now: int) -> list[Running]:
        """What has ended by now."""
        if len(self.running) == 1:
            ended, self.running = self.running, []
        else:
            ended = [one for one in self.running if one.end_ns <= now]
            self.running = [one for one in self.running if one.end_ns > now]
        return ended

    def stall(self, begun: int, now: int) -> None:
        """The loop has worked since `begun`; threads had what cores it left them, and end that much later.

        Their times were measured on as many cores, so that threads beyond those take nothing more.
        """
        cores = self._cores
        if cores == 1:
            stalled = 1.0
        else:
            wanted = min(cores, sum([one.stage.threads for one in self.running]))
            stalled = 1 - min(1.0, (cores - 1) / wanted)
            if not stalled:
                return
        for one in self.running:
            if one.ready_ns >= begun:
                lost = round((now - one.ready_ns) * stalled)
                one.began_ns += lost
            else:
                lost = round((now - begun) * stalled)
            one.end_ns += lost
