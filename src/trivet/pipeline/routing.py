"""Routing before inference: how hard a request is, learned from texts alone, where no model can be asked how sure it is.

Decisions only. A text's n-grams are hashed into a table of weights; two logistic regressions on it say how probably the
first and the last model of a service are right. A request is easy in so far as the first is expected to be no worse. What of
that is enough is certified like the threshold of an exit (spec/certified.py); the weights are learned by
experiment/certifying/router_fitting.py.
"""

import math
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trivet.errors import SpecError

TABLE_BITS = 16
_WORD = re.compile(r"[a-z]+|[0-9]|[^\sa-z0-9]")
_LONG = 5  # letters of a word whose beginning and end count, too
_MAX_CHARACTERS = 20_000  # of one text: a request is decided in well under a millisecond

_LONGEST = 200  # characters of what is said of a file that is no router: they may be its own

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Router:
    """scale: of each place of the table, by how rare it is, shape (places,).  weights, bias: of each of the two models, the
    first and the last, shapes (2, places) and (2,)."""

    scale: Floats
    weights: Floats
    bias: Floats

    def ease(self, text: str) -> float:
        """0 to 2: 1 where both models are equally likely right, less where the last one is likelier."""
        places, values = features(text)
        scaled = values * self.scale[places]
        norm = math.sqrt(float(scaled @ scaled)) or 1.0
        first, last = (self.weights[:, places] @ (scaled / norm) + self.bias).tolist()
        return 1.0 + _share(first) - _share(last)


def features(text: str) -> tuple[NDArray[np.int64], Floats]:
    """Places in the table and how much each counts: words, pairs of them, and beginnings and ends of longer ones."""
    counts: dict[int, int] = {}
    mask = (1 << TABLE_BITS) - 1
    for gram in _grams(text):
        place = zlib.crc32(gram.encode()) & mask
        counts[place] = counts.get(place, 0) + 1
    places = np.fromiter(counts, np.int64, len(counts))
    return places, (1 + np.log(np.fromiter(counts.values(), np.float32, len(counts)))).astype(np.float32)


def _grams(text: str) -> Iterator[str]:
    words = _WORD.findall(text[:_MAX_CHARACTERS].lower())
    yield from words
    for one, other in pairwise(words):
        yield f"{one} {other}"
    for word in words:
        if len(word) > _LONG:
            yield f"{word[:_LONG]}*"
            yield f"*{word[1 - _LONG :]}"


def _share(logit: float) -> float:
    return 1 / (1 + math.exp(-logit)) if logit > -700 else 0.0


class Routing:
    """Of one live service: which requests its first model answers.

    Args: name: of the input with the text.  place: of the first model in the pipeline.  at_least: the ease from which it
    answers.
    """

    def __init__(self, router: Router, name: str, place: int, at_least: float) -> None:
        self.place = place
        self.at_least = at_least
        self.input = name
        self._router = router

    def ease(self, tensors: Mapping[str, NDArray[Any]]) -> float:
        """Of the hardest text of a request. Args: tensors: the request's, by name."""
        texts = tensors[self.input].reshape(-1).tolist()
        return min(
            (
                self._router.ease(one.decode(errors="replace") if isinstance(one, bytes) else str(one))
                for one in texts
            ),
            default=math.inf,
        )

    def is_easy(self, tensors: Mapping[str, NDArray[Any]]) -> bool:
        """Whether all texts of a request are easy enough. Args: as `ease`."""
        return self.ease(tensors) >= self.at_least


def _arrays(router: Router) -> tuple[Floats, Floats, Floats]:
    return router.scale, router.weights, router.bias


def write_router(path: Path, router: Router) -> None:
    with path.open("wb") as file:
        np.savez_compressed(file, scale=router.scale, weights=router.weights, bias=router.bias)


def read_router(path: Path) -> Router:
    """Raises: SpecError: no such file, or it is no router."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            # A member that is no array comes as the bytes that it has.
            router = Router(*(np.asarray(kept[name]) for name in ("scale", "weights", "bias")))
    except (
        Exception
    ) as error:  # numpy, zipfile and zlib raise whatever they like: each of it says that this is no router
        raise SpecError(
            f"not a router ({str(error)[:_LONGEST]}); run `trivet certify` again", str(path)
        ) from None
    places = 1 << TABLE_BITS
    if (router.scale.shape, router.weights.shape, router.bias.shape) != ((places,), (2, places), (2,)):
        raise SpecError("a router of another form; run `trivet certify` again", str(path))
    if any(array.dtype != np.float32 or not np.isfinite(array).all() for array in _arrays(router)):
        raise SpecError("a router of other numbers; run `trivet certify` again", str(path))
    return router
