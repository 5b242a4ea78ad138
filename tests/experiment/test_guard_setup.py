"""A certified cascade as the simulator has it: each certified point, by what was measured of the rows."""

from pathlib import Path

import pytest

from tests.support.cascades import write_cascade, write_certificate
from trivet.experiment.simulating.simulated import setup_of, table_key
from trivet.simulate.exit_table import ExitTable
from trivet.simulate.profile import ServiceProfile
from trivet.spec.service_file import load_configuration

TABLE = ExitTable(confidences={0: [0.95, 0.9995, 0.5, 0.92]}, last=1, changed={0: [True, False, True, False]})


def test_the_points_exits_and_changed_answers_follow_from_the_table(tmp_path: Path) -> None:
    path = write_cascade(tmp_path, audit="10%", num_rows=10)
    made = write_certificate(path, [(0.999, 0.01), (0.9, 0.02)])
    configuration = load_configuration(path)
    profile = ServiceProfile(service="two", models={}, exits={table_key(configuration): TABLE})
    setup = setup_of(configuration, profile, workers=1, num_cores=1)
    guard = setup.guard
    assert guard is not None
    assert guard.points == made.points
    assert guard.exits == ((1, 0, 1, 1), (0, 0, 1, 0)) == (guard.exits[0], setup.exits)
    assert guard.lost == ((False, False, False, False), (True, False, False, False))
    assert (guard.max_loss, guard.audit_share, guard.seed) == (0.02, 0.1, 0)
    assert guard.delta == pytest.approx(0.05)
    unknown = ServiceProfile(
        service="two",
        models={},
        exits={table_key(configuration): ExitTable(confidences=TABLE.confidences, last=1)},
    )
    blind = setup_of(configuration, unknown, workers=1, num_cores=1).guard
    assert blind is not None
    assert not any(map(any, blind.lost))
    assert (
        setup_of(configuration, ServiceProfile(service="two", models={}), workers=1, num_cores=1).guard
        is None
    )
