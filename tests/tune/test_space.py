"""Levers and their ranges: what fits the model, the machine and the rules of service.yaml."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks import models
from trivet.errors import SpecError
from trivet.experiment.variants.judged_variants import JudgedVariant
from trivet.spec.configuration import Configuration, configuration
from trivet.spec.convert import convert
from trivet.spec.fields import FieldError
from trivet.spec.service import Model, Service, Stage
from trivet.spec.tuning import DeploymentHint, Tuning
from trivet.tune.choice import Choice
from trivet.tune.space import Space, space_of
from trivet.variants.variant import Variant


def base(folder: Path, **fields: Any) -> Configuration:
    models.write(models.matmul(), folder / "m.onnx")
    return configuration(Service(name="s", models={"m": Model(file="m.onnx")}, **fields), folder)


def space(folder: Path, num_cores: int = 4, **tune: Any) -> Space:
    return space_of(base(folder), [], num_cores, convert(tune, Tuning))


def judged(name: str, *, in_search: bool = True, engine: str = "onnxruntime") -> JudgedVariant:
    variant = Variant(
        name=name,
        model="m",
        digest=name,
        files=("m.onnx",),
        size_bytes=1,
        built_from="m",
        engine=engine,  # type: ignore[arg-type]
        answers_change=name != "original",
    )
    verdict = "original" if name == "original" else "faster" if in_search else "no gain"
    return JudgedVariant(variant=variant, verdict=verdict, reason="as slow as it was", in_search=in_search)  # type: ignore[arg-type]


def values(found: Space, lever: str) -> tuple[Any, ...]:
    return next(one.values for one in found.levers if one.name == lever)


def told(found: Space) -> dict[str, str]:
    return {one.name: one.why for one in found.left_out}


def test_ranges_fit_the_cores(tmp_path: Path) -> None:
    found = space(tmp_path, num_cores=6)
    assert values(found, "threads") == ("auto", 1, 2, 4, 6)
    assert values(found, "workers") == (1, 2, 4, 6)
    assert values(found, "max_batch_size") == ("auto", 1, 2, 4, 8, 16, 32, 64)


def test_what_means_nothing_on_one_core_is_left_out_with_its_reason(tmp_path: Path) -> None:
    found = space(tmp_path, num_cores=1)
    names = {lever.name for lever in found.levers}
    assert not names & {"threads", "instances", "workers", "spinning"}
    for lever in ("threads", "instances", "workers", "spinning"):
        assert "one core" in told(found)[lever]


def test_the_default_is_the_declared_configuration(tmp_path: Path) -> None:
    declared = base(tmp_path)
    found = space_of(declared, [], 4)
    made, workers = found.configuration(found.default)
    assert (made.hash, workers) == (declared.hash, 1)
    assert next(iter(found.choices())) == found.default


def test_a_hint_of_workers_is_the_default(tmp_path: Path) -> None:
    found = space_of(base(tmp_path, deployment=DeploymentHint(workers=2)), [], 4)
    assert found.configuration(found.default)[1] == 2


def test_every_choice_is_listed_once_and_is_a_configuration(tmp_path: Path) -> None:
    found = space(tmp_path, num_cores=2)
    choices = list(found.choices())
    assert len(set(choices)) == len(choices)
    hashes = {(made.hash, workers) for made, workers in map(found.configuration, choices)}
    assert len(hashes) == len(choices)


def test_levers_without_an_effect_beside_others_make_no_choice(tmp_path: Path) -> None:
    for choice in space(tmp_path).choices():
        assert not (choice["max_batch_size"] == 1 and choice["deferral"] != "0ms")
        assert not (choice["execution"] == "inline" and choice["instances"] != "auto")
        threads, instances = (
            choice[name] if choice[name] != "auto" else 1 for name in ("threads", "instances")
        )
        assert int(threads) * int(instances) <= max(1, (4 - int(choice["workers"])) // int(choice["workers"]))


@pytest.mark.parametrize(
    ("rule", "expected", "kept"),
    [
        ({"threads": 2}, None, 2),
        ({"threads": "default"}, None, "auto"),
        ({"threads": [1, 2]}, (1, 2), 1),
        ({"threads": {"at_most": 2}}, ("auto", 1, 2), "auto"),
        ({"deferral": {"at_least": "2ms"}}, ("2ms", "5ms"), "2ms"),
    ],
)
def test_rules_fix_list_bound_and_exclude(
    tmp_path: Path, rule: dict[str, Any], expected: tuple[Any, ...] | None, kept: Any
) -> None:
    found = space(tmp_path, levers=rule)
    (lever,) = rule
    assert found.default[lever] == kept
    assert lever in told(found)
    if expected is None:
        assert lever not in {one.name for one in found.levers}
    else:
        assert values(found, lever) == expected


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"thread": 1}, "no lever 'thread' of m; did you mean 'threads'"),
        ({"threads": 9}, "threads of 9: the server has 4 cores here; give 1 to 4"),
        ({"max_batch_size": {"at_least": 100}}, "no value of max_batch_size lies in this range"),
        ({"max_batch_size": "many"}, "expected auto or a whole number"),
        ({"deferral": {"at_most": 5}}, "deferral: expected a duration such as 2ms, got 5"),
        ({"engine": "torch"}, "engine: expected onnxruntime or openvino, got 'torch'"),
    ],
)
def test_a_rule_that_cannot_be_kept_names_the_next_step(
    tmp_path: Path, rule: dict[str, Any], message: str
) -> None:
    with pytest.raises(FieldError, match=message):
        space(tmp_path, levers=rule)


@pytest.mark.parametrize("margin", ["10%", 0.1])
def test_a_margin_is_a_share(margin: Any) -> None:
    assert convert({"safety_margin": margin}, Tuning).safety_margin == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("margin", "expected"), [("ten", "such as 10%"), ("95%", "from 0% to 90%"), (-0.1, "from 0% to 100%")]
)
def test_a_margin_that_is_none(margin: Any, expected: str) -> None:
    with pytest.raises(SpecError, match=f"safety_margin: expected a share {expected}"):
        convert({"safety_margin": margin}, Tuning)


def test_variants_that_are_not_in_the_search_are_left_out_with_their_verdict(tmp_path: Path) -> None:
    found = space_of(base(tmp_path), [judged("int8"), judged("fp16", in_search=False), judged("original")], 2)
    assert values(found, "variant") == ("original", "int8")
    assert told(found)["variant fp16"] == "as slow as it was"


def test_only_the_variants_that_service_yaml_names(tmp_path: Path) -> None:
    every = [judged("original"), judged("int8"), judged("distilled")]
    found = space_of(base(tmp_path), every, 2, Tuning(variants=("distilled",)))
    assert values(found, "variant") == ("original", "distilled")
    with pytest.raises(FieldError, match="no variant 'int9' was built; did you mean 'int8'"):
        space_of(base(tmp_path), every, 2, Tuning(variants=("int9",)))


def test_a_variant_of_another_engine_keeps_it(tmp_path: Path) -> None:
    def with_engine(found: Configuration, variant: Variant) -> Configuration:
        model = Model(file="m.onnx", engine=variant.engine)
        return configuration(Service(name="s", models={"m": model}), Path(found.root))

    variants = [judged("original"), judged("openvino-int8", engine="openvino")]
    found = space_of(base(tmp_path), variants, 2, with_variant=with_engine)
    choice = Choice({**found.default, "variant": "openvino-int8"})
    assert found.configuration(choice)[0].service.models["m"].engine == "openvino"
    assert not found.means_something(Choice({**choice, "graph_optimization": "basic"}))


def test_several_models_have_levers_of_their_own(tmp_path: Path) -> None:
    models.write(models.matmul(), tmp_path / "m.onnx")
    model = Model(file="m.onnx")
    both = Service(name="s", models={"a": model, "b": model}, pipeline=(Stage(model="a"), Stage(model="b")))
    found = space_of(
        configuration(both, tmp_path), [], 2, Tuning(levers={"a.threads": 1, "deferral": "default"})
    )
    assert found.default["a.threads"] == 1
    assert {"a.max_batch_size", "b.max_batch_size"} <= {lever.name for lever in found.levers}
    assert not {"a.deferral", "b.deferral"} & {lever.name for lever in found.levers}
    made, _ = found.configuration(Choice({**found.default, "b.max_batch_size": 4}))
    assert made.service.models["b"].levers.max_batch_size == 4
    assert made.service.models["a"].levers.max_batch_size == "auto"
