"""Answers that were computed before anybody asked: where they are, and when they may not be given."""

from typing import Annotated, Literal

import msgspec

from trivet.spec.fields import FieldError
from trivet.spec.units import Duration


class Precomputed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Requests are looked up in an answer table first, as `trivet precompute` writes it.

    table: a Parquet file, relative to the service file; read again whenever it is replaced.
    max_age: an older table is stale; None: none ever is.
    on_mismatch: a table that is not there, cannot be read, or belongs to another configuration: refuse to start, or
        bypass it. One that turns up while the server runs is never taken: the table before it stays.
    on_stale: serve its answers nevertheless, bypass it, or refuse the requests that it has answers for.
    """

    table: Annotated[str, msgspec.Meta(min_length=1)]
    max_age_ns: Duration | None = msgspec.field(default=None, name="max_age")
    on_mismatch: Literal["refuse", "bypass"] = "bypass"
    on_stale: Literal["serve", "bypass", "refuse"] = "bypass"

    def __post_init__(self) -> None:
        if not self.table.endswith(".parquet"):
            raise FieldError(("table",), f"an answer table is a .parquet file, got {self.table!r}")
        if self.max_age_ns == 0:
            raise FieldError(("max_age",), "a table is older than 0 s as soon as it is written")
