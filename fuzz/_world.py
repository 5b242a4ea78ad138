"""One front for many inputs: a worker that one of them harms is found by the next."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.serve.http_support import Front
from trivet.spec.deployment import Limits

_ALIVE_EVERY = 32


class World:
    """Args: write: services into a folder; it returns their paths."""

    def __init__(self, write: Callable[[Path], list[Path]], limits: Limits) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.front = Front(write(Path(self._folder.name)), limits=limits)
        self._num_checks = 0

    def count(self) -> None:
        """One more input is through."""
        self._num_checks += 1
        if self._num_checks % _ALIVE_EVERY == 0:
            self.front.check_alive()
