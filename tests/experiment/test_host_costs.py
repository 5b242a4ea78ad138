"""What a host costs, from two runs whose costs are known: what was put in comes out."""

import numpy as np
import pytest

from tests.simulate.simulated_support import constant, lone
from trivet.experiment.simulating.host_costs import LivePoints, costs_of
from trivet.experiment.simulating.live_points import LivePoint
from trivet.simulate.profile import HostCosts
from trivet.spec.row import RowColumns, RowsHeader

REQUEST, ANSWER, BATCH, WAY = 60_000, 20_000, 15_000, 90_000
PROFILE = constant({1: 1_000_000, 8: 4_500_000}, HostCosts())


def point(size: int, compute_ns: int, *, inline: bool, queue_ns: int, num: int = 64) -> LivePoint:
    """Batches of `size`, each answer behind those before it; the loop's time is what its work takes."""
    place = np.arange(num) % size
    sent = np.arange(num) * 10_000_000
    latency = compute_ns + REQUEST + BATCH + WAY + (0 if inline else queue_ns - BATCH) + place * ANSWER
    rows = RowColumns.of(
        RowsHeader(writer="test"),
        num,
        intended_ns=sent,
        sent_ns=sent,
        first_byte_ns=sent + latency,
        done_ns=sent + latency,
        status=200,
        queue_ns=queue_ns,
        compute_ns=compute_ns,
        encode_ns=place * ANSWER,
        batch_size=size,
    )
    loop_ns = num * REQUEST + num // size * (BATCH + (compute_ns if inline else 0))
    return LivePoint(rows, num, loop_ns, 0 if inline else num // size * compute_ns)


@pytest.mark.parametrize("execution", ["inline", "thread"])
def test_what_was_put_in_comes_out(execution: str) -> None:
    inline = execution == "inline"
    setup = lone(execution=execution, max_batch_size=8)
    points = LivePoints(
        point(1, 1_300_000, inline=inline, queue_ns=40_000),
        point(1, 1_100_000, inline=inline, queue_ns=40_000),
        point(8, 4_500_000, inline=inline, queue_ns=40_000),
    )
    found = costs_of(PROFILE, setup, points)
    assert found.per_request_ns == [REQUEST]
    assert found.per_batch_ns == [BATCH]
    assert found.answer_share == pytest.approx(ANSWER / REQUEST)
    assert found.travel_ns == pytest.approx(WAY, abs=2)
    assert found.wake_core_ns == 0
    assert found.idle_factor == pytest.approx(1.3)
    assert found.busy_factors == pytest.approx({1: 1.1, 8: 1.0})
    assert found.hand_over_ns == ([] if inline else [40_000 - BATCH] * 64)


def test_a_point_without_answers_leaves_costs_as_they_were() -> None:
    nothing = LivePoint(RowColumns.of(RowsHeader(writer="test"), 0), 0, 0, 0)
    assert costs_of(PROFILE, lone(), LivePoints(nothing, nothing, nothing)) == PROFILE.host
