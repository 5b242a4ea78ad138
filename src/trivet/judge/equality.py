"""Are two answers the same? Asked when batched answers are compared with single ones, and by replay.

Floats are equal within a tolerance, because a batch adds up in another order; everything else must be
identical.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

RTOL = 1e-3
ATOL = 1e-5


@dataclass(frozen=True, slots=True)
class OutputEquality:
    """How far one output is from its reference.

    `absolute` and `relative` are the largest differences over all elements: 0 where both are equal, inf where
    only one is finite, or where they are not numbers. `reason` says why they are not the same.
    """

    name: str
    same: bool
    absolute: float
    relative: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class AnswerEquality:
    """All outputs of one answer against its reference."""

    outputs: tuple[OutputEquality, ...]

    @property
    def same(self) -> bool:
        return all(output.same for output in self.outputs)

    @property
    def absolute(self) -> float:
        return max((output.absolute for output in self.outputs), default=0.0)

    @property
    def relative(self) -> float:
        return max((output.relative for output in self.outputs), default=0.0)

    def __str__(self) -> str:
        reasons = "; ".join(f"{output.name}: {output.reason}" for output in self.outputs if not output.same)
        return reasons or f"same (largest difference {self.absolute:.3g}, relative {self.relative:.3g})"


def compare_answers(
    answer: Mapping[str, NDArray[Any]],
    reference: Mapping[str, NDArray[Any]],
    *,
    bf16: Collection[str] = (),
    rtol: float = RTOL,
    atol: float = ATOL,
) -> AnswerEquality:
    """Every output of either side, by name; one that a side lacks is not the same.

    `bf16` names the outputs whose uint16 elements are the raw bits of bfloat16: they are compared as floats.
    """
    names = [*reference, *(name for name in answer if name not in reference)]
    compared = []
    for name in names:
        if name in answer and name in reference:
            pair = [side[name] for side in (answer, reference)]
            first, second = [_widen(side) for side in pair] if name in bf16 else pair
            compared.append(compare_outputs(name, first, second, rtol=rtol, atol=atol))
        else:
            side = "answer" if name not in answer else "reference"
            compared.append(_different(name, f"missing in the {side}"))
    return AnswerEquality(tuple(compared))


def compare_outputs(
    name: str, answer: NDArray[Any], reference: NDArray[Any], *, rtol: float = RTOL, atol: float = ATOL
) -> OutputEquality:
    """Same shape and type, |answer - reference| <= atol + rtol * |reference| for floats, equality otherwise.

    NaN equals NaN, and an infinity equals itself. The relative difference is over |reference|; it is inf
    where that is 0 and the answer is not.
    """
    if answer.shape != reference.shape:
        return _different(name, f"shape {list(answer.shape)} against {list(reference.shape)}")
    if answer.dtype != reference.dtype:
        return _different(name, f"type {answer.dtype} against {reference.dtype}")
    if np.issubdtype(reference.dtype, np.floating):
        return _compare_floats(name, answer, reference, rtol, atol)
    differs = answer != reference
    if not differs.any():
        return OutputEquality(name, same=True, absolute=0.0, relative=0.0)
    where = tuple(int(i) for i in np.argwhere(differs)[0])
    reason = f"{int(differs.sum())} of {differs.size} elements differ, first at {list(where)}: " + (
        f"{answer[where]!r} against {reference[where]!r}"
    )
    if not np.issubdtype(reference.dtype, np.integer):
        return _different(name, reason)
    # As Python integers where they differ: the difference of two uint64 or int64 may not fit either.
    gaps = [
        (abs(int(a) - int(b)), abs(int(b))) for a, b in zip(answer[differs], reference[differs], strict=True)
    ]
    absolute = max(gap for gap, _ in gaps)
    relative = max(gap / size if size else np.inf for gap, size in gaps)
    return OutputEquality(name, same=False, absolute=float(absolute), relative=float(relative), reason=reason)


def _compare_floats(
    name: str, answer: NDArray[Any], reference: NDArray[Any], rtol: float, atol: float
) -> OutputEquality:
    a, b = answer.astype(np.float64), reference.astype(np.float64)
    size = np.abs(b)
    identical = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        absolute = np.where(identical, 0.0, np.abs(a - b))
        absolute[~identical & ~(np.isfinite(a) & np.isfinite(b))] = np.inf
        relative = np.where(identical, 0.0, absolute / size)
        differs = ~identical & ~(absolute <= np.where(np.isfinite(size), atol + rtol * size, -1.0))
    relative[np.isnan(relative)] = np.inf  # inf / inf: one side is infinite and the other is not
    reason = ""
    if differs.any():
        where = tuple(int(i) for i in np.argwhere(differs)[0])
        reason = (
            f"{int(differs.sum())} of {differs.size} elements differ by more than "
            f"{atol:g} + {rtol:g} * |reference|, first at {list(where)}: {a[where]:.7g} against {b[where]:.7g}"
        )
    return OutputEquality(
        name,
        same=not reason,
        absolute=float(absolute.max(initial=0.0)),
        relative=float(relative.max(initial=0.0)),
        reason=reason,
    )


def _widen(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """bfloat16 is the upper half of a float32."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def _different(name: str, reason: str) -> OutputEquality:
    return OutputEquality(name, same=False, absolute=float("inf"), relative=float("inf"), reason=reason)
