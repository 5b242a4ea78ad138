import numpy as np
import pytest

from trivet.load.server_timing import parse, phase_columns
from trivet.spec.row import ABSENT


def test_durations_come_in_milliseconds_and_go_out_in_nanoseconds() -> None:
    header = b'parse;dur=0.012, queue;dur=1.5;desc="waiting", batch;desc="8", miss, cache;desc=exact'
    assert parse(header) == {"parse": 12_000, "queue": 1_500_000, "batch": "8", "cache": "exact"}


@pytest.mark.parametrize(
    "header", [b"", b",;,", b"a;dur=x", b"a;dur=inf", b"a;dur=nan", b"=;=;dur", b"\xff\xfe"]
)
def test_what_does_not_parse_is_left_out(header: bytes) -> None:
    assert parse(header) == {}


def test_negative_durations_count_as_none() -> None:
    assert parse(b"queue;dur=-3") == {"queue": 0}


def test_numbers_that_fit_no_column_are_left_out() -> None:
    columns = phase_columns([b"queue;dur=1e300, batch;desc=99999999999999999999"])
    assert (columns["queue_ns"][0], columns["batch_size"][0]) == (ABSENT, ABSENT)


def test_columns_hold_phases_batch_size_and_words() -> None:
    columns = phase_columns(
        [
            b"parse;dur=0.001, compute;dur=2, batch;desc=4, "
            b"configuration;desc=ab12, variant;desc=int8, cache;desc=miss",
            None,
            b"batch;desc=big, total;dur=9",
        ]
    )
    assert np.array(columns["parse_ns"]).tolist() == [1000, ABSENT, ABSENT]
    assert np.array(columns["compute_ns"]).tolist() == [2_000_000, ABSENT, ABSENT]
    assert np.array(columns["queue_ns"]).tolist() == [ABSENT] * 3
    assert np.array(columns["batch_size"]).tolist() == [4, ABSENT, ABSENT]
    assert columns["configuration"] == ["ab12", "", ""]
    assert columns["variant"] == ["int8", "", ""]
    assert columns["cache"] == ["miss", "", ""]
