"""What goes wrong with variants. One that cannot be built stays on record, and the others are built."""

from trivet.errors import UserError


class VariantError(UserError):
    """A model that has no such variant here: says why, and what to do where something can be done."""


class StoreError(UserError):
    """The folder of variants cannot be read or written: nothing that is built could be kept."""
