"""Caches as levers: what may be set, what is written, what is simulated, and what wrong answers cost in accuracy."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from benchmarks import models as build
from tests.simulate.simulated_support import constant, lone
from trivet.catalog.records import Figure
from trivet.errors import SpecError
from trivet.experiment.placement import place
from trivet.experiment.variants.judged_variants import JudgedVariant
from trivet.runtime.semantic.hashed import SIZE, encode
from trivet.simulate.front_table import FrontTable, SemanticTable
from trivet.simulate.profile import HostCosts, ServiceProfile
from trivet.simulate.setup import ExactSetup, FrontsSetup
from trivet.spec.cache import ExactCache
from trivet.spec.configuration import Configuration
from trivet.spec.service_file import load_configuration
from trivet.spec.tuning import Tuning
from trivet.tune.choice import Choice
from trivet.tune.front_figures import difference_with_wrong_hits, with_wrong_hits
from trivet.tune.front_levers import UNKNOWN, profiled_fronts, with_sizes
from trivet.tune.goals import goal_of
from trivet.tune.lever import CACHE, OFF, SEMANTIC_CACHE
from trivet.tune.live import LiveBench
from trivet.tune.recommending.written import configuration_yaml
from trivet.tune.screen import answers_of, largest_rate
from trivet.tune.simulated_load import SimulatedLoad
from trivet.tune.space import Space, space_of
from trivet.variants.variant import Variant

MS = 1_000_000
SERVICE = """
name: texts
inputs: [{name: text, datatype: BYTES, shape: [1]}]
models: {m: {file: identity.onnx}}
pipeline: [{preprocess: steps.py:score, outputs: [{name: x, datatype: FP32, shape: [-1, 5]}]}, {model: m}]
decode: argmax
data: {path: rows.csv, columns: {text: text}}
slo: {latency: 50ms}
"""
CACHES = """
cache: {exact: {size: 1MiB, ttl: 10min}, stages: [steps.py:score]}
semantic_cache: {input: text, max_wrong: 4%}
"""
POPULAR = "tune: {popularity: zipf:1.0}\n"


def written(folder: Path, text: str) -> Configuration:
    build.write(build.identity(), folder / "identity.onnx")
    (folder / "steps.py").write_text("def score(inputs):\n    return inputs\n")
    (folder / "rows.csv").write_text("text\none\ntwo\n")
    (folder / "service.yaml").write_text(text)
    return load_configuration(folder / "service.yaml")


def space(configuration: Configuration, **rules: Any) -> Space:
    tuning = configuration.service.tune or Tuning()
    return space_of(configuration, [], 1, msgspec.structs.replace(tuning, levers=rules))


def values_of(found: Space, name: str) -> Any:
    return next((lever.values for lever in found.levers if lever.name == name), None)


def test_caches_are_levers_where_it_is_said_how_inputs_repeat(tmp_path: Path) -> None:
    found = space(written(tmp_path, SERVICE + CACHES + POPULAR))
    assert values_of(found, CACHE) == ("1MiB", OFF)
    assert values_of(found, SEMANTIC_CACHE) == (0.04, OFF, 0.02)
    assert found.configuration(found.default)[0].hash == found.base.hash
    kinds = {lever.name: lever.kind for lever in found.levers}
    assert (kinds[CACHE], kinds[SEMANTIC_CACHE]) == ("serving", "answers")
    assert answers_of(found.default.with_(cache=OFF)) == answers_of(found.default)
    assert answers_of(found.default.with_(semantic_cache=OFF)) != answers_of(found.default)
    bare = space(written(tmp_path, SERVICE + POPULAR))
    assert values_of(bare, CACHE) == (OFF, "64MiB")
    assert values_of(bare, SEMANTIC_CACHE) is None


def test_otherwise_they_stay_as_declared_and_the_study_says_why(tmp_path: Path) -> None:
    found = space(written(tmp_path, SERVICE + CACHES))
    assert values_of(found, CACHE) is None
    assert {one.name: one.why for one in found.left_out if one.why == UNKNOWN} == {
        CACHE: UNKNOWN,
        SEMANTIC_CACHE: UNKNOWN,
    }
    assert found.configuration(found.default)[0].hash == found.base.hash
    with pytest.raises(SpecError, match="no lever 'cache'"):
        space(written(tmp_path, SERVICE), cache=OFF)


def test_a_choice_is_written_as_it_was_measured(tmp_path: Path) -> None:
    found = space(written(tmp_path, SERVICE + CACHES + POPULAR))
    choices = [
        found.default.with_(cache=OFF),
        found.default.with_(cache="8MiB", semantic_cache=0.02),
        found.default.with_(cache=OFF, semantic_cache=OFF),
    ]
    services = []
    for number, choice in enumerate(choices):
        configuration, workers = found.configuration(choice)
        path = tmp_path / f"configuration-{number}.yaml"
        path.write_text(configuration_yaml(configuration, tmp_path, workers=workers).text)
        assert load_configuration(path).hash == configuration.hash
        services.append(configuration.service)
    without, larger, bare = services
    assert without.cache is not None
    assert (without.cache.exact, without.cache.stages) == (None, ("steps.py:score",))
    assert larger.cache is not None
    assert larger.cache.exact == ExactCache(size_bytes=8 * 2**20, ttl_ns=600_000_000_000)
    assert larger.semantic_cache is not None
    assert larger.semantic_cache.max_wrong == 0.02
    assert bare.semantic_cache is None


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ({"cache": "some"}, "expected a size such as 64MiB, or off"),
        ({"semantic_cache": 0.5}, "expected a share of wrong answers such as 0.01, or off"),
        ({"semantic_cache": True}, "expected a share"),
    ],
)
def test_values_that_a_cache_cannot_have_are_refused(rules: Any, told: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=told):
        space(written(tmp_path, SERVICE + CACHES + POPULAR), **rules)


def test_service_yaml_rules_them_as_other_levers(tmp_path: Path) -> None:
    configuration = written(tmp_path, SERVICE + CACHES + POPULAR)
    assert values_of(space(configuration, cache=("8MiB", OFF)), CACHE) == ("8MiB", OFF)
    fixed = space(configuration, cache=OFF, semantic_cache="default")
    assert values_of(fixed, CACHE) is None
    assert fixed.default[CACHE] == OFF
    assert fixed.default[SEMANTIC_CACHE] == 0.04
    yaml = (
        SERVICE + CACHES + "tune: {popularity: zipf:1.0, levers: {cache: off, semantic_cache: [0.01, off]}}\n"
    )
    declared = written(tmp_path, yaml)
    listed = space_of(declared, [], 1, declared.service.tune or Tuning())
    assert listed.default[CACHE] == OFF
    assert values_of(listed, SEMANTIC_CACHE) == (0.01, OFF)
    other = configuration.service.tune
    assert other is not None
    service = msgspec.structs.replace(
        configuration.service, tune=msgspec.structs.replace(other, popularity="often")
    )
    with pytest.raises(SpecError, match="popularity 'often'"):
        space(msgspec.structs.replace(configuration, service=service))


def test_a_cache_that_is_searched_is_measured(tmp_path: Path) -> None:
    bare = written(tmp_path, SERVICE + POPULAR)
    cache = profiled_fronts(bare, is_searched=True).service.cache
    assert cache is not None
    assert cache.exact == ExactCache()
    assert profiled_fronts(bare, is_searched=False) is bare
    both = written(tmp_path, SERVICE + CACHES + POPULAR)
    assert profiled_fronts(both, is_searched=True) is both


def test_a_larger_cache_is_looked_at_where_bytes_bind(tmp_path: Path) -> None:
    found = space(written(tmp_path, SERVICE + CACHES + POPULAR))
    lever = next(one for one in found.levers if one.name == CACHE)
    for entry_bytes, expected in ((1_000, ("1MiB", OFF)), (10_000, ("1MiB", OFF, "4MiB"))):
        table = FrontTable(keys=tuple(range(1_000)), entry_bytes=entry_bytes)
        profile = msgspec.structs.replace(constant({1: MS}), fronts=table)
        assert with_sizes(lever, profile).values == expected


def test_a_cache_bears_a_higher_rate_and_costs_less() -> None:
    """All requests within the SLO, so that the misses, which queue for the engine, decide."""
    table = FrontTable(keys=tuple(range(500)), entry_bytes=1, hit_ns=[20_000], miss_ns=[10_000])
    host = HostCosts(per_request_ns=[50_000], hand_over_ns=[0])
    profile = msgspec.structs.replace(constant({1: 5 * MS}, host), fronts=table)
    without = lone(execution="thread", deadline_ns=100 * MS, slo_ns=50 * MS)
    cached = replace(without, fronts=FrontsSetup(exact=ExactSetup(), size_bytes=1 << 20))
    load = SimulatedLoad(profile, 800, 0, 1.0)
    rates = [largest_rate(profile, setup, load, 50 * MS, 0.05)[0] for setup in (without, cached)]
    assert 100 < rates[0] < 200 < 1.5 * rates[0] < rates[1]
    costs = [load.at(setup, 100.0) for setup in (without, cached)]
    hits = costs[1].hit_share
    assert costs[0].hit_share == 0 < hits
    # What hits take no more is the engine's time.
    assert costs[1].cpu_ms == pytest.approx((1 - hits) * costs[0].cpu_ms, rel=0.15)
    small = replace(cached, fronts=FrontsSetup(exact=ExactSetup(), size_bytes=10))
    assert load.at(small, 100.0).hit_share < hits


def test_wrong_hits_are_counted_against_accuracy() -> None:
    known = Figure(estimate=0.9, low=0.88, high=0.92, unit="accuracy")
    found = with_wrong_hits(known, 0.004, 0.01, larger_is_better=True)
    np.testing.assert_allclose((found.estimate, found.low, found.high), (0.896, 0.87, 0.92))
    error = with_wrong_hits(known, 0.004, 0.01, larger_is_better=False)
    np.testing.assert_allclose((error.estimate, error.low, error.high), (0.904, 0.88, 0.93))
    apart = difference_with_wrong_hits(None, 0.0, 0.0, 0.004, 0.01, larger_is_better=True)
    np.testing.assert_allclose((apart.estimate, apart.low, apart.high), (0.004, 0.0, 0.01))


def test_accuracy_counts_wrong_hits_and_reaches_to_the_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alike to the encoder, answered otherwise: what the policy gives wrong in simulation is what is taken off."""
    configuration = written(tmp_path, SERVICE + CACHES + POPULAR)
    known = Figure(estimate=0.9, low=0.88, high=0.92, unit="accuracy")
    variant = Variant(
        name="original",
        model="m",
        digest="d",
        files=("m",),
        size_bytes=1,
        built_from="m",
        answers_change=False,
    )
    judged = JudgedVariant(variant=variant, accuracy=known, verdict="original", reason="", in_search=True)
    found = space_of(configuration, [judged], 1, configuration.service.tune or Tuning())
    texts = tuple(f"where is parcel {place}" for place in range(40))
    table = SemanticTable(
        texts=texts,
        meanings=tuple(place % 8 == 0 for place in range(40)),
        size=SIZE,
        vectors=np.array([encode(text) for text in texts], np.float16).tobytes(),
    )
    fronts = FrontTable(
        keys=tuple(range(40)), entry_bytes=1, hit_ns=[1], miss_ns=[1], semantic_ns=[1], semantic=table
    )
    profile = ServiceProfile(service="texts", models={}, fronts=fronts)
    monkeypatch.setattr("trivet.tune.live.profile_service", lambda *_arguments, **_options: profile)
    goal = goal_of(configuration.service, None, 50 * MS)
    with LiveBench(found, goal, place(), seed=0) as bench:
        bench.profile([found.default], budget_ns=10**10)
        off = found.default.with_(semantic_cache=OFF, cache=OFF)
        on = found.default.with_(cache=OFF)
        assert bench.accuracy(off) == known
        accuracy, difference = bench.accuracy(on), bench.difference(off)
    assert accuracy is not None
    assert difference is not None
    wrong = known.estimate - accuracy.estimate
    assert 0 <= wrong < 0.04
    np.testing.assert_allclose((accuracy.low, accuracy.high), (0.84, 0.92))
    np.testing.assert_allclose((difference.low, difference.high), (0.0, 0.04))


def test_choices_are_of_all_levers(tmp_path: Path) -> None:
    found = space(written(tmp_path, SERVICE + CACHES + POPULAR), workers="default", execution="default")
    seen = {(choice[CACHE], choice[SEMANTIC_CACHE]) for choice in found.choices()}
    assert seen == {(size, most) for size in ("1MiB", OFF) for most in (0.04, OFF, 0.02)}
    assert isinstance(next(found.choices()), Choice)
