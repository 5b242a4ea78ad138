"""The verdict is a function of the checks alone: tried over all combinations of three."""

from itertools import product
from typing import get_args

import pytest

from trivet.experiment.replay.checks import MEASURED, Change, Check, Kind, Status, changes, verdict

CHECKS = [Check(kind, kind, status, "") for kind in get_args(Kind) for status in get_args(Status)]


def test_every_combination_of_three_checks_has_the_verdict_of_the_rule() -> None:
    for checks in product(CHECKS, repeat=3):
        statuses = [check.status for check in checks]
        if "differs" in statuses:
            expected = "differs"
        elif "cannot tell" in statuses:
            expected = "cannot tell"
        elif any(check.kind in MEASURED and check.status == "same" for check in checks):
            expected = "reproduced"
        else:
            expected = "cannot tell"
        assert verdict(checks) == expected


def test_without_any_check_nothing_can_be_told() -> None:
    assert verdict([]) == "cannot tell"


@pytest.mark.parametrize("status", ["same", "cannot tell", "not compared"])
def test_only_checks_that_differ_name_changes(status: Status) -> None:
    change = Change("file m.onnx", "a", "b")
    assert changes([Check("content", "configuration", status, "", (change,))]) == ()


def test_what_the_service_is_made_of_is_named_before_what_was_measured_and_each_change_once() -> None:
    slower, lever = Change("engine time", "x1", "x1.1"), Change("lever max_batch_size", "32", "8")
    checks = [
        Check("timing", "engine time", "differs", "", (slower,)),
        Check("content", "configuration", "differs", "", (lever,)),
        Check("environment", "environment", "differs", "", (lever,)),
    ]
    assert changes(checks) == (lever, slower)
    assert str(lever) == "lever max_batch_size: 32 -> 8"
