"""Carries out the decisions of `schedule/` and `pipeline/` with real time and real engines. No socket of its own.

The whole way of a request: `submit` offers it; at the end of the loop's turn `_turn` asks the scheduler which
batches start; an executor runs each; `_finished` answers every request of it and turns again.
"""

import asyncio
from collections.abc import Callable
from functools import partial

from trivet.clock import MonotonicClock
from trivet.errors import DeadlineError, RefusedError, RequestError
from trivet.pipeline.chain import Run
from trivet.runtime.conversion import as_inputs
from trivet.runtime.costing import charge
from trivet.runtime.executors import Executor, Outcome
from trivet.runtime.exiting import part_ways
from trivet.runtime.fallbacks import rescue
from trivet.runtime.fronts.front import Fronts
from trivet.runtime.live import LiveModel, LiveService
from trivet.runtime.remote_calls import called
from trivet.runtime.remote_executor import LoneCall, RemoteExecutor
from trivet.runtime.request import Request
from trivet.runtime.results import Results
from trivet.runtime.retrying import Retry, may_retry
from trivet.runtime.splitting import Split
from trivet.runtime.streaming import Stream
from trivet.runtime.token_counts import charge_tokens
from trivet.schedule import Batch, Drop, Model, Refusal, Scheduler
from trivet.wire.v2_input import InferInput

# A turn that runs inline batches gives the sockets a chance after this long.
_MAX_TURN_NS = 2_000_000


