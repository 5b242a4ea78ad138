"""The answers that were checked: what the policy learns from, in bounded memory."""

import numpy as np
from numpy.typing import NDArray

from trivet.pipeline.semantic.looking import NUM_FEATURES


class Checks:
    """The latest checks, rows of features and whether the answer was wrong.

    Answers of which the policy was sure are checked rarely once it gives them. They are kept apart, so that the many
    checks of others do not push out what is known of them.
    """

    def __init__(self, capacity: int = 3_000) -> None:
        self._parts = (_Ring(capacity), _Ring(capacity))

    def add(self, features: tuple[float, ...], is_wrong: bool, was_sure: bool) -> None:
        self._parts[was_sure].add(features, is_wrong)

    def __len__(self) -> int:
        return sum(part.size for part in self._parts)

    def rows(self) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Features, shape (n, NUM_FEATURES), and which were wrong, shape (n,)."""
        parts = [(part.features[: part.size], part.wrong[: part.size]) for part in self._parts]
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


class _Ring:
    def __init__(self, capacity: int) -> None:
        self.features = np.zeros((capacity, NUM_FEATURES))
        self.wrong = np.zeros(capacity, np.bool_)
        self.size = 0
        self._next = 0

    def add(self, features: tuple[float, ...], is_wrong: bool) -> None:
        self.features[self._next] = features
        self.wrong[self._next] = is_wrong
        self._next = (self._next + 1) % len(self.wrong)
        self.size = min(self.size + 1, len(self.wrong))
