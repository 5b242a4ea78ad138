"""A real runtime in this process: prepared from a service file, driven by real or fake time."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivet.clock import MonotonicClock
from trivet.errors import RequestError
from trivet.runtime.installing import install
from trivet.runtime.live import LiveService
from trivet.runtime.preparing.preparing import Prepared, prepare
from trivet.runtime.request import Request
from trivet.runtime.results import Results
from trivet.runtime.runtime import Runtime
from trivet.schedule import Scheduler
from trivet.spec.service_file import load_configuration
from trivet.wire.v2_input import InferInput
from trivet.wire.v2_request import InferMessage

Outputs = dict[str, NDArray[Any]]


class Answer:
    """A reply that is awaited: `outputs` or `error`."""

    def __init__(self) -> None:
        self.outputs: Outputs | None = None
        self.error: RequestError | None = None
        self.request: Request | None = None  # set when it is submitted
        self.done = asyncio.Event()

    def answer(self, request: Request, results: Results, start: int) -> None:
        self.outputs = {name: array.copy() for name, array in results.part(start, request.rows).items()}
        self.done.set()

    def fail(self, request: Request, error: RequestError) -> None:
        self.error = error
        self.done.set()


class Served:
    """A live service in a runtime."""

    def __init__(self, runtime: Runtime, live: LiveService, now_ns: Callable[[], int]) -> None:
        self.runtime = runtime
        self.live = live
        self._now_ns = now_ns

    def submit(self, inputs: Mapping[str, NDArray[Any]], timeout_ns: int = 0, priority: int = 0) -> Answer:
        """Raises: RequestError: refused before it was offered."""
        tensors = [
            InferInput(inputs[spec.name].shape, inputs[spec.name]) for spec in self.live.signature.inputs
        ]
        message = InferMessage(tensors, "", None, None, False)
        answer, now_ns = Answer(), self._now_ns()
        answer.request = self.live.request(message, now_ns, now_ns, timeout_ns, priority, answer)
        self.runtime.submit(answer.request)
        return answer

    async def ask(self, inputs: Mapping[str, NDArray[Any]], timeout_ns: int = 0) -> Outputs:
        """Raises: RequestError: as it was answered."""
        answer = self.submit(inputs, timeout_ns)
        await answer.done.wait()
        if answer.error is not None:
            raise answer.error
        assert answer.outputs is not None
        return answer.outputs

    async def ask_all(self, requests: Sequence[Mapping[str, NDArray[Any]]]) -> list[Outputs | RequestError]:
        """All at once; the answer or the error of each."""
        answers = [self.submit(inputs) for inputs in requests]
        for answer in answers:
            await answer.done.wait()
        return [answer.outputs if answer.error is None else answer.error for answer in answers]  # type: ignore[misc]


def prepared(
    folder: Path,
    service: str,
    code: str = "",
    say: Callable[[str], None] = lambda _: None,
    now_ns: Callable[[], int] = MonotonicClock.now_ns,
) -> Prepared:
    """What `service` (the text of a service.yaml) becomes in `folder`, with `code` as steps.py beside it."""
    (folder / "steps.py").write_text(code)
    (folder / "service.yaml").write_text(service)
    return prepare(load_configuration(folder / "service.yaml"), "1", now_ns, say)


def serve(
    ready: Prepared,
    work: Callable[[Served], Coroutine[Any, Any, None]],
    say: Callable[[str], None] = lambda _: None,
    num_cores: int = 1,
    now_ns: Callable[[], int] = MonotonicClock.now_ns,
) -> None:
    """Run `work` with the service live; everything is closed afterwards."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        runtime = Runtime(loop, Scheduler(num_cores), now_ns)
        live = install(ready, runtime.scheduler, loop, now_ns, say)
        runtime.add(live)
        executors = [executor for model in live.every_model for executor in model.idle]
        try:
            await work(Served(runtime, live, now_ns))
        finally:
            for executor in executors:
                executor.close()

    asyncio.run(main())


def text(word: str) -> dict[str, NDArray[Any]]:
    """The inputs of a service that takes one text."""
    return {"text": np.array([word.encode()], object)}
