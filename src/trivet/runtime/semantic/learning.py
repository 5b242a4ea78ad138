"""What the policy learns is computed in a thread that gives way to everything else, one piece at a time."""

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor

from trivet.pipeline.semantic.policy import Fitted, Policy

_NICENESS = 19


class Learning:
    def __init__(self, policy: Policy, loop: asyncio.AbstractEventLoop) -> None:
        self._policy = policy
        self._loop = loop
        self._pool = ThreadPoolExecutor(1, "semantic-learning", initializer=_give_way)
        self._is_running = False

    def step(self) -> None:
        """Begin what is due, where nothing is under way."""
        if self._is_running:
            return
        fitting = self._policy.due()
        if fitting is not None:
            self._is_running = True
            self._loop.run_in_executor(self._pool, fitting.run).add_done_callback(self._done)

    def _done(self, future: "asyncio.Future[Fitted]") -> None:
        self._is_running = False
        if not future.cancelled():
            self._policy.adopt(future.result())

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def _give_way() -> None:
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
