"""What goes wrong while a variant is built: it stays on record, and the others are built."""

from trivet.errors import UserError


class VariantError(UserError):
    """A model that has no such variant here: says why, and what to do where something can be done."""
