from collections.abc import Sequence
from typing import Any

import pytest

from tests.experiment.measured_support import block
from trivet.experiment.health import trouble
from trivet.experiment.measured import Measured
from trivet.experiment.side import Side
from trivet.experiment.target import Started, Subject
from trivet.load.dialects.template import JsonTemplate

GOOD, BAD = b'{"y": 1}', b"<html>"


def side() -> Side:
    dialect = JsonTemplate("/", "{}", {"y": "$.y"})
    return Side("m", "http://m", Started(Subject("http://m"), "m:1"), dialect, None, [{}], [])


def statuses(*parts: tuple[int, int]) -> list[int]:
    return [status for status, count in parts for _ in range(count)]


def outcomes(codes: Sequence[int]) -> list[str]:
    return ["ok" if code == 200 else "failed" if code else "disconnected" for code in codes]


def measured(codes: Sequence[int], **settings: Any) -> Measured:
    return block([1.0] * len(codes), statuses=codes, outcomes=outcomes(codes), **settings)


def test_a_target_that_answers_is_in_no_trouble() -> None:
    assert trouble(side(), measured(statuses((200, 90), (500, 10)))) == ""
    assert trouble(side(), measured([])) == ""


def test_a_target_that_never_gives_a_result() -> None:
    found = trouble(side(), measured(statuses((500, 30), (0, 5)), reasons=""))
    assert found == "http://m: none of 35 requests got a result; most often: failed (status 500)"


def test_a_target_that_stops_answering_midway() -> None:
    codes = statuses((200, 80), (0, 20))
    found = trouble(side(), measured(codes, reasons=["" if code else "ECONNREFUSED" for code in codes]))
    assert "stopped answering after 0.1 s: the last 20 of 100 requests" in found
    assert found.endswith("most often: disconnected (ECONNREFUSED)")


@pytest.mark.parametrize("codes", [statuses((200, 95), (0, 5)), statuses((200, 50), (0, 20), (200, 30))])
def test_a_few_lost_requests_and_a_pause_are_errors_and_no_death(codes: list[int]) -> None:
    assert trouble(side(), measured(codes)) == ""


def test_a_run_that_was_stopped_has_requests_without_answers() -> None:
    assert trouble(side(), measured(statuses((200, 50), (0, 50)), partial=True)) == ""


def test_answers_that_are_none_are_found_among_those_that_were_kept() -> None:
    codes = statuses((200, 100))
    answers = [BAD if i % 4 == 0 else GOOD for i in range(100)]
    found = trouble(side(), measured(codes, answers=answers))
    assert "25 of 100 answers that were looked at are no results" in found
    assert trouble(side(), measured(codes, answers=[GOOD] * 100)) == ""


def test_of_many_answers_some_are_looked_at() -> None:
    codes = statuses((200, 1000))
    found = trouble(side(), measured(codes, answers=[BAD] * 1000))
    assert "100 of 100 answers" in found
