"""The one schema of a request's row, written by load generator, live server and simulator alike.

Every figure, table and plot is computed from such rows and can be computed again. Rules:

- A field is added with a default and never changes its meaning; then SCHEMA_VERSION grows by one.
- Readers take the columns that they know and ignore the rest: old readers, new writers.
- Instants are nanoseconds of the writer's own clock (header: which one); only differences within one file
  mean anything. The date of a run stands in the header, at the edge.
- What a writer cannot know is ABSENT, never 0. tests/spec/row_contract.py tests what every writer promises.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Self

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from trivet.errors import ExtraMissingError, SpecError

SCHEMA_VERSION = 4
ABSENT = -1  # an instant, duration or index that the writer did not observe

# Where a request's time goes inside the server; also the names in the `Server-Timing` header.
PHASES = ("parse", "queue", "batch_wait", "compute", "encode")

OUTCOMES: Mapping[str, str] = MappingProxyType(
    {
        "ok": "answered with a result, within the deadline where there is one",
        "late": "answered with a result after the deadline",
        "refused": "refused before any work: a limit, an unmeetable deadline, not ready or draining",
        "dropped": "admitted, then given up before execution because the deadline could no longer be met",
        "invalid": "the request was the client's mistake",
        "failed": "answered with an error that is the server's or the model's",
        "cancelled": "the client left before the answer",
        "worker_lost": "the worker that held the request died",
        "disconnected": "the connection could not be opened, broke, or carried something that is not HTTP",
        "unanswered": "sent, and no whole answer within the load generator's timeout",
        "unsent": "never sent: no connection became free within the load generator's timeout",
    }
)
# Why a writer that samples kept a row. To count requests, a row kept for its "share" stands for 1/header.share of
# them and any other for itself; rows kept for a "trace" stand for none, as callers choose them.
KEPT = ("", "share", "slow", "failed", "trace")  # "": the writer keeps every row
CACHE_OUTCOMES = ("", "miss", "exact", "semantic", "precomputed")  # "": no cache was asked


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One request. Instants and durations in ns of the writer's clock.

    A server knows no intent: there `intended_ns` and `sent_ns` are the first byte read.
    """

    intended_ns: int = ABSENT  # latency counts from here
    sent_ns: int = ABSENT
    first_byte_ns: int = ABSENT  # of the answer
    done_ns: int = ABSENT  # last byte of the answer, or the moment when the outcome was known
    deadline_ns: int = ABSENT  # an instant
    status: int = 0  # HTTP's; 0: no answer
    outcome: str = "ok"  # one of OUTCOMES
    reason: str = ""  # short word for a refusal, drop or error
    parse_ns: int = ABSENT
    queue_ns: int = ABSENT
    batch_wait_ns: int = ABSENT
    compute_ns: int = ABSENT
    encode_ns: int = ABSENT
    batch_size: int = ABSENT  # rows of the batch that it ran in; 0: it did not run
    service: str = ""
    configuration: str = ""  # content hash
    variant: str = ""
    cache: str = ""  # one of CACHE_OUTCOMES
    key: str = ""  # the request's id
    item: int = ABSENT  # index of the input in the workload's data
    priority: int = 0  # 1 is highest, 0 the service's default
    tenant: str = ""
    answer: bytes = b""  # body or digest, where the run keeps it
    kept: str = ""  # one of KEPT; since version 2
    # The model that answered, where there are early exits; several where rows of one request parted: `front+rest`.
    exit: str = ""  # since version 3
    # What answered instead of the full pipeline when that could not: "degraded:MODEL" under load, "fallback:NAME" after
    # a failure; "": the pipeline as declared. Since version 4, like the three below.
    instead: str = ""
    upstream: str = ""  # the remote server that answered
    attempts: int = (
        ABSENT  # tries of remote stages and retried ones, hedges included; ABSENT: nothing was tried twice
    )
    cost_nano: int = ABSENT  # 1e-9 of the service's currency; ABSENT: no price is declared


