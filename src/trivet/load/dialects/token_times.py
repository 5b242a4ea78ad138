"""When tokens came: the events of a stream against the chunks in which its bytes were received."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from trivet.spec.row import ABSENT
from trivet.wire.openai import ChatAnswer

Chunks = Sequence[
    tuple[int, int]
]  # instant in ns, and how many bytes of the body were there by then; ascending
COMPLETION_TOKENS = "completion_tokens"


@dataclass(frozen=True, slots=True)
class TokenTimes:
    """Instants of the first and the last token, in ns of the load generator's clock; ABSENT where the answer was no stream.

    counted_by: `usage`: the server told the number of tokens; `events`: it did not, and each event counts as one, which
    is a floor: an event may carry several tokens.
    """

    first_ns: int
    last_ns: int
    num_tokens: int
    counted_by: Literal["usage", "events"]

    def time_to_first_token_ns(self, intended_ns: int) -> int:
        """From the intended send; ABSENT where there was no stream, or no token."""
        return self.first_ns - intended_ns if self.first_ns != ABSENT else ABSENT

    @property
    def time_per_output_token_ns(self) -> float | None:
        """(last - first) / (tokens - 1), the mean gap after the first; None below two tokens or without a stream."""
        if self.first_ns == ABSENT or self.num_tokens < 2:
            return None
        return (self.last_ns - self.first_ns) / (self.num_tokens - 1)


def token_times(chunks: Chunks, answer: ChatAnswer) -> TokenTimes:
    """An event counts from the chunk that completes it: it may be split over several, or share one with others.

    Args: chunks: of this answer's body.
    """
    told = answer.usage.get(COMPLETION_TOKENS)
    num = len(answer.ends) if told is None else told
    first_ns = last_ns = ABSENT
    if answer.ends:
        first_ns, last_ns = _instant(chunks, answer.ends[0]), _instant(chunks, answer.ends[-1])
    return TokenTimes(first_ns, last_ns, num, "events" if told is None else "usage")


def _instant(chunks: Chunks, num_bytes: int) -> int:
    """When so many bytes were there; ABSENT where the chunks do not tell."""
    at = bisect_left(chunks, num_bytes, key=lambda chunk: chunk[1])
    return chunks[at][0] if at < len(chunks) else ABSENT
