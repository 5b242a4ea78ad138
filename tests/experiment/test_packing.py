import numpy as np

from tests.experiment.measured_support import block
from trivet.experiment.measured import pack, unpack
from trivet.spec.row import RowColumns, RowsHeader, Words, concatenate


def test_blocks_are_found_again_in_one_table() -> None:
    blocks = [
        block([1, 2, 3], number=0, outcomes=["ok", "failed", "ok"], cpu_ns=5, cpu_samples=[(1, 2)]),
        block([], number=1),
        block([4, 5], number=2, outcomes="refused", answers=[b"kept", b"too"], partial=True),
    ]
    table, records = pack(blocks)
    assert table.num_rows == 5
    found = unpack(table, records)
    assert [measured.rows.num_rows for measured in found] == [3, 0, 2]
    for before, after in zip(blocks, found, strict=True):
        assert after.rows.latency_ns().tolist() == before.rows.latency_ns().tolist()
        assert after.rows.words["outcome"].decode().tolist() == before.rows.words["outcome"].decode().tolist()
        assert after.record.block == before.record.block
        assert after.record.cpu_samples == before.record.cpu_samples
        assert after.record.partial == before.record.partial
        assert set(after.rows.blobs["answer"]) <= {b""}


def test_words_of_several_parts_become_one_column() -> None:
    header = RowsHeader(writer="load")
    parts = [
        RowColumns.of(header, 2, outcome=["ok", "late"]),
        RowColumns.of(header, 3, outcome=Words(np.array([1, 0, 1], np.int32), ("late", "refused"))),
    ]
    joined = concatenate(parts)
    assert joined.words["outcome"].decode().tolist() == ["ok", "late", "refused", "late", "refused"]
    assert joined.words["service"].decode().tolist() == [""] * 5
