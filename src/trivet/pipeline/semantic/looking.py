"""What the entries nearest to a request say about its answer, as the numbers that a decision is made of."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trivet.pipeline.semantic.wording import Wording, are_opposite

NUM_NEIGHBOURS = 16
NUM_FEATURES = 13
# Added to distances (1 - cosine): under it they say nothing, whatever the encoder.
_SMALLEST_DISTANCE = 0.01

Answer = int  # what an answer means; equal where two answers mean the same
Record = tuple[float, float]  # how often an answer, when proposed, was right and wrong


@dataclass(slots=True, eq=False)
class Entry:
    """A request whose answer is known: it came from the pipeline. `value`: whatever the holder needs to give it again."""

    key: int
    wording: Wording
    answer: Answer
    since_ns: int
    value: Any = None


@dataclass(frozen=True, slots=True)
class Look:
    """An answer that may be given. features: shape (NUM_FEATURES,); none speaks of the scale of similarities alone."""

    entry: Entry
    features: tuple[float, ...]
    nearest: Entry  # of all

    @property
    def answer(self) -> Answer:
        return self.entry.answer


def look(
    query: Wording, found: Sequence[tuple[float, Entry]], records: Mapping[Answer, Record]
) -> Look | None:
    """The answer that the nearest entries agree on most; None: nobody is near, or who says it says the opposite.

    Args: found: at most NUM_NEIGHBOURS entries with their cosine similarities, the most similar first.
    """
    if not found:
        return None
    votes: dict[Answer, float] = {}
    nearest = 1 - found[0][0] + _SMALLEST_DISTANCE
    total = 0.0
    for similarity, entry in found:
        # By the ratio of distances: the same for encoders that spread texts wide and for those that do not.
        weight = nearest / (1 - similarity + _SMALLEST_DISTANCE)
        weight *= weight
        total += weight
        votes[entry.answer] = votes.get(entry.answer, 0.0) + weight
    answer = max(votes, key=votes.__getitem__)
    alike = [pair for pair in found if pair[1].answer == answer]
    given = next((pair for pair in alike if not are_opposite(query, pair[1].wording)), None)
    if given is None:
        return None
    rival = next((similarity for similarity, entry in found if entry.answer != answer), None)
    if rival is None:
        rival = found[-1][0] if len(found) == NUM_NEIGHBOURS else 0.0
    share = votes[answer] / total
    similarity, entry = given
    right, wrong = records.get(answer, (0.0, 0.0))
    return Look(
        entry,
        (
            1.0,
            similarity,
            -math.log(1 - similarity + _SMALLEST_DISTANCE),
            alike[0][0] - rival,
            math.log((share + 0.01) / (1.01 - share)),
            math.log1p(len(alike)),
            len(alike) / len(found),
            math.log((right + 1) / (wrong + 1)),
            *_differences(query, entry.wording),
        ),
        found[0][1],
    )


def _differences(one: Wording, other: Wording) -> tuple[float, float, float, float, float]:
    words = len(one.words | other.words)
    return (
        float(one.numbers != other.numbers),
        float(one.names != other.names),
        len(one.words & other.words) / words if words else 1.0,
        abs(math.log((len(one.words) + 1) / (len(other.words) + 1))),
        float(one.text == other.text),
    )
