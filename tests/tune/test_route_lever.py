"""A route simulated by its own decisions and tuned over its certified points: cost, accuracy and ways belong together."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from tests.support.routes import write_routed
from tests.tune.virtual_bench import VirtualBench
from trivet.clock import MonotonicClock
from trivet.errors import SpecError
from trivet.experiment.simulating.route_profile import route_table
from trivet.experiment.simulating.simulated import routed_alone, setup_of, stage_key, table_key
from trivet.pipeline.routing import TABLE_BITS, Router, features, write_router
from trivet.runtime.preparing.preparing import Prepared, PreparedModel, prepare
from trivet.simulate.errors import NotProfiledError
from trivet.simulate.profile import HostCosts, ModelTimes, ServiceProfile
from trivet.simulate.route_table import RouteTable
from trivet.simulate.server import simulate_service
from trivet.simulate.setup import passing
from trivet.spec.certified import Certificate, CertifiedPoint, certificate_text
from trivet.spec.configuration import Configuration
from trivet.spec.convert import convert
from trivet.spec.service_file import load_configuration
from trivet.spec.tuning import Tuning
from trivet.tune.choice import Choice
from trivet.tune.exit_figures import exit_accuracy, exit_difference
from trivet.tune.goals import goal_of
from trivet.tune.recommending.written import configuration_yaml
from trivet.tune.screen import Screen, engine_bound_rps
from trivet.tune.space import Space, space_of

MS = 1_000_000
NUM_ROWS = 150
NOBODY, EASY = 1.5, 0.95  # the safer point sends everything to the last model
TIMES = (0, MS, 0, 10 * MS)  # of the stages: a step, the cheap model, a step, the dear one
KEPT: dict[str, Any] = dict.fromkeys(
    (
        "engine",
        "threads",
        "instances",
        "execution",
        "max_batch_size",
        "deferral",
        "queue",
        "graph_optimization",
        "spinning",
        "workers",
    ),
    "default",
)


def write_hand_made_router(path: Path) -> None:
    """Texts with the word `hard` are hard."""
    weights = np.zeros((2, 1 << TABLE_BITS), np.float32)
    (place,), _ = features("hard")
    weights[0, place] = -50.0
    bias = np.full(2, 2.0, np.float32)
    write_router(path, Router(np.ones(1 << TABLE_BITS, np.float32), weights, bias))


@pytest.fixture(scope="module")
def routed(tmp_path_factory: pytest.TempPathFactory) -> Configuration:
    path = write_routed(tmp_path_factory.mktemp("routed"), num_rows=NUM_ROWS)
    write_hand_made_router(path.parent / "router.npz")
    certificate = path.parent / "certified.yaml"
    certificate.write_text("")
    found = load_configuration(path)
    router = next(file.digest for file in found.files if file.name == "router.npz")
    certificate.write_text(
        certificate_text(
            Certificate(
                stages=found.stages_digest(4),
                exits=("cheap",),
                max_loss=0.02,
                confidence=0.95,
                loss="net",
                router=router,
                points=tuple(
                    CertifiedPoint(thresholds=(ease,), risk_bound=0.01, saving=0.1, rows=100)
                    for ease in (NOBODY, EASY)
                ),
            )
        )
    )
    return load_configuration(path)


@pytest.fixture(scope="module")
def prepared(routed: Configuration) -> Iterator[Prepared]:
    made = prepare(routed, "1", MonotonicClock().now_ns, lambda text: None)
    yield made
    for stage in made.stages:
        if isinstance(stage, PreparedModel):
            for engine in stage.engines:
                engine.close()


@pytest.fixture(scope="module")
def table(routed: Configuration, prepared: Prepared) -> RouteTable:
    found = route_table(prepared, routed, 60_000_000_000, MonotonicClock().now_ns)
    assert found is not None
    return found


@pytest.fixture
def profile(routed: Configuration, table: RouteTable) -> ServiceProfile:
    models = {
        stage_key(routed, index): ModelTimes(
            samples={0: {rows: [max(1, rows * ns)] * 8 for rows in (1, 2, 4, 8, 16, 32, 64)}}
        )
        for index, ns in enumerate(TIMES)
    }
    fixed = msgspec.structs.replace(table, decide_ns=[50_000])
    host = HostCosts(per_request_ns=[20_000], hand_over_ns=[0])
    return ServiceProfile(service="two", models=models, host=host, routes={table_key(routed): fixed})


def space(base: Configuration, **rules: Any) -> Space:
    return space_of(base, (), 1, convert({"levers": {**KEPT, **rules}}, Tuning))


def at(base: Configuration, ease: float | str) -> Configuration:
    return space(base).configuration(Choice({**space(base).default, "route": ease}))[0]


def test_the_table_holds_the_way_of_each_row_and_who_is_right(table: RouteTable) -> None:
    ways = table.ways(EASY)
    assert len(ways) == len(table.ease) == round(0.3 * NUM_ROWS)
    easy = ways == table.first
    assert 0.5 < easy.mean() < 0.8
    np.testing.assert_array_equal(
        np.asarray(table.right[table.first], bool), easy
    )  # the cheap one errs on hard texts
    assert table.right[table.last] == [1.0] * len(ways)
    assert (table.first, table.last) == (1, 3)
    assert min(table.decide_ns) > 0
    assert (table.ways(NOBODY) == table.last).all()
    values = table.values(ways)
    assert values is not None
    assert values.all()
    swapped = table.values(np.where(easy, table.last, table.first))
    assert swapped is not None
    np.testing.assert_array_equal(swapped, easy)


def test_certified_points_are_the_levers_values(routed: Configuration) -> None:
    (lever,) = space(routed).levers
    assert (lever.name, lever.values, lever.kind) == ("route", ("declared", NOBODY), "answers")
    safer = at(routed, NOBODY)
    assert safer.hash != routed.hash == at(routed, "declared").hash
    root = Path(routed.root)
    (root / "safer.yaml").write_text(configuration_yaml(safer, root, workers=1).text)
    assert load_configuration(root / "safer.yaml").hash == safer.hash
    found = space(routed)
    assert found.changes_exit(Choice({**found.default, "route": NOBODY}))
    assert not found.changes_exit(found.default)


def test_only_what_is_certified_is_served(routed: Configuration) -> None:
    with pytest.raises(SpecError, match=r"1\.2 is not certified; certified: 1\.5, 0\.95"):
        prepare(at(routed, 1.2), "1", MonotonicClock().now_ns, lambda text: None)
    with pytest.raises(SpecError, match="expected a certified ease"):
        space(routed, route=["often"])


def test_each_request_takes_the_time_of_its_own_model_and_rows_say_which(
    routed: Configuration, profile: ServiceProfile
) -> None:
    setup = setup_of(routed, profile, workers=1, num_cores=1)
    rows = simulate_service(profile, setup, np.arange(400, dtype=np.int64) * 50 * MS, seed=1)
    who = rows.words["exit"].decode()
    assert set(who) == {"cheap", "dear"}
    assert (rows.words["outcome"].decode() == "ok").all()
    latency_ms = (rows["done_ns"] - rows["sent_ns"]) / MS
    np.testing.assert_allclose(latency_ms[who == "cheap"], 1.07, atol=1e-3)
    np.testing.assert_allclose(latency_ms[who == "dear"], 10.07, atol=1e-3)
    np.testing.assert_allclose((who == "cheap").mean(), passing(setup, 1), atol=0.08)
    assert passing(setup, 1) + passing(setup, 3) == pytest.approx(1)
    safer = simulate_service(
        profile, setup_of(at(routed, NOBODY), profile, workers=1, num_cores=1), rows["sent_ns"], seed=1
    )
    assert set(safer.words["exit"].decode()) == {"dear"}


def test_under_load_each_request_is_answered_once(routed: Configuration, profile: ServiceProfile) -> None:
    setup = setup_of(routed, profile, workers=1, num_cores=2)
    rows = simulate_service(profile, setup, np.arange(500, dtype=np.int64) * 5 * MS, seed=2)
    assert (rows["done_ns"] > rows["sent_ns"]).all()
    assert (rows["batch_size"] > 1).any()
    assert set(rows.words["exit"].decode()) == {"cheap", "dear"}


def test_without_a_measured_way_nothing_is_forecast(routed: Configuration, profile: ServiceProfile) -> None:
    nothing = msgspec.structs.replace(profile, routes={})
    setup = setup_of(routed, nothing, workers=1, num_cores=1)
    with pytest.raises(NotProfiledError, match="which requests the route finds easy was not profiled"):
        simulate_service(nothing, setup, np.arange(3, dtype=np.int64), seed=1)


def test_accuracy_and_its_difference_follow_from_the_same_rows(
    routed: Configuration, profile: ServiceProfile, table: RouteTable
) -> None:
    wrong = [*table.right[table.first]]
    easy = np.flatnonzero(table.ways(EASY) == table.first)
    for place in easy[:2]:
        wrong[place] = 0.0
    told = msgspec.structs.replace(table, right={**table.right, table.first: wrong})
    known = msgspec.structs.replace(profile, routes={table_key(routed): told})
    declared, safer = exit_accuracy(routed, known), exit_accuracy(at(routed, NOBODY), known)
    assert declared is not None
    assert safer is not None
    assert declared.estimate == pytest.approx(1 - 2 / len(wrong))
    assert safer.estimate == 1.0
    difference = exit_difference(at(routed, NOBODY), routed, known)
    assert difference is not None
    assert difference.estimate == pytest.approx(2 / len(wrong))
    assert exit_accuracy(routed, msgspec.structs.replace(profile, routes={})) is None


def test_more_easy_requests_bear_a_higher_rate(routed: Configuration, profile: ServiceProfile) -> None:
    found = space(routed)
    bench = VirtualBench(found, profile)
    looker = Screen(profile, bench.setup, goal_of(routed.service, "rate", 100 * MS), 0)
    rates = {}
    for ease in ("declared", NOBODY):
        screened = looker.look(Choice({**found.default, "route": ease}))
        assert screened is not None
        rates[ease] = screened.figures["max_rate_rps"]
        assert rates[ease] <= engine_bound_rps(profile, screened.setup)
    assert rates["declared"] > 2 * rates[NOBODY] > 0


def test_the_hosts_costs_are_measured_with_the_first_model_alone(routed: Configuration) -> None:
    alone = routed_alone(routed).service
    assert [stage.target for stage in alone.pipeline] == ["steps.py:rough", "cheap"]
    assert (alone.route, list(alone.models)) == (None, ["cheap"])
    assert routed_alone(routed_alone(routed)).hash == routed_alone(routed).hash