class RowsHeader(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for all rows of a file. `date` (ISO 8601, UTC) is the wall clock at instant `origin_ns`.

    `share`: of the requests that were neither slow nor failed, the part that has a row (see KEPT); since version 2.
    """

    writer: str
    clock: str = "monotonic"  # or "virtual"
    date: str = ""
    origin_ns: int = 0
    share: float = 1.0
    schema_version: int = SCHEMA_VERSION


_FIELDS = {field.name: field for field in msgspec.structs.fields(Row)}
_NUMBERS = tuple(name for name, field in _FIELDS.items() if field.type is int)
_WORDS = tuple(name for name, field in _FIELDS.items() if field.type is str)
_BLOBS = tuple(name for name, field in _FIELDS.items() if field.type is bytes)


@dataclass(frozen=True, slots=True)
class Words:
    """A column of words: `words[codes[i]]` is row i. Few words, many rows."""

    codes: NDArray[np.int32]
    words: tuple[str, ...]

    @classmethod
    def of(cls, values: "str | Sequence[str] | Words", num_rows: int) -> "Words":
        """Encode one word for each row, or one word for all."""
        if isinstance(values, Words):
            return values
        if isinstance(values, str):
            return cls(np.zeros(num_rows, np.int32), (values,))
        code_of: dict[str, int] = {}
        codes = [code_of.setdefault(value, len(code_of)) for value in values]
        return cls(np.array(codes, np.int32), tuple(code_of))

    def decode(self) -> NDArray[np.object_]:
        return np.array(self.words, np.object_)[self.codes] if len(self.codes) else np.array([], np.object_)

    def equal(self, *wanted: str) -> NDArray[np.bool_]:
        """Which rows hold one of the wanted words."""
        return np.isin(self.codes, [code for code, word in enumerate(self.words) if word in wanted])


class _Packed(msgspec.Struct):
    header: RowsHeader
    num_rows: int
    numbers: dict[str, bytes]
    words: dict[str, tuple[bytes, list[str]]]
    blobs: dict[str, list[bytes]]


@dataclass(frozen=True, slots=True)
class RowColumns:
    """Rows by column, all of one length; every field of `Row` has a column. Made by `of` or `of_rows`."""

    header: RowsHeader
    num_rows: int
    numbers: Mapping[str, NDArray[np.int64]]
    words: Mapping[str, Words]
    blobs: Mapping[str, Sequence[bytes]]

    @classmethod
    def of(cls, header: RowsHeader, num_rows: int, **columns: Any) -> Self:
        """Columns as given, the rest at their defaults. A number or word stands for the whole column.

        Raises: SpecError: a column that the schema does not have, or one of another length.
        """
        if unknown := sorted(columns.keys() - _FIELDS.keys()):
            raise SpecError(f"unknown row columns {unknown}; known: {', '.join(_FIELDS)}")
        for name, field in _FIELDS.items():
            columns.setdefault(name, [field.default] * num_rows if field.type is bytes else field.default)
        numbers = {name: _number_column(columns[name], num_rows) for name in _NUMBERS}
        words = {name: Words.of(columns[name], num_rows) for name in _WORDS}
        blobs = {name: list(columns[name]) for name in _BLOBS}
        lengths = {name: len(values) for name, values in numbers.items()}
        lengths |= {name: len(values) for name, values in blobs.items()}
        lengths |= {name: len(column.codes) for name, column in words.items()}
        for name, length in lengths.items():
            if length != num_rows:
                raise SpecError(f"row column {name!r} has {length} values for {num_rows} rows")
        return cls(header, num_rows, numbers, words, blobs)

    @classmethod
    def of_rows(cls, header: RowsHeader, rows: Sequence[Row]) -> Self:
        columns = {name: [getattr(row, name) for row in rows] for name in _FIELDS}
        return cls.of(header, len(rows), **columns)

    def __getitem__(self, name: str) -> NDArray[np.int64]:
        """A column of numbers, not to be changed."""
        return self.numbers[name]

    def rows(self) -> Iterator[Row]:
        columns: list[Sequence[Any]] = [self.numbers[name].tolist() for name in _NUMBERS]
        columns += [self.words[name].decode().tolist() for name in _WORDS]
        columns += [self.blobs[name] for name in _BLOBS]
        names = (*_NUMBERS, *_WORDS, *_BLOBS)
        for values in zip(*columns, strict=True):
            yield Row(**dict(zip(names, values, strict=True)))

    def select(self, mask: NDArray[np.bool_]) -> Self:
        """The rows where `mask`, shape (num_rows,), holds."""
        kept = np.flatnonzero(mask)
        return type(self)(
            self.header,
            len(kept),
            {name: values[kept] for name, values in self.numbers.items()},
            {name: Words(column.codes[kept], column.words) for name, column in self.words.items()},
            {name: [values[i] for i in kept.tolist()] for name, values in self.blobs.items()},
        )

    def latency_ns(self) -> NDArray[np.int64]:
        """Completion minus intended send, shape (num_rows,)."""
        return self.numbers["done_ns"] - self.numbers["intended_ns"]

    def encode(self) -> bytes:
        """One msgpack message: columns as little-endian bytes."""
        packed = _Packed(
            self.header,
            self.num_rows,
            {name: values.astype("<i8").tobytes() for name, values in self.numbers.items()},
            {name: (c.codes.astype("<i4").tobytes(), list(c.words)) for name, c in self.words.items()},
            {name: list(values) for name, values in self.blobs.items()},
        )
        return msgspec.msgpack.encode(packed)

    @classmethod
    def decode(cls, message: bytes) -> Self:
        """The inverse of `encode`; columns of a newer writer are ignored, missing ones take their defaults.

        Raises: msgspec.DecodeError: not such a message.
        """
        packed = msgspec.msgpack.decode(message, type=_Packed)
        columns: dict[str, Any] = {name: np.frombuffer(data, "<i8") for name, data in packed.numbers.items()}
        for name, (codes, words) in packed.words.items():
            columns[name] = Words(np.frombuffer(codes, "<i4"), tuple(words))
        columns |= packed.blobs
        known = {name: column for name, column in columns.items() if name in _FIELDS}
        return cls.of(packed.header, packed.num_rows, **known)

    def to_arrow(self) -> Any:
        """A pyarrow.Table with the header in its metadata, ready for Parquet.

        Raises: ExtraMissingError: pyarrow is not installed.
        """
        arrow = _import_arrow()
        columns: dict[str, Any] = {name: arrow.array(values) for name, values in self.numbers.items()}
        for name, column in self.words.items():
            columns[name] = arrow.DictionaryArray.from_arrays(
                column.codes, arrow.array(column.words, arrow.string())
            )
        columns |= {name: arrow.array(values, arrow.binary()) for name, values in self.blobs.items()}
        table = arrow.table({name: columns[name] for name in _FIELDS})
        return table.replace_schema_metadata({"trivet.rows": msgspec.json.encode(self.header)})

    @classmethod
    def from_arrow(cls, table: Any) -> Self:
        """The inverse of `to_arrow`, also after a way through Parquet.

        Raises: SpecError: the table carries no header of ours.  ExtraMissingError: pyarrow is not installed.
        """
        arrow = _import_arrow()
        header = (table.schema.metadata or {}).get(b"trivet.rows")
        if header is None:
            raise SpecError("not a table of rows: its metadata has no 'trivet.rows' header")
        columns: dict[str, Any] = {}
        for name in _FIELDS.keys() & set(table.column_names):
            column = table.column(name).combine_chunks()
            if name in _WORDS:
                column = column if arrow.types.is_dictionary(column.type) else column.dictionary_encode()
                words = tuple(column.dictionary.to_pylist())
                columns[name] = Words(column.indices.to_numpy().astype(np.int32), words)
            else:
                columns[name] = column.to_numpy() if name in _NUMBERS else column.to_pylist()
        return cls.of(msgspec.json.decode(header, type=RowsHeader), table.num_rows, **columns)


def concatenate(parts: Sequence[RowColumns]) -> RowColumns:
    """Rows of several blocks by one writer under the first one's header, in the given order.

    Raises: SpecError: no parts.
    """
    if not parts:
        raise SpecError("no rows to concatenate: give at least one part")
    return RowColumns.of(
        parts[0].header,
        sum(part.num_rows for part in parts),
        **{name: np.concatenate([part.numbers[name] for part in parts]) for name in _NUMBERS},
        **{name: _joined([part.words[name] for part in parts]) for name in _WORDS},
        **{name: [blob for part in parts for blob in part.blobs[name]] for name in _BLOBS},
    )


def _joined(columns: Sequence[Words]) -> Words:
    """One column after the other: only the few words are looked at, never each row's."""
    code_of: dict[str, int] = {}
    codes = [np.empty(0, np.int32)]
    for column in columns:
        own = np.array([code_of.setdefault(word, len(code_of)) for word in column.words], np.int32)
        codes.append(own[column.codes])
    return Words(np.concatenate(codes), tuple(code_of))


def _number_column(values: ArrayLike, num_rows: int) -> NDArray[np.int64]:
    column = np.asarray(values, np.int64)
    return np.full(num_rows, column) if column.ndim == 0 else column


def _import_arrow() -> Any:
    try:
        import pyarrow
    except ImportError:
        raise ExtraMissingError("rows as Arrow or Parquet", "rows") from None
    return pyarrow
