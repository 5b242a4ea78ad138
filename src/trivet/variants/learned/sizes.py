"""Which students are tried: small ones first, as many as the effort allows. Effort is counted, never timed, so that the
same options give the same student on every machine."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from trivet.variants.learned.grams import Grams, prime_below
from trivet.variants.learned.reading import Ids

_OPERATIONS_PER_MINUTE = 60e9  # about what one thread does of such small steps
_FEWEST_EPOCHS = 5
_LONG = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """grams: None without a sequence.  vector: of each n-gram.  hidden: widths of the layers between."""

    grams: Grams | None
    vector: int
    hidden: tuple[int, ...]
    epochs: int

    @property
    def told(self) -> str:
        layers = " and ".join(map(str, self.hidden)) + " hidden units" if self.hidden else "no hidden layer"
        if self.grams is None:
            return layers
        return f"{', '.join(map(str, self.grams.ngrams))}-grams as {self.vector} numbers, {layers}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the options fix; None or empty: it is tried out."""

    ngrams: tuple[int, ...]
    buckets: int | None
    vector: int | None
    hidden: int | None
    epochs: int
    minutes: float


def sizes(
    wanted: Wanted,
    ids: Ids | None,
    grams: Grams | None,
    *,
    features: int,
    outputs: int,
    grams_a_row: float,
    rows: int,
) -> tuple[list[Size], list[Size]]:
    """Those to be tried, in order, their epochs cut to the effort; and those that are left out.

    Args: features, outputs: numbers of each row.  grams_a_row: different pairs that a row has, on average.
    rows: to learn from.
    """
    tried: list[Size] = []
    left_out: list[Size] = []
    left = wanted.minutes * _OPERATIONS_PER_MINUTE
    for size in _candidates(wanted, ids, grams, features):
        an_epoch = rows * _operations(size, features, outputs, grams_a_row)
        epochs = min(size.epochs, int(left / an_epoch))
        if epochs < _FEWEST_EPOCHS and tried:
            left_out.append(size)
            continue
        tried.append(replace(size, epochs=max(_FEWEST_EPOCHS, epochs)))
        left -= tried[-1].epochs * an_epoch
    return tried, left_out


def _candidates(wanted: Wanted, ids: Ids | None, grams: Grams | None, features: int) -> Sequence[Size]:
    hiddens = [(), (64,), (128, 64)] if wanted.hidden is None else [(wanted.hidden,) if wanted.hidden else ()]
    if ids is None or grams is None:
        return [Size(grams=None, vector=0, hidden=hidden, epochs=wanted.epochs) for hidden in hiddens]
    buckets = grams.buckets if wanted.buckets is None else prime_below(wanted.buckets)
    shapes: list[tuple[int, tuple[int, ...]]] = [(32, ()), (32, (64,)), (128, (256,))]
    if (
        grams.width or 0
    ) > _LONG:  # they pay for each number of a vector thousands of times, and never for a layer
        shapes = [(32, (64,)), (64, (128,))]
    shapes = [(wanted.vector or vector, hidden) for vector, hidden in shapes]
    if wanted.hidden is not None:
        shapes = [(vector, hiddens[0]) for vector, _ in shapes]
    ngrams = wanted.ngrams or (1, 2)
    return [
        Size(
            grams=replace(grams, ngrams=ngrams, buckets=buckets),
            vector=vector,
            hidden=hidden,
            epochs=wanted.epochs,
        )
        for vector, hidden in dict.fromkeys(shapes)
    ]


def _operations(size: Size, features: int, outputs: int, grams_a_row: float) -> float:
    """Of one row in one epoch: three products forth and back, and what the optimiser does with each row of a table."""
    total, width = 0.0, float(features)
    if size.grams is not None:
        total += grams_a_row * len(size.grams.ngrams) * size.vector * 8
        width += size.grams.slots * size.vector
    for layer in (*size.hidden, outputs):
        total, width = total + 6 * width * layer, layer
    return total + 1_000
