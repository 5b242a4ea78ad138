"""scipy where a distribution is needed, or an error that says how to get it. Imported when first used."""

from typing import TYPE_CHECKING

from trivet.errors import ExtraMissingError

if TYPE_CHECKING:
    from types import ModuleType


def special(feature: str) -> "ModuleType":
    """`scipy.special`. Raises: ExtraMissingError: scipy is not installed."""
    try:
        import scipy.special
    except ImportError:
        raise ExtraMissingError(feature, "bench") from None
    return scipy.special
