from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.spec.row_contract import RowWriterContract
from trivet.errors import SpecError
from trivet.spec.row import (
    ABSENT,
    OUTCOMES,
    PHASES,
    SCHEMA_VERSION,
    Row,
    RowColumns,
    RowsHeader,
    Words,
    concatenate,
)

HEADER = RowsHeader(writer="test", date="2026-11-01T12:00:00Z", origin_ns=5)
ANSWERED = Row(
    intended_ns=10,
    sent_ns=11,
    first_byte_ns=40,
    done_ns=41,
    deadline_ns=50,
    status=200,
    parse_ns=1,
    queue_ns=2,
    batch_wait_ns=0,
    compute_ns=20,
    encode_ns=3,
    batch_size=4,
    service="tiny",
    configuration="ab" * 32,
    answer=b"\x00\xff",
)
REFUSED = Row(
    intended_ns=12, sent_ns=12, first_byte_ns=14, done_ns=14, status=429, outcome="refused", reason="deadline"
)
UNSENT = Row(intended_ns=13, done_ns=99, outcome="unsent", item=7)
ROWS = [ANSWERED, REFUSED, UNSENT]

rows_of_any_content = st.lists(
    st.builds(
        Row,
        **{
            name: st.integers(-1, 2**62)
            for name in ("intended_ns", "sent_ns", "done_ns", "item", "compute_ns")
        },
        outcome=st.sampled_from(sorted(OUTCOMES)),
        key=st.text(max_size=8),
        tenant=st.sampled_from(["", "a", "b"]),
        answer=st.binary(max_size=8),
    ),
    max_size=12,
)


class TestARowOfEachKind(RowWriterContract):
    @pytest.fixture
    def rows(self) -> RowColumns:
        return RowColumns.of_rows(HEADER, ROWS)


@given(rows=rows_of_any_content)
@settings(max_examples=50)
def test_columns_hold_what_the_rows_held(rows: list[Row]) -> None:
    assert list(RowColumns.of_rows(HEADER, rows).rows()) == rows


@given(rows=rows_of_any_content)
@settings(max_examples=50)
def test_a_message_gives_back_the_same_rows(rows: list[Row]) -> None:
    back = RowColumns.decode(RowColumns.of_rows(HEADER, rows).encode())
    assert list(back.rows()) == rows
    assert back.header == HEADER


@given(rows=rows_of_any_content)
@settings(max_examples=20)
def test_an_arrow_table_gives_back_the_same_rows(rows: list[Row]) -> None:
    back = RowColumns.from_arrow(RowColumns.of_rows(HEADER, rows).to_arrow())
    assert list(back.rows()) == rows
    assert back.header == HEADER


def test_rows_survive_a_parquet_file(tmp_path: Path) -> None:
    pq.write_table(RowColumns.of_rows(HEADER, ROWS).to_arrow(), tmp_path / "rows.parquet")
    back = RowColumns.from_arrow(pq.read_table(tmp_path / "rows.parquet"))
    assert list(back.rows()) == ROWS
    assert back.header == HEADER


def test_a_parquet_column_of_plain_strings_is_read_as_words() -> None:
    table = RowColumns.of_rows(HEADER, ROWS).to_arrow()
    index = table.column_names.index("outcome")
    plain = table.set_column(index, "outcome", table.column("outcome").cast(pa.string()))
    assert list(RowColumns.from_arrow(plain).rows()) == ROWS


def test_a_foreign_table_is_refused() -> None:
    with pytest.raises(SpecError, match=r"no 'trivet\.rows' header"):
        RowColumns.from_arrow(pa.table({"done_ns": [1]}))


def test_columns_not_given_take_the_defaults() -> None:
    rows = RowColumns.of(HEADER, 2, intended_ns=[1, 2], done_ns=9, outcome="failed")
    expected = [Row(intended_ns=instant, done_ns=9, outcome="failed") for instant in (1, 2)]
    assert list(rows.rows()) == expected


def test_an_unknown_column_is_refused_by_name() -> None:
    with pytest.raises(SpecError, match="'finished_ns'"):
        RowColumns.of(HEADER, 1, finished_ns=[1])


@pytest.mark.parametrize("column", [{"done_ns": [1, 2]}, {"answer": [b""]}, {"outcome": ["ok"] * 4}])
def test_a_column_of_another_length_is_refused(column: dict[str, list[object]]) -> None:
    with pytest.raises(SpecError, match=f"{next(iter(column))}.* for 3 rows"):
        RowColumns.of(HEADER, 3, **column)


def test_a_reader_ignores_what_a_newer_writer_added_and_fills_what_an_older_one_lacked() -> None:
    message = msgspec.msgpack.decode(RowColumns.of_rows(HEADER, ROWS).encode())
    message["numbers"]["energy_nj"] = message["numbers"].pop("encode_ns")
    message["header"] |= {"schema_version": SCHEMA_VERSION + 1, "region": "north"}
    back = RowColumns.decode(msgspec.msgpack.encode(message))
    assert back["encode_ns"].tolist() == [ABSENT] * 3
    assert back["done_ns"].tolist() == [41, 14, 99]


def test_selecting_keeps_the_rows_where_the_mask_holds() -> None:
    rows = RowColumns.of_rows(HEADER, ROWS)
    assert list(rows.select(~rows.words["outcome"].equal("refused", "unsent")).rows()) == [ANSWERED]


def test_concatenating_keeps_order_across_different_vocabularies() -> None:
    parts = [RowColumns.of_rows(HEADER, [row]) for row in ROWS]
    assert list(concatenate(parts).rows()) == ROWS
    with pytest.raises(SpecError, match="at least one"):
        concatenate([])


def test_latency_is_completion_minus_intended_send() -> None:
    assert RowColumns.of_rows(HEADER, ROWS).latency_ns().tolist() == [31, 2, 86]


def test_words_are_stored_once() -> None:
    words = Words.of(["a", "b", "a"], 3)
    assert words.words == ("a", "b")
    assert words.codes.dtype == np.int32
    assert words.equal("b", "c").tolist() == [False, True, False]


def test_every_field_has_a_default_and_every_phase_a_column() -> None:
    assert Row() == Row(**{field.name: field.default for field in msgspec.structs.fields(Row)})
    assert {f"{phase}_ns" for phase in PHASES} <= set(RowColumns.of(HEADER, 0).numbers)


def test_importing_the_schema_does_not_import_pyarrow() -> None:
    import subprocess
    import sys

    code = "import sys, trivet.spec.row; sys.exit('pyarrow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
