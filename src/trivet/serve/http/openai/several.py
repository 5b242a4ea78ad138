"""Several texts in one request, for a service that takes one at a time: a request for each, answered as one.

Few of them are on their way at a time, so that a long list of one client stands in nobody's way.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivet.errors import EngineError, RequestError
from trivet.runtime.live import LiveService
from trivet.runtime.request import Reply, Request
from trivet.runtime.results import Results
from trivet.runtime.runtime import Runtime
from trivet.serve.http.openai.joined import Joined
from trivet.serve.http.openai.offering import submit
from trivet.serve.http.options import Options
from trivet.spec.openai import OpenAIForm
from trivet.wire.openai_input import message_of
from trivet.wire.openai_request import Asked
from trivet.wire.openai_server import NO_HEADING, piece_writer

_MOST_AT_ONCE = 64


class Several:
    """The `reply` of the requests for each text. The first error of one is the whole's.

    `whole` stands for all of them: it keeps the answer's place, and is cancelled through here (as a `Split` is).
    """

    def __init__(
        self,
        runtime: Runtime,
        live: LiveService,
        form: OpenAIForm,
        asked: Asked,
        options: Options,
        reply: Reply,
        received_ns: int,
        now_ns: int,
    ) -> None:
        """Raises: RequestError: the first text cannot be asked; nothing is on its way yet."""
        self._runtime, self._live, self._form, self._asked = runtime, live, form, asked
        self._options = options
        self._outputs: dict[int, dict[str, NDArray[Any]]] = {}
        self._waiting: dict[int, Request] = {}
        self._num_begun = 0
        self._is_over = False
        self._is_submitting = False
        self._received_ns = received_ns
        first = self._first = self._part(0, now_ns)
        self.whole = Request(first.queue, 1, now_ns, first.end_by_ns, received_ns, live, first.message, reply)
        self.whole.options = options
        self.whole.split = self

    def submit_next(self) -> None:
        """Keep as many texts on their way as fill the model's batches. Answers may come while it runs."""
        if self._is_submitting:
            return
        self._is_submitting = True
        most = min(_MOST_AT_ONCE, 2 * self._live.models[0].scheduled.max_batch_size)
        while not self._is_over and len(self._waiting) < most and self._num_begun < len(self._asked.texts):
            index = self._num_begun
            self._num_begun += 1
            try:
                part = self._part(index, self._runtime.now_ns()) if index else self._first
            except RequestError as error:
                self._end_with(error)
                break
            self._waiting[index] = part
            submit(part, self._runtime)
        self._is_submitting = False

    def _part(self, index: int, now_ns: int) -> Request:
        message = message_of(self._form, self._asked.texts[index : index + 1], self._asked.options)
        timeout_ns = self._options.timeout_ns
        part = self._live.request(message, self._received_ns, now_ns, timeout_ns, 0, self)
        part.options = self._options
        part.first_row = index
        if self._live.streams:
            part.reply = Joined(self, piece_writer(self._form, NO_HEADING, include_usage=False))
        return part

    # --- from the parts -----------------------------------------------------------------------------------------

    def answer(self, request: Request, results: Results, start: int) -> None:
        if self._is_over:
            return
        del self._waiting[request.first_row]
        outputs = results.part(start, request.rows)
        self._outputs[request.first_row] = {
            name: array.reshape(1, -1).copy() for name, array in outputs.items()
        }
        whole = self.whole
        _note(whole, request)
        whole.formed_ns = whole.formed_ns or request.formed_ns
        whole.started_ns = whole.started_ns or request.started_ns
        whole.ended_ns, whole.batch_rows = request.ended_ns, request.batch_rows
        if len(self._outputs) < len(self._asked.texts):
            self.submit_next()
            return
        self._over()
        ordered = [self._outputs[index] for index in sorted(self._outputs)]
        try:
            joined = {name: np.concatenate([outputs[name] for outputs in ordered]) for name in ordered[0]}
        except ValueError:
            error = EngineError("the model's outputs differ in their size from text to text")
            whole.reply.fail(whole, error)
        else:
            whole.reply.answer(whole, Results(joined, False, 1), 0)

    def fail(self, request: Request, error: RequestError) -> None:
        if not self._is_over:
            del self._waiting[request.first_row]
            self._end_with(error)

    # --- ends ---------------------------------------------------------------------------------------------------

    def cancel(self) -> None:
        """Nobody waits for the whole any more. Parts that run are thrown away when they end."""
        self._over()
        for part in self._waiting.values():
            self._runtime.cancel(part)

    def _end_with(self, error: RequestError) -> None:
        self.cancel()
        self.whole.reply.fail(self.whole, error)

    def _over(self) -> None:
        self._is_over = True
        self.whole.split = None


def _note(whole: Request, part: Request) -> None:
    """What is told of a part is told of the whole; a cache has answered it only where it has answered every part."""
    told, notes = whole.notes, part.notes
    if notes is None:
        return
    if told is None:
        whole.notes = replace(notes)
        return
    told.cache = notes.cache if notes.cache == told.cache else "miss"
    told.instead = told.instead or notes.instead
    told.upstream = told.upstream or notes.upstream
    told.attempts += notes.attempts
    told.cost_nano += notes.cost_nano
