"""Upstreams that behave as told, in a thread of their own: for a server in another process."""

import asyncio
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from tests.support.upstreams import Behaviour, Upstream


class UpstreamThread:
    """Use it as a context manager. Addresses are known, and taken, before it is entered.

    Args: behaviours: of each upstream, by a name of the test's.
    """

    def __init__(self, behaviours: Mapping[str, Behaviour]) -> None:
        self.upstreams = {name: Upstream(usual) for name, usual in behaviours.items()}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __getitem__(self, name: str) -> Upstream:
        return self.upstreams[name]

    def __enter__(self) -> Self:
        self._thread.start()
        for one in self.upstreams.values():
            asyncio.run_coroutine_threadsafe(one.__aenter__(), self._loop).result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for one in self.upstreams.values():
            asyncio.run_coroutine_threadsafe(one.__aexit__(None, None, None), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
