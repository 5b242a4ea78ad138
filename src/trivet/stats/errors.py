"""What the functions of this package refuse to answer."""

from trivet.errors import TrivetError


class EmptySampleError(TrivetError):
    """No observations: there is no such statistic."""


class TooFewError(TrivetError):
    """Too few observations for what was asked; the message says how many are needed."""
