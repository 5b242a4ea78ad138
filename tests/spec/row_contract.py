"""What whoever writes rows promises. Subclass it, and give a fixture `rows` with rows of the writer."""

import numpy as np
from numpy.typing import NDArray

from trivet.spec.row import ABSENT, CACHE_OUTCOMES, KEPT, OUTCOMES, PHASES, SCHEMA_VERSION, RowColumns

ANSWERED = ("ok", "late")
NEVER_RAN = ("refused", "dropped", "invalid", "unsent")


def where(rows: RowColumns, broken: NDArray[np.bool_]) -> list[int]:
    """Indices of the broken rows: what pytest prints when a promise is not kept."""
    assert broken.shape == (rows.num_rows,)
    return np.flatnonzero(broken).tolist()


class RowWriterContract:
    def test_the_header_names_writer_clock_and_schema(self, rows: RowColumns) -> None:
        assert rows.header.writer
        assert rows.header.clock in ("monotonic", "virtual")
        assert rows.header.schema_version == SCHEMA_VERSION

    def test_there_are_rows(self, rows: RowColumns) -> None:
        assert rows.num_rows > 0

    def test_words_are_known(self, rows: RowColumns) -> None:
        assert set(rows.words["outcome"].decode()) <= set(OUTCOMES)
        assert set(rows.words["cache"].decode()) <= set(CACHE_OUTCOMES)
        assert set(rows.words["kept"].decode()) <= set(KEPT)

    def test_only_a_sample_says_why_a_row_was_kept(self, rows: RowColumns) -> None:
        assert 0 <= rows.header.share <= 1
        everything = rows.words["kept"].equal("")
        assert where(rows, everything & (rows.header.share < 1)) == []
        assert bool(everything.all()) or not bool(everything.any())

    def test_intent_and_completion_are_always_known(self, rows: RowColumns) -> None:
        assert where(rows, rows["intended_ns"] < 0) == []
        assert where(rows, rows["done_ns"] < rows["intended_ns"]) == []

    def test_instants_are_in_order(self, rows: RowColumns) -> None:
        order = ("intended_ns", "sent_ns", "first_byte_ns", "done_ns")
        for i, earlier in enumerate(order):
            for later in order[i + 1 :]:
                both = (rows[earlier] != ABSENT) & (rows[later] != ABSENT)
                assert where(rows, both & (rows[earlier] > rows[later])) == [], f"{earlier} after {later}"

    def test_numbers_are_absent_or_not_negative(self, rows: RowColumns) -> None:
        for name, values in rows.numbers.items():
            assert where(rows, values < ABSENT) == [], name
        assert where(rows, (rows["status"] < 0) | (rows["priority"] < 0)) == []

    def test_phases_fit_between_sent_and_done(self, rows: RowColumns) -> None:
        phases = sum(np.maximum(rows[f"{phase}_ns"], 0) for phase in PHASES)
        sent = rows["sent_ns"] != ABSENT
        assert where(rows, sent & (phases > rows["done_ns"] - rows["sent_ns"])) == []
        assert where(rows, ~sent & (phases > 0)) == []

    def test_an_answer_has_a_first_byte_and_a_good_status(self, rows: RowColumns) -> None:
        answered = rows.words["outcome"].equal(*ANSWERED)
        assert where(rows, answered & ((rows["status"] < 200) | (rows["status"] > 299))) == []
        assert where(rows, answered & ((rows["sent_ns"] == ABSENT) | (rows["first_byte_ns"] == ABSENT))) == []
        assert where(rows, ~answered & (rows["status"] >= 200) & (rows["status"] <= 299)) == []

    def test_in_time_and_late_agree_with_the_deadline(self, rows: RowColumns) -> None:
        has_deadline = rows["deadline_ns"] != ABSENT
        past = has_deadline & (rows["done_ns"] > rows["deadline_ns"])
        assert where(rows, rows.words["outcome"].equal("ok") & past) == []
        assert where(rows, rows.words["outcome"].equal("late") & has_deadline & ~past) == []

    def test_what_never_ran_has_no_compute_time(self, rows: RowColumns) -> None:
        idle = rows.words["outcome"].equal(*NEVER_RAN)
        assert where(rows, idle & ((rows["compute_ns"] > 0) | (rows["batch_size"] > 0))) == []

    def test_what_was_not_sent_has_no_answer(self, rows: RowColumns) -> None:
        unsent = rows["sent_ns"] == ABSENT
        assert where(rows, unsent & ((rows["first_byte_ns"] != ABSENT) | (rows["status"] != 0))) == []
        assert where(rows, rows.words["outcome"].equal("unsent") & ~unsent) == []
