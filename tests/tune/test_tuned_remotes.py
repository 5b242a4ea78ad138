"""Services some of whose models another server runs: levers, what may be offered, what calls cost, and whole studies."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import poisson

from benchmarks import models as build
from tests.support.exits import front, times
from tests.support.server import ServerProcess
from tests.tune.studies import figure, trial
from tests.tune.studies import study as study_of
from tests.tune.virtual_bench import VirtualBench
from trivet.catalog.records import Figure
from trivet.catalog.study import Study, TrialBlock
from trivet.errors import UserError
from trivet.experiment.placement import place
from trivet.experiment.simulating.live_points import LivePoint
from trivet.experiment.simulating.remote_points import token_counting, tokens_of
from trivet.experiment.simulating.simulated import remote_keys, setup_of, stage_key, table_key
from trivet.simulate.errors import TooManyCallsError
from trivet.simulate.exit_table import ExitTable
from trivet.simulate.profile import HostCosts, ModelTimes, ServiceProfile
from trivet.simulate.remote_times import RemoteTimes, Tries
from trivet.simulate.server import simulated
from trivet.spec.configuration import Configuration
from trivet.spec.row import RowColumns, RowsHeader
from trivet.spec.service_file import load_configuration
from trivet.spec.tuning import Tuning
from trivet.tune import narrowing, screen
from trivet.tune.beliefs import FURTHEST, MOST_RPS, limit_sample, moved
from trivet.tune.bench import BlockResult
from trivet.tune.choice import Choice
from trivet.tune.exit_figures import exit_accuracy, exit_difference
from trivet.tune.goals import goal_of, objective_figure
from trivet.tune.legs import legs_of
from trivet.tune.live import LiveBench
from trivet.tune.narrowing import narrowed, profiled_choices
from trivet.tune.prices import PRICE, paid, simulated_price
from trivet.tune.recommending import conclude
from trivet.tune.screen import engine_bound_rps, largest_rate, most_rps
from trivet.tune.simulated_load import SimulatedLoad
from trivet.tune.space import Space, space_of
from trivet.tune.state import CALLS
from trivet.tune.study import tune
from trivet.tune.verify import CALLS_ENDED

MS, S = 1_000_000, 1_000_000_000
SLOW = 10  # so many times: few requests make a study
NOBODY = "127.0.0.1:9"
REMOTE = """
    remote:
      protocol: v2
      model: {model}
      upstreams: ["http://{address}"]
      inputs: [{{name: {takes}, datatype: FP32, shape: [-1, 2]}}]
      outputs: [{gives}]
"""
Y, H = "{name: y, datatype: FP32, shape: [-1, 2]}", "{name: h, datatype: FP32, shape: [-1, 2]}"
SERVICE = """
name: {name}
models:
  front: {front}
  rest: {rest}
pipeline:
  - {{model: front, exit: {{output: y, at_least: 0.9}}}}
  - {{model: rest, failures: {{retry: {{}}, fallback: [{{model: front}}]}}}}
slo: {{latency: 1s, deadline: 5s, accuracy_drop: 5 points}}
data: {{path: rows.npz, columns: {{x: x}}, label: label}}
decode: argmax
metric: accuracy
cost: {{models: {{rest: {{per_call: 0.001}}}}}}
tune:
  calls: 1000000
  levers:
    {{engine: default, execution: default, max_batch_size: default, deferral: default, queue: default,
     graph_optimization: default}}
