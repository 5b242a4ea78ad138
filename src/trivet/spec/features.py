"""Features of entities (a user, an item, a place) that join a request by a key, before inference."""

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

from trivet.spec.fields import FieldError
from trivet.spec.units import Duration

Text = Annotated[str, msgspec.Meta(min_length=1)]
REDIS = "redis:"
_DEFAULT_TIMEOUT_NS = 20_000_000


class Features(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A stage that looks entities up in a table, and gives what stands there as tensors.

    table: a Parquet file, relative to the service file, held in memory and read again whenever it is replaced; or
        `redis:PREFIX`: the hashes at PREFIX followed by the key, one field for each column.
    key: the tensor whose elements name the entities: integers or text. With Redis an input of the service.
    columns: tensors to give, each of the column of its name; or a mapping from a tensor's name to its column, or to the
        list of columns that together make its last axis. n entities give [n], or [n, columns].
    default: for each tensor the value that stands in where there is none.
    on_missing: an entity that is not in the table, or lacks a value.
    max_age: older values are stale; by `updated`, else by the date of the file.  on_stale: what then.
    updated: the column that says when an entity's values were written: a time, or seconds since 1970.
    on_mismatch: the table cannot be used: it is not there, cut off, or without these columns; the store does not answer.
    url_env: the server's environment variable with the URL of the Redis. timeout: the longest wait for it.
    """

    table: Text
    key: Text
    columns: tuple[Text, ...] | Mapping[str, Text | tuple[Text, ...]]
    default: Mapping[str, float | str] = {}
    on_missing: Literal["refuse", "default"] = "refuse"
    max_age_ns: Duration | None = msgspec.field(default=None, name="max_age")
    on_stale: Literal["serve", "default", "refuse"] = "serve"
    updated: Text | None = None
    on_mismatch: Literal["refuse", "default"] = "refuse"
    url_env: Text = "TRIVET_REDIS_URL"
    timeout_ns: Duration = msgspec.field(default=_DEFAULT_TIMEOUT_NS, name="timeout")

    def __post_init__(self) -> None:
        if not self.table.endswith(".parquet") and not self.prefix:
            raise FieldError(("table",), f"expected a .parquet file or redis:PREFIX, got {self.table!r}")
        if not self.columns:
            raise FieldError(("columns",), "columns is empty; name what is to be looked up")
        for name, columns in self.tensors.items():
            if not columns:
                raise FieldError(("columns", name), f"tensor {name!r} is made of no columns")
        for name in self.default:
            if name not in self.tensors:
                raise FieldError(("default", name), f"no tensor {name!r} stands under columns")
        self._check_defaults()
        if self.prefix and self.max_age_ns is not None and self.updated is None:
            raise FieldError(("max_age",), "what is in Redis has no date; name the field with `updated:`")

    def _check_defaults(self) -> None:
        for rule in ("on_missing", "on_stale", "on_mismatch"):
            for name in self.tensors:
                if getattr(self, rule) == "default" and name not in self.default:
                    raise FieldError((rule,), f"there is no default for {name!r}; add it under `default:`")

    @property
    def prefix(self) -> str:
        """What the keys in Redis begin with; empty: the table is a file."""
        return self.table.removeprefix(REDIS) if self.table.startswith(REDIS) else ""

    @property
    def tensors(self) -> dict[str, tuple[str, ...]]:
        """The columns of each tensor."""
        if isinstance(self.columns, tuple):
            return {name: (name,) for name in self.columns}
        return {
            name: (columns,) if isinstance(columns, str) else columns
            for name, columns in self.columns.items()
        }

    def is_joined(self, name: str) -> bool:
        """Whether a tensor has an axis for its columns, be it of one."""
        return not isinstance(self.columns, tuple) and isinstance(self.columns[name], tuple)