class Runtime:
    """One per worker, in one event loop; not thread-safe."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        scheduler: Scheduler,
        now_ns: Callable[[], int] = MonotonicClock.now_ns,
    ) -> None:
        self.scheduler = scheduler
        self.now_ns = now_ns
        self.on_turn: Callable[[], None] = lambda: (
            None
        )  # called after each turn: a worker publishes its counts
        self._loop = loop
        self._models: dict[Model, LiveModel] = {}
        self._retiring: list[LiveService] = []
        self._turn_pending = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ns = 0

    def add(self, live: LiveService) -> None:
        for model in live.every_model:
            self._models[model.scheduled] = model
        if live.routing is not None and live.routing.audits is not None:
            live.routing.audits.runtime = self
        fronts = [*live.front_list, *live.last_fronts]
        if fronts and live.fronts is None:
            live.fronts = Fronts(fronts, self, live.counts)

    def retire(self, live: LiveService) -> None:
        """Free a configuration's engines as soon as the requests it has taken are answered; it gets no new ones."""
        self._retiring.append(live)
        self._free_retired()

    def free_retired(self) -> None:
        """A request is over that no turn tells of."""
        if self._retiring:
            self._free_retired()

    def _free_retired(self) -> None:
        for live in [live for live in self._retiring if live.num_unanswered() == 0]:
            self._retiring.remove(live)
            if live.fronts is not None:
                live.fronts.close()
            live.close_tables()
            for model in live.every_model:
                self.scheduler.remove_model(model.scheduled)
                del self._models[model.scheduled]
                for executor in model.idle:
                    executor.close()

    def submit(self, request: Request) -> None:
        """Admit the request or refuse it at once; its `reply` gets exactly one answer, now or later."""
        ladder = request.live.ladder
        if ladder is not None and ladder.stands_at(request):
            ladder.submit(self, request)
            return
        if request.rows > request.queue.model.max_batch_size:
            refusal = self._offer_parts(request)
            if refusal is not None:
                self.refuse(request, refusal)
            return
        refusal = self.scheduler.offer(request, request.arrival_ns)
        if refusal is not None:
            self.refuse(request, refusal)
        elif not self._turn_pending:
            self._turn_pending = True
            self._loop.call_soon(self._turn)

    def offer(self, request: Request, now_ns: int) -> Refusal | None:
        """The same at a rung of a ladder; a refusal is for the caller to tell."""
        if request.rows > request.queue.model.max_batch_size:
            return self._offer_parts(request)
        refusal = self.scheduler.offer(request, now_ns)
        if refusal is None:
            self._turn_soon()
        return refusal

    def _offer_parts(self, request: Request) -> Refusal | None:
        split = request.split = Split(self, request, self._models[request.queue.model])
        excess_ns = self.now_ns() + split.predicted_ns() - request.deadline_ns
        if excess_ns > 0:
            request.split = None
            return Refusal("deadline", excess_ns)
        split.submit_next()
        return None

    def cancel(self, request: Request) -> bool:
        """The client left: a waiting request costs nothing more; a running one is finished and thrown away, one that is
        answered in chunks is broken off.

        True: the request's `reply` will not be called any more.
        """
        is_over = self._take_out(request)
        if is_over and request.live.fronts is not None:
            request.live.fronts.left(request)
        return is_over

    def _take_out(self, request: Request) -> bool:
        now_ns = self.now_ns()
        if request.stream is not None:
            return request.stream.stop("CANCELED")
        if not self.withdraw(request):
            return False
        self._models[request.queue.model].counters.fail("CANCELED", now_ns - request.received_ns)
        return True

    def withdraw(self, request: Request) -> bool:
        """Take out what waits of a request. False: it is running, or over."""
        if request.split is not None:
            request.split.cancel()
            return True
        if not self.scheduler.cancel(request, self.now_ns()):
            return False
        if request.live.ladder is not None:
            request.live.ladder.left(request)
        return True

    def _turn(self) -> None:
        self._turn_pending = False
        now_ns = self.now_ns()
        end_ns = now_ns + _MAX_TURN_NS
        while commands := self.scheduler.poll(now_ns):
            for command in commands:
                if type(command) is Batch:
                    self._start(command)
                elif type(command) is Drop:
                    self._drop(command, now_ns)
            now_ns = self.now_ns()
            if now_ns > end_ns:
                self._turn_soon()
                break
        self._arm_timer(now_ns)
        self.on_turn()

    def _turn_soon(self) -> None:
        if not self._turn_pending:
            self._turn_pending = True
            self._loop.call_soon(self._turn)

    def _arm_timer(self, now_ns: int) -> None:
        wake_ns = self.scheduler.wake_at_ns()
        if wake_ns is None:
            return
        if self._timer is not None:
            if self._timer_ns <= wake_ns:
                return  # it fires early, finds nothing, and arms the next
            self._timer.cancel()
        self._timer_ns = wake_ns
        self._timer = self._loop.call_later(max(0, wake_ns - now_ns) * 1e-9, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if not self._turn_pending:
            self._turn()

    def _start(self, batch: Batch) -> None:
        model = self._models[batch.model]
        executor = model.idle.pop()
        if model.streams:
            Stream(self, model, batch, executor).start()
            return
        requests: list[Request] = batch.jobs  # type: ignore[assignment]  # every job here is a Request
        lone = None
        if model.remote is not None and len(requests) == 1:
            requests = [*requests]
            assert isinstance(executor, RemoteExecutor)  # installed for every remote model
            lone = LoneCall(executor, requests)
        build = partial(model.builder.build, [request.inputs for request in requests], batch.rows)

        def done(outcome: Outcome) -> None:
            if lone is not None:
                lone.over()
            if outcome.error is not None and may_retry(outcome, len(requests)):
                self._retry(model, batch, executor, requests, outcome)
                return
            if outcome.executor_lost:
                executor.when_back(lambda: self._recovered(model, batch, executor))
            else:
                model.idle.append(executor)
                learned_ns = outcome.ended_ns - outcome.started_ns if outcome.error is None else None
                self.scheduler.finished(batch, outcome.ended_ns, learned_ns)
            self._finished(model, batch, requests, outcome)

        answer_by_ns = max([request.end_by_ns for request in requests])
        if model.timeout_ns is not None:
            answer_by_ns = min(answer_by_ns, self.now_ns() + model.timeout_ns)
        executor.start(build, done, answer_by_ns)

    def stream_over(self, stream: Stream, learned_ns: int | None, *, executor_lost: bool) -> None:
        """The engine has let go of a stream: its instance is free, or will be."""
        model, batch, executor = stream.model, stream.batch, stream.executor
        if executor_lost:
            executor.when_back(lambda: self._recovered(model, batch, executor))
            return
        model.idle.append(executor)
        self.scheduler.finished(batch, self.now_ns(), learned_ns)
        if self._retiring:
            self._free_retired()
        self.on_turn()
        if self.scheduler.num_waiting:
            self._turn_soon()

    def _retry(
        self, model: LiveModel, batch: Batch, executor: Executor, requests: list[Request], failed: Outcome
    ) -> None:
        def answered(request: Request, outcome: Outcome) -> None:
            self._settle(model, batch.started_ns, [request], request.rows, outcome)
            self.on_turn()

        def ended() -> None:
            executor.when_back(lambda: self._recovered(model, batch, executor))

        retry = Retry(model, executor, requests, failed, self.now_ns, self._loop.call_soon, answered, ended)
        retry.next()

    def _recovered(self, model: LiveModel, batch: Batch, executor: Executor) -> None:
        """An engine that had been lost, or was kept for a second try, is back: only now is its core free."""
        model.idle.append(executor)
        self.scheduler.finished(batch, self.now_ns(), None)
        if self._retiring:
            self._free_retired()
        if self.scheduler.num_waiting:
            self._turn_soon()

    def _finished(self, model: LiveModel, batch: Batch, requests: list[Request], outcome: Outcome) -> None:
        if outcome.outputs is not None:
            model.counters.batch(batch.rows, outcome.ended_ns - outcome.started_ns, batch.predicted_ns)
        self._settle(model, batch.started_ns, requests, batch.rows, outcome)
        if self._retiring:
            self._free_retired()
        self.on_turn()
        if self.scheduler.num_waiting and not self._turn_pending and model.scheduled.cores:
            self._turn()  # the core is free: the next batch must not wait for the loop to come round

    def _settle(
        self, model: LiveModel, formed_ns: int, requests: list[Request], rows: int, outcome: Outcome
    ) -> None:
        """Give each request of a batch of `rows` its part of what came of it."""
        if outcome.notes is not None:
            called(model, requests, outcome.notes, outcome.tokens)
        if model.ladder is not None:
            model.ladder.settled(model, requests, outcome)
        if model.nano_per_ns:
            charge(model, requests, rows, outcome.ended_ns - outcome.started_ns)
        if outcome.outputs is None:
            assert outcome.error is not None  # exactly one of the two is set
            for request in requests:
                self.stage_failed(model, request, outcome.error, "BACKEND")
            return
        results = Results(outcome.outputs, model.signature.batch_axis, rows)
        if model.tokens_of is not None:
            charge_tokens(model, requests, results)
        start = 0
        for request in requests:
            request.formed_ns = formed_ns
            request.started_ns = outcome.started_ns
            request.ended_ns = outcome.ended_ns
            request.batch_rows = rows
            if outcome.ended_ns > request.end_by_ns:
                self._late(request, outcome.ended_ns)
            elif model.cut:
                self.stage_answered(request, model.cut_padding(request, results, start), 0, model)
            else:
                self.stage_answered(request, results, start, model)
            start += request.rows

    def stage_answered(self, request: Request, results: Results, start: int, model: LiveModel) -> None:
        """A model stage is done with a request: answer it, or carry it on."""
        if request.answers_after is model:
            request.reply.answer(request, results, start)
        else:
            self._next_stage(request, results, start)

    def _next_stage(self, request: Request, results: Results, start: int) -> None:
        """Carry a request from one model over the steps behind it to the next model, or to its answer."""
        live = request.live
        try:
            if live.exits is not None and request.stage in live.exits.points:
                part_ways(self, live.exits, request, results, start)
            else:
                self.go_on(request, results, start)
        except RequestError as error:
            self.fail(request, error, "BACKEND")

    def go_on(self, request: Request, results: Results, start: int) -> None:
        """Over the steps behind the request's stage.

        Raises: RequestError: a step failed, or what follows does not take its tensors; nothing is answered yet.
        """
        live = request.live
        command, outputs = live.run_steps(
            request.stage, results.part(start, request.rows), request.carried, request.end_by_ns
        )
        if isinstance(command, Run):
            model = live.stages[command.index]
            assert isinstance(model, LiveModel)  # run_steps stops at models only
            self.offer_inputs(request, command, as_inputs(outputs, model.name, model.signature))
            return
        live.check_outputs(outputs)
        request.reply.answer(request, Results(outputs, False, request.rows), 0)

    def offer_inputs(self, request: Request, command: Run, inputs: list[InferInput]) -> None:
        """Offer a request to the model that the command names. Raises: BadRequestError: as `LiveService.place`."""
        request.stage = command.index
        request.inputs = inputs
        request.queue, request.rows = request.live.place(command.index, inputs, request.priority)
        request.arrival_ns = self.now_ns()
        request.deadline_ns = command.deadline_ns
        fronts = request.live.fronts
        if fronts is not None and fronts.stages is not None:
            fronts.stages.submit(request)
        else:
            self.submit(request)

    def refuse(self, request: Request, refusal: Refusal) -> None:
        self.stage_failed(self._models[request.queue.model], request, refused(refusal), "REJECTED")

    def _late(self, request: Request, ended_ns: int) -> None:
        """Never answer late in silence: the client has given up, or will act on an answer that is worth nothing."""
        late_ms = (ended_ns - request.end_by_ns) / 1e6
        self.fail(
            request,
            DeadlineError(f"the deadline passed {late_ms:.1f} ms before the answer was ready"),
            "LATE",
        )

    def _drop(self, drop: Drop, now_ns: int) -> None:
        request: Request = drop.job  # type: ignore[assignment]
        ladder = request.live.ladder
        if ladder is not None and ladder.again(self, drop, now_ns):
            return
        if drop.refusal is not None:
            self.refuse(request, drop.refusal)
            return
        waited_ms = (now_ns - request.received_ns) / 1e6
        error = DeadlineError(
            f"the deadline could not be met: dropped before execution after {waited_ms:.1f} ms"
        )
        self.stage_failed(self._models[request.queue.model], request, error, "REJECTED")

    def stage_failed(self, model: LiveModel, request: Request, error: RequestError, reason: str) -> None:
        """A model has not answered a request: its fallbacks may, where it has some; parts of one go back to the whole."""
        if (
            model.fallbacks
            and not isinstance(request.reply, Split)
            and rescue(self, model, request, error, reason)
        ):
            return
        self.fail(request, error, reason)

    def fail(self, request: Request, error: RequestError, reason: str) -> None:
        counters = self._models[request.queue.model].counters
        counters.fail(reason, self.now_ns() - request.received_ns)
        request.reply.fail(request, error)


def refused(refusal: Refusal) -> RefusedError:
    if refusal.retry_after_ns:
        why = f"with today's backlog; try again in {refusal.retry_after_ns / 1e6:.0f} ms"
    else:
        why = "by an idle server either; allow more time"
    return RefusedError(f"refused: the deadline cannot be met {why}", refusal.reason, refusal.retry_after_ns)
