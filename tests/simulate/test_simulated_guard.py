"""A certified cascade in virtual time: audits cost their share at the lowest priority, and the guard steps back in time."""

from typing import Any

import numpy as np
import pytest

from tests.simulate.simulated_support import NO_COSTS
from trivet.pipeline.certified import NOTHING_LEAVES, CertifiedPoint
from trivet.simulate.asked import Asked
from trivet.simulate.profile import ModelTimes, ServiceProfile
from trivet.simulate.record import Simulated
from trivet.simulate.server import rows_of, simulated
from trivet.simulate.setup import GuardSetup, Setup, StageSetup

MS = 1_000_000
LIMIT, DELTA = 0.02, 0.05
PROFILE = ServiceProfile(
    service="s",
    models={
        name: ModelTimes(samples={0: {1: [ns] * 8}}) for name, ns in (("small", MS // 2), ("large", 4 * MS))
    },
    host=NO_COSTS,
)
# Inputs 0 to 99 are as certified: half leave at the freer point, with the same answers, or with as many others as may be;
# 100 to 199 are what comes after a drift: surer than ever, and a third of their answers are others.
SURE = np.arange(200) % 2 == 0
AT_LIMIT = np.isin(np.arange(200), (0, 2))
AFTER = (np.arange(200) >= 100) & (np.arange(200) % 3 == 0)


def guard(lost: Any, *, share: float, seed: int = 0) -> GuardSetup:
    free = np.where(SURE | (np.arange(200) >= 100), 0, 1)
    safe = np.where(np.arange(200) % 10 == 0, 0, 1)
    points = tuple(
        CertifiedPoint(thresholds=(at,), risk_bound=0.01, saving=0.4, rows=5000, changed=LIMIT)
        for at in (0.99, 0.8)
    )
    return GuardSetup(
        points=points,
        exits=(tuple(safe.tolist()), tuple(free.tolist())),
        lost=(tuple(((safe == 0) & lost).tolist()), tuple(((free == 0) & lost).tolist())),
        max_loss=0.005,
        delta=DELTA,
        audit_share=share,
        seed=seed,
    )


def run(
    watched: GuardSetup | None, num: int = 1500, *, inputs: Any = None, every_ns: int = 20 * MS, **given: Any
) -> Simulated:
    stages = (StageSetup("small", execution="thread"), StageSetup("large", execution="thread"))
    exits = tuple(np.where(SURE, 0, 1).tolist()[:100]) if watched is None else watched.exits[-1]
    setup = Setup(
        "s", stages, 1, 2, 10_000 * MS, exits=exits, guard=watched, names=("small", "large"), **given
    )
    rng = np.random.default_rng(0)
    chosen = rng.integers(100, size=num) if inputs is None else inputs
    return simulated(PROFILE, setup, np.arange(num, dtype=np.int64) * every_ns, rng=rng, asked=Asked(chosen))


def test_audits_cost_their_share_and_every_request_is_answered_as_without() -> None:
    plain, none, all_ = (run(one) for one in (None, guard(AFTER, share=0.0), guard(AFTER, share=1.0)))
    np.testing.assert_array_equal(plain.done_ns, none.done_ns)
    assert all_.is_ok().all()
    (audits,) = all_.guards
    assert audits.guard.num_audited == 1500
    assert (audits.num_left_out, audits.steps) == (0, [])
    # Each audit runs both models.
    assert all_.busy_ns - none.busy_ns == pytest.approx(1500 * 4.5 * MS, rel=0.01)
    np.testing.assert_array_equal(all_.left, none.left)


def test_requests_go_before_audits_and_under_load_there_are_none() -> None:
    """Who comes meanwhile waits for what runs, no more."""
    plain, audited = (run(guard(AFTER, share=share), every_ns=3 * MS) for share in (0.0, 0.5))
    assert audited.is_ok().all()
    extra = np.quantile(audited.latency_ns(), 0.99) - np.quantile(plain.latency_ns(), 0.99)
    assert extra <= 2 * 4.5 * MS
    full = run(guard(AFTER, share=1.0), 600, every_ns=MS)
    (audits,) = full.guards
    assert audits.num_left_out > 500


def test_after_a_drift_it_steps_back_within_fifty_audits() -> None:
    """A third of what leaves is answered otherwise, where a fiftieth may be; for six hundred requests all was well."""
    inputs = np.concatenate([np.arange(600) % 100, 100 + np.arange(300) % 100])
    for seed in range(8):
        found = run(guard(AFTER, share=1.0, seed=seed), 900, inputs=_drifting(inputs, seed))
        (audits,) = found.guards
        first = audits.steps[0]
        assert 600 < first.num_audited <= 650
        assert first.point < 1
    setup = Setup("s", (), 1, 2, 1, names=("small", "large"))
    who = rows_of(found, setup).words["exit"].decode()
    assert 0.4 < (who[:600] == "small").mean() < 0.6
    assert set(who[600:610]) == {"small"}
    assert (who[700:] == "large").mean() > 0.85


def _drifting(inputs: Any, seed: int) -> Any:
    """Other ones after the drift in another order each time."""
    return np.concatenate([inputs[:600], np.random.default_rng(seed).permutation(inputs[600:])])


def test_without_a_drift_it_steps_back_in_vain_in_at_most_delta_of_the_runs() -> None:
    """At its very limit: two of a hundred answers are others."""
    num = 0
    for seed in range(200):
        inputs = np.random.default_rng(seed).integers(100, size=100)
        found = run(guard(AT_LIMIT, share=1.0, seed=seed), 100, inputs=inputs)
        num += bool(found.guards[0].steps)
    assert num <= DELTA * 200


def test_behind_the_last_point_everything_goes_to_the_last_model() -> None:
    always = np.ones(200, np.bool_)
    found = run(guard(always, share=1.0), 400)
    (audits,) = found.guards
    assert audits.guard.point == NOTHING_LEAVES
    assert found.left is not None
    assert (found.left[300:] == 1).all()