"""
HERE = "{file: front.onnx, levers: {execution: inline, threads: 1, max_batch_size: 1}}"


def written(folder: Path, address: str = NOBODY, *, both: bool = False) -> Configuration:
    """Args: both: models run there, else the last one alone."""
    build.write(front(), folder / "front.onnx")
    x = np.random.default_rng(5).normal(size=(400, 2)).astype(np.float32)
    np.savez(folder / "rows.npz", x=x, label=x.argmax(axis=1))
    rest = REMOTE.format(model="rest", address=address, takes="h", gives=Y)
    near = REMOTE.format(model="front", address=address, takes="x", gives=f"{Y}, {H}") if both else HERE
    path = folder / "service.yaml"
    path.write_text(SERVICE.format(name="chain" if both else "hybrid", front=near, rest=rest))
    return load_configuration(path)


@pytest.fixture(scope="module", params=["hybrid", "chain"])
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Configuration:
    return written(tmp_path_factory.mktemp(request.param), both=request.param == "chain")


def space(base: Configuration) -> Space:
    assert base.service.tune is not None
    return space_of(base, (), 1, base.service.tune)


def tries(ns: int, most: int) -> RemoteTimes:
    return RemoteTimes(tries={NOBODY: {level: Tries(good_ns=[ns] * 20) for level in (1, most)}})


def profile_of(base: Configuration, most: int = 16, times_as_slow: int = 1) -> ServiceProfile:
    """0.2 ms here or there, 20 ms there; an exit that is right where it is sure."""
    keys = [stage_key(base, index) for index in range(2)]
    ns = dict(zip(keys, (times_as_slow * MS // 5, times_as_slow * 20 * MS), strict=True))
    sure = np.linspace(0.5, 1.0, 400)
    right = {0: (sure > 0.6).astype(float).tolist(), 1: [1.0] * 400}
    table = ExitTable(confidences={0: sure.tolist()}, right=right, last=1)
    return ServiceProfile(
        service=base.service.name,
        models={key: ModelTimes(samples={0: {1: [one] * 20}}, batches=False) for key, one in ns.items()},
        host=HostCosts(per_request_ns=[20_000]),
        exits={table_key(base): table},
        remotes={key: tries(ns[key], most) for key in remote_keys(base).values()},
    )


# --- levers -------------------------------------------------------------------------------------------------------------


def test_the_levers_are_the_local_models_and_how_another_server_is_called_stays(
    service: Configuration,
) -> None:
    found = space(service)
    remote = {name for name, model in service.service.models.items() if model.remote is not None}
    assert not {lever.model for lever in found.levers if lever.lever != "exit"} & remote
    assert "front.exit" in {lever.name for lever in found.levers}
    why = {one.name: one.why for one in found.left_out}
    for name in remote:
        assert "runs on another server" in why[f"{name}.*"]
    profile = profile_of(service)
    smaller = narrowed(found, profile, lambda choice: setup(found, profile, choice))
    (exits,) = (lever for lever in smaller.levers if lever.lever == "exit")
    assert len(exits.values) > 2


def setup(found: Space, profile: ServiceProfile, choice: Choice) -> Any:
    configuration, workers = found.configuration(choice)
    return setup_of(configuration, profile, workers=workers, num_cores=1)


def test_many_calls_at_once_take_no_core(service: Configuration) -> None:
    """An `instances` of a remote model is no engine: a choice of another lever fits beside it."""
    models = dict(service.service.models)
    rest = models["rest"]
    models["rest"] = msgspec.structs.replace(rest, levers=msgspec.structs.replace(rest.levers, instances=64))
    base = msgspec.structs.replace(service, service=msgspec.structs.replace(service.service, models=models))
    found = space_of(base, (), 2, Tuning())
    assert found.means_something(Choice({**found.default, "workers": 2}))


# --- what may be offered ------------------------------------------------------------------------------------------------


@given(most=st.integers(1, 200), ms=st.integers(1, 5000))
def test_what_is_offered_hardly_ever_asks_more_at_once_than_was_profiled(most: int, ms: int) -> None:
    rate = tries(ms * MS, most).most_calls_rps([NOBODY])
    assert poisson.sf(most, rate * ms / 1000) < 0.005
    assert rate * ms / 1000 <= most


def test_the_largest_rate_ends_where_upstreams_were_asked_no_more(service: Configuration) -> None:
    found, profile = space(service), profile_of(service)
    made = setup(found, profile, found.default)
    most = most_rps(profile, made)
    assert engine_bound_rps(profile, made) <= most
    rate, _ = largest_rate(profile, made, SimulatedLoad(profile, 400, 1), 200 * MS, 0.02)
    assert 0 < rate <= most
    with pytest.raises(TooManyCallsError, match="at once: profiled up to 16"):
        SimulatedLoad(profile, 400, 1).at(made, 20 * most)
    here = replace(made, stages=tuple(replace(one, remote=None) for one in made.stages))
    assert most_rps(profile, here) == math.inf


def block(rate: float, latency_ms: float, **values: float) -> TrialBlock:
    return TrialBlock(block=0, rate_rps=rate, values={"slo_latency_ms": latency_ms, **values})


def test_a_block_at_the_bound_says_that_much_and_no_more() -> None:
    """A server with room at the largest rate that is offered: the limit is there, not further."""
    assert moved(block(100, 10), 0.2, 200 * MS) == FURTHEST
    assert moved(block(100, 10, **{MOST_RPS: 100}), 0.2, 200 * MS) == 0.0
    assert moved(block(100, 10, **{MOST_RPS: 110}), 0.2, 200 * MS) == pytest.approx(math.log(1.1))
    assert moved(block(100, 400, **{MOST_RPS: 100}), 0.2, 200 * MS) < 0
    sample = limit_sample(block(100, 10, **{MOST_RPS: 100}), 0.2, 200 * MS)
    assert (math.exp(sample.value), sample.weight) == (pytest.approx(100), 1.0)


# --- prices -------------------------------------------------------------------------------------------------------------


def test_what_is_paid_is_every_try_tokens_of_answers_and_engines(service: Configuration) -> None:
    assert paid(msgspec.structs.replace(service.service, cost=None)) is None
    cost = paid(service.service)
    assert cost is not None
    found, profile = space(service), profile_of(service)
    made = setup(found, profile, found.default)
    run = simulated(profile, made, np.arange(500) * 50 * MS, rng=np.random.default_rng(1))
    assert run.left is not None
    num_far = int((run.left == 1).sum())
    assert 0 < num_far < 500
    price = simulated_price(run, made, profile.remotes, cost)
    assert price == pytest.approx(num_far * 0.001 / 500 * 1e6)
    key = remote_keys(service)[1]
    counted = {**profile.remotes, key: msgspec.structs.replace(profile.remotes[key], tokens=(100.0, 50.0))}
    dear = msgspec.structs.replace(
        cost,
        core_hour=3600.0,
        models={"rest": msgspec.structs.replace(cost.models["rest"], per_1k_tokens=2.0)},
    )
    local_s = 0.0 if len(remote_keys(service)) == 2 else 500 * 0.0002
    expected = (num_far * (0.001 + 0.15 * 2) + local_s) / 500 * 1e6
    assert simulated_price(run, made, counted, dear) == pytest.approx(expected, rel=1e-6)


def test_tokens_are_told_by_prices_that_count_them(service: Configuration) -> None:
    assert token_counting(service).service.cost is None  # V2 servers count none
    chat = {"protocol": "openai", "operation": "chat", "inputs": None, "outputs": None}
    rest = service.service.models["rest"]
    assert rest.remote is not None
    models = {
        **service.service.models,
        "rest": msgspec.structs.replace(rest, remote=msgspec.structs.replace(rest.remote, **chat)),
    }
    told = token_counting(
        msgspec.structs.replace(service, service=msgspec.structs.replace(service.service, models=models))
    ).service.cost
    assert told is not None
    nano = [told.call_nano("rest", 12_345, 678), told.call_nano("rest", 1, 0), told.call_nano("rest", 0, 3)]
    assert told.call_nano("front", 99, 99) == 0
    rows = RowColumns.of(
        RowsHeader(writer="test", clock="virtual"),
        3,
        cost_nano=np.array(nano),
        outcome="ok",
        batch_size=1,
    )
    assert tokens_of([LivePoint(rows, 3, 0, 0)]) == pytest.approx((12_346 / 3, 681 / 3))


def test_the_price_is_a_leg_of_its_own_and_what_cost_means(service: Configuration) -> None:
    goal = goal_of(service.service, "cost", 200 * MS)
    assert (goal.currency, objective_figure(goal)) == ("USD", (PRICE, -1))
    rate = goal_of(service.service, "rate", 200 * MS)
    assert objective_figure(rate) == ("max_rate_rps", 1)
    measured = [trial(0, 10.0, 5.0, stage="default")]
    assert [leg.figure for leg in legs_of(rate, measured, "measured")][-1] == PRICE
    unpaid = goal_of(msgspec.structs.replace(service.service, cost=None), "cost", 200 * MS)
    assert (unpaid.currency, objective_figure(unpaid)) == ("", ("cpu_ms_per_request", -1))
    assert study_of(measured, unpaid).goal.currency == ""
    assert figure(1.0).low is not None


# --- whole studies ------------------------------------------------------------------------------------------------------


class RemoteBench(VirtualBench):
    """With prices, and accuracies as the profile has them; writes down what it was made to offer."""

    offered: list[tuple[Choice, float]]

    def profile(self, choices: Sequence[Choice], *, budget_ns: int) -> ServiceProfile:
        """Upstreams were asked by up to 16 at once, and bear more."""
        return profile_of(self.space.base, 16, SLOW)

    def accuracy(self, choice: Choice) -> Figure | None:
        return exit_accuracy(self.space.configuration(choice)[0], self._profile)

    def difference(self, choice: Choice) -> Figure | None:
        configurations = [self.space.configuration(one)[0] for one in (choice, self.space.default)]
        return exit_difference(configurations[0], configurations[1], self._profile)

    def _block(self, choice: Choice, rate_rps: float, seconds: float, block: int) -> BlockResult:
        self.offered.append((choice, rate_rps))
        found = super()._block(choice, rate_rps, seconds, block)
        made, rng = self.setup(choice), np.random.default_rng(block)
        run = simulated(self._profile, made, np.arange(200) * round(S / rate_rps), rng=rng)
        cost = paid(self.space.base.service)
        assert cost is not None
        price = simulated_price(run, made, self._profile.remotes, cost)
        num_calls = float(sum(told.attempts for told in run.calls.values()))
        return replace(found, figures={**found.figures, PRICE: price, CALLS: num_calls})


@pytest.fixture(scope="module")
def short_simulations() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(screen, "FIRST", 150)
        patch.setattr(screen, "SECOND", 300)
        patch.setattr(conclude, "NUM_REQUESTS", 60)
        patch.setattr(narrowing, "LEAVING", (0.5, 0.9))
        yield


@pytest.fixture(scope="module")
def studied(service: Configuration, short_simulations: None) -> tuple[RemoteBench, Study]:
    bench = RemoteBench(space(service), profile_of(service, 400, SLOW))
    bench.offered = []
    return bench, tune(bench, bench.space, goal_of(service.service, "cost", S), 45 * S, 0)


def test_a_study_ends_with_the_cheapest_configuration_that_keeps_the_floor(
    studied: tuple[RemoteBench, Study],
) -> None:
    _, study = studied
    assert study.state == "complete"
    assert study.recommendation is not None
    assert study.recommendation.meets
    chosen = study.trials[study.recommendation.trial]
    price, own = (one.measured[PRICE] for one in (chosen, study.trials[0]))
    assert chosen.levers["front.exit"] != "declared"
    assert price.estimate < 0.7 * own.estimate
    assert price.unit == "USD"
    assert any("price of a million requests" in line for line in study.recommendation.reasons)
    difference = chosen.measured["accuracy_difference"]
    assert difference.low is not None
    assert difference.low >= -0.05


def test_no_block_is_offered_more_than_upstreams_were_asked(studied: tuple[RemoteBench, Study]) -> None:
    bench, study = studied
    assert bench.offered
    for choice, rate in bench.offered:
        assert rate <= most_rps(bench.profile([], budget_ns=0), bench.setup(choice)) * (1 + 1e-9)
    for one in study.trials:
        for lived in one.blocks:
            assert lived.rate_rps <= lived.values[MOST_RPS] * (1 + 1e-9)
    assert any("while it was profiled" in note for note in study.notes)


def with_calls(service: Configuration, calls: int | None) -> Configuration:
    tuning = msgspec.structs.replace(service.service.tune or Tuning(), calls=calls)
    return msgspec.structs.replace(service, service=msgspec.structs.replace(service.service, tune=tuning))


@pytest.mark.usefixtures("short_simulations")
def test_paid_calls_are_bounded_by_what_the_service_says(tmp_path: Path) -> None:
    service = written(tmp_path)
    goal = goal_of(service.service, "cost", S)
    unbounded = space(with_calls(service, None))
    with pytest.raises(UserError, match="say how many they may make"):
        tune(RemoteBench(unbounded, profile_of(service)), unbounded, goal, 45 * S, 0)
    bench = RemoteBench(space(with_calls(service, 100)), profile_of(service, 400, SLOW))
    bench.offered = []
    study = tune(bench, bench.space, goal, 45 * S, 0)
    blocks = [lived for one in study.trials for lived in one.blocks]
    made = [lived.values[CALLS] for lived in blocks]
    assert sum(made) >= 100
    assert (
        sum(made) - sum(made[-2:]) < 100 or len(made) <= 4
    )  # ended with the blocks in which they were spent
    assert CALLS_ENDED in study.notes


# --- a real server elsewhere ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_live_bench_profiles_judges_and_pays_a_model_on_another_server(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    build.write(times(10), there / "rest.onnx")
    with ServerProcess([str(there / "rest.onnx")], there) as upstream:
        base = written(tmp_path, upstream.address)
        found = space(base)
        strict = Choice({**found.default, "front.exit": 0.7})
        goal = goal_of(base.service, "cost", S)
        with LiveBench(found, goal, place(), seed=1, max_send_lag_ns=60 * S) as bench:
            profile = bench.profile(profiled_choices(found)[:1], budget_ns=2 * S)
            lived = bench.measure([strict], {strict: 60.0}, 1.0, 0)[strict]
            difference, covers = bench.difference(strict), profile.covers(bench.setup(strict))
    assert covers == ""
    assert list(profile.remotes) == list(remote_keys(base).values())
    assert set(profile.exits[table_key(base)].right) == {0, 1}  # the model elsewhere was judged, too
    # 0.001 a call, and one call for each request that is not sure.
    assert 0 < lived.figures[CALLS] < lived.num_requests
    assert lived.figures[PRICE] == pytest.approx(1000 * lived.figures[CALLS] / lived.num_requests)
    assert difference is not None
    assert difference.estimate == 0.0  # ten times as much: the same class
