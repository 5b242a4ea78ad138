"""Times of a variant in two parts: what both take together, by the share of rows that goes on."""

import itertools
from pathlib import Path

import msgspec
import numpy as np
import pytest
from onnx import helper

from benchmarks import models as build
from tests.support.exits import front, model, times
from trivet.experiment.model_rows import sources_of
from trivet.experiment.placement import place
from trivet.experiment.simulating.parted_engine import can_be_timed, load_parts, together
from trivet.experiment.variants.timed_variants import timed_variants
from trivet.spec.service_file import load_configuration
from trivet.variants.apply import with_variant
from trivet.variants.build import original_of
from trivet.variants.builder import Built
from trivet.variants.store import VariantStore
from trivet.variants.variant import Variant

STAGES = ({"model": "front.onnx", "exit": {"output": "y", "at_least": 0.9}}, {"model": "rest.onnx"})


@pytest.fixture
def parted(tmp_path: Path) -> tuple[Path, Variant, VariantStore]:
    whole = model("x", ["y"], [helper.make_node("Mul", ["x", "f"], ["y"])], {"f": np.float32(10)})
    build.write(whole, tmp_path / "m.onnx")
    (tmp_path / "service.yaml").write_text(
        "models: {m: {file: m.onnx, levers: {max_batch_size: 4, threads: 1}}}\n"
    )
    store = VariantStore(tmp_path / "store")
    record = Variant(
        name="early-exit",
        model="m",
        digest="",
        files=("front.onnx", "rest.onnx"),
        size_bytes=0,
        built_from="m",
        settings={"share_left": 0.75},
        stages=STAGES,
    )
    with store.draft() as draft:
        build.write(front(), draft / "front.onnx")
        build.write(times(10), draft / "rest.onnx")
        variant = store.put(draft, "key", Built(files=record.files, stages=STAGES), record)
    return tmp_path / "service.yaml", variant, store


def test_both_parts_are_timed_in_turn_with_the_original(parted: tuple[Path, Variant, VariantStore]) -> None:
    path, variant, store = parted
    configuration = load_configuration(path)
    (source,) = sources_of(configuration)
    ticks = itertools.count(0, 1_000)
    found, failed = timed_variants(
        configuration, source, [original_of(source), variant], store, place(), lambda: next(ticks), 10**6, 0
    )
    assert failed == {}
    assert set(found) == {"original", "early-exit"}
    assert {length: set(by_rows) for length, by_rows in found["early-exit"].items()} == {0: {1, 2, 4}}
    assert all(ns > 0 for by_rows in found["early-exit"].values() for ns in by_rows[1])


def test_the_rest_counts_by_the_share_that_gets_there(parted: tuple[Path, Variant, VariantStore]) -> None:
    _, variant, _ = parted
    known = {
        "original": {0: {1: [9]}},
        "early-exit: front": {0: {1: [100, 200]}},
        "early-exit: rest": {0: {1: [1_000, 2_000]}},
    }
    assert together(variant, known) == {0: {1: [350, 700]}}
    assert list(known) == ["original"]


def test_the_second_part_runs_on_what_the_first_gives(parted: tuple[Path, Variant, VariantStore]) -> None:
    path, variant, store = parted
    first, second = load_parts(with_variant(load_configuration(path), variant, store), variant).values()
    for x in (np.array([[3.0, 0.0]], np.float32), np.array([[1.0, 2.0]] * 4, np.float32)):
        np.testing.assert_array_equal(first.run({"x": x})["y"], x)
        np.testing.assert_array_equal(second.run({"x": x})["y"], 10 * x)
    second.close()
    first.close()


def test_without_a_certified_share_it_has_no_times(parted: tuple[Path, Variant, VariantStore]) -> None:
    _, variant, _ = parted
    assert can_be_timed(variant)
    assert not can_be_timed(msgspec.structs.replace(variant, settings={}))
    assert not can_be_timed(msgspec.structs.replace(variant, stages=None))
