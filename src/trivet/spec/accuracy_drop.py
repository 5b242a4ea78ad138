"""`slo: {accuracy_drop: 2 points}`: how much worse answers may get than those of the service as it is declared.

A difference on the same rows is known far better than either accuracy: with a floor of its own each would have to be.
"""

import re

from trivet.errors import SpecError

_POINTS = re.compile(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+) ?points?")
_SHOWN = 40


def parse_drop(value: object) -> float:
    """In the metric's unit: `2 points` are 0.02, a number is itself.

    Raises: SpecError: neither, or below 0.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        drop = float(value)
    else:
        match = _POINTS.fullmatch(value) if isinstance(value, str) and len(value) <= _SHOWN else None
        if match is None:
            raise SpecError(
                f"expected a difference such as `2 points` or 0.02, got {repr(value)[:_SHOWN]}; a point is a hundredth"
            )
        drop = float(match[1]) / 100
    if not 0 <= drop < float("inf"):
        raise SpecError(f"answers may get worse by 0 or more, got {drop:g}")
    return drop


def drop_in_words(drop: float) -> str:
    """`2 points`."""
    return f"{100 * drop:g} point{'s' * (drop != 0.01)}"
