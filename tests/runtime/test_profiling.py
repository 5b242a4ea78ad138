"""What a profile is measured on, and what it is kept under."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks import models as build
from tests.support.runtime import Served, prepared, serve, text
from trivet.errors import SpecError
from trivet.runtime.buckets import bucket_of_shapes, free_axes
from trivet.runtime.preparing.preparing import Prepared, PreparedModel
from trivet.runtime.preparing.profile_inputs import data_profile, random_profile
from trivet.runtime.preparing.resolving import known_resolutions
from trivet.spec.service import Model, Ragged
from trivet.spec.signature import Signature, TensorSpec

CODE = """
import numpy as np

def tokenize(inputs):
    ids = np.frombuffer(inputs["text"][0], np.uint8).astype(np.int64)[None]
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}

def pool(inputs):
    weights = inputs["attention_mask"][..., None].astype(np.float32)
    return {"vector": (inputs["hidden"] * weights).sum(1) / weights.sum(1)}
"""
SERVICE = """
inputs: [{name: text, datatype: BYTES, shape: [1]}]
outputs: [{name: vector, datatype: FP32, shape: [-1, -1]}]
models:
  encoder:
    file: hidden.onnx
    ragged: {input_ids: {axis: 1, pad: 0}, attention_mask: {axis: 1, pad: 0}}
    cut: {hidden: {axis: 1, like: input_ids}}
    levers: {max_batch_size: 4}
pipeline:
  - preprocess: steps.py:tokenize
  - model: encoder
  - postprocess: steps.py:pool
    inputs: {hidden: hidden, attention_mask: attention_mask}
slo: {deadline: 10s}
"""
DATA = "data: {path: data.csv, columns: {text: t}}\n"
IDS = Signature(
    (TensorSpec("ids", "INT64", (-1, -1)), TensorSpec("mask", "INT64", (-1, -1))),
    (TensorSpec("y", "FP32", (-1, 2)),),
    True,
)
RAGGED = Model(file="m.onnx", ragged={"ids": Ragged(axis=1), "mask": Ragged(axis=1)})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    build.write(build.encoder(pooled=False), tmp_path / "hidden.onnx")
    return tmp_path


def tokens(length: int) -> dict[str, NDArray[Any]]:
    return {name: np.full((1, length), length, np.int64) for name in ("ids", "mask")}


def encoder(ready: Prepared) -> PreparedModel:
    stage = ready.stages[1]
    assert isinstance(stage, PreparedModel)
    return stage


def test_lengths_are_quantiles_of_the_real_ones_in_the_buckets_that_requests_have() -> None:
    inputs = data_profile(IDS, RAGGED, [tokens(length) for length in range(1, 101)])
    assert inputs.told == "100 rows of data of lengths 12, 56, 96, 112"
    batch = inputs.batches[56](6)
    assert (len(batch["ids"]), batch["ids"].shape[1] <= 56) == (6, True)
    assert {49, 50, 51} <= set(batch["ids"].max(axis=1))  # neighbours in length, padded as declared
    assert batch["ids"][0, -1] == 0


def test_without_padding_only_equal_lengths_share_a_batch() -> None:
    inputs = data_profile(IDS, Model(file="m.onnx"), [tokens(length) for length in (3, 5, 5, 7)])
    assert list(inputs.batches) == [3, 5, 7]
    assert inputs.batches[5](3)["ids"].tolist() == [[5] * 5] * 3


def test_fixed_shapes_have_no_lengths() -> None:
    signature = Signature((TensorSpec("x", "FP32", (-1, 2)),), IDS.outputs, True)
    inputs = data_profile(signature, Model(file="m.onnx"), [{"x": np.ones((1, 2), np.float32)}])
    assert (inputs.told, list(inputs.batches)) == ("1 row of data", [0])
    inputs = random_profile(signature, Model(file="m.onnx"))
    assert (inputs.told, list(inputs.batches)) == ("random inputs", [0])


def test_declared_lengths_come_before_the_usual_ones() -> None:
    declared = Model(file="m.onnx", lengths=(8, 128))
    assert random_profile(IDS, declared).told == "random inputs of lengths 8, 128 (declared)"
    assert random_profile(IDS, Model(file="m.onnx")).told == "random inputs of lengths 16, 64"


def test_requests_of_a_random_check_differ_in_length_where_they_may_be_padded() -> None:
    assert [one["ids"].shape[1] for one in random_profile(IDS, RAGGED).singles] == [64, 63, 62, 61]
    assert [one["ids"].shape[1] for one in random_profile(IDS, Model(file="m.onnx")).singles] == [64] * 4


def test_a_model_behind_a_step_is_profiled_on_what_the_step_gives_for_the_data(folder: Path) -> None:
    (folder / "data.csv").write_text("t\n" + "\n".join("w" * length for length in (4, 6, 6, 7)) + "\n")
    said: list[str] = []
    ready = prepared(folder, SERVICE + DATA, CODE, said.append)
    assert "profiling step steps.py:tokenize on 4 rows of data" in said
    assert any("profiling hidden.onnx on 4 rows of data of lengths 4, 6, 7 " in line for line in said)
    model = encoder(ready)
    assert sorted(model.profile.by_length) == [4, 6, 7]
    assert model.profile.batching.same
    assert model.resolution.profiled_on == "4 rows of data of lengths 4, 6, 7"

    async def work(served: Served) -> None:
        live = served.live.models[0]
        assert bucket_of_shapes(live.free, [(1, 6), (1, 6)]) == 6
        assert live.service_time.curve(6).limit == 4  # profiled: it need not begin at batches of one
        assert "4 rows of data" in served.live.summary()
        # The mask comes from the stage before the last one.
        answer = await served.ask(text("www"))
        assert answer["vector"].shape[0] == 1

    serve(ready, work)


def test_a_profile_is_kept_until_the_data_changes(folder: Path) -> None:
    said: list[str] = []
    for content, num_profiles in (("ab\n", 2), ("ab\n", 0), ("abcd\n", 2)):
        (folder / "data.csv").write_text("t\n" + content)
        said.clear()
        prepared(folder, SERVICE + DATA.replace("text: t", "text: [t]"), CODE, said.append)
        assert sum("profiling" in line for line in said if "pool" not in line) == num_profiles


def test_data_that_is_not_there_is_told_and_random_inputs_are_used(folder: Path) -> None:
    said: list[str] = []
    ready = prepared(folder, SERVICE + DATA.replace("data.csv", "gone.csv"), CODE, said.append)
    assert "data 'gone.csv' is not there: profiling on random inputs" in said
    assert encoder(ready).resolution.profiled_on == "random inputs of lengths 16, 64"


def test_data_that_fits_no_input_is_an_error_at_its_line(folder: Path) -> None:
    (folder / "data.csv").write_text("t\nab\n")
    wrong = "data:\n  path: data.csv\n  columns:\n    text: tt\n"
    with pytest.raises(SpecError, match=r"service\.yaml:17: .*no column 'tt'; did you mean 't'"):
        prepared(folder, SERVICE + wrong, CODE)


def test_names_that_nobody_gives_are_errors_at_their_line(folder: Path) -> None:
    """The names of a model's tensors are known once it is loaded."""
    outputs = "[{name: input_ids, datatype: INT64, shape: [-1, -1]}"
    one = SERVICE.replace("steps.py:tokenize", f"steps.py:tokenize\n    outputs: {outputs}]")
    both = one.replace(outputs, outputs + ", {name: attention_mask, datatype: INT64, shape: [-1, -1]}")
    wrong = both.replace("hidden: hidden", "hidden: hiden")
    with pytest.raises(
        SpecError, match=r"service\.yaml:15: no earlier stage gives 'hiden', nor .*; did you mean 'hidden'\?"
    ):
        prepared(folder, wrong, CODE)
    with pytest.raises(
        SpecError, match=r"service\.yaml:13: 'encoder' takes 'attention_mask': no earlier stage gives"
    ):
        prepared(folder, one, CODE)


def test_a_name_that_an_undeclared_step_does_not_give_is_found_on_the_data(folder: Path) -> None:
    (folder / "data.csv").write_text("t\nfound\n")
    pinned = SERVICE.replace("steps.py:tokenize", "steps.py:tokenize\n    execution: inline")
    wrong = CODE.replace('"attention_mask":', '"mask":')
    with pytest.raises(
        SpecError, match=r"needs 'attention_mask'; for the data there are \['input_ids', 'mask'"
    ):
        prepared(folder, pinned + DATA, wrong)


def test_a_model_takes_its_inputs_under_other_names(folder: Path) -> None:
    renamed = CODE.replace('"input_ids": ids', '"ids": ids')
    service = SERVICE.replace("  - model: encoder\n", "  - {model: encoder, inputs: {input_ids: ids}}\n")

    async def work(served: Served) -> None:
        assert (await served.ask(text("abc")))["vector"].shape[0] == 1

    serve(prepared(folder, service, renamed), work)


def test_resolutions_are_known_without_loading_anything(folder: Path) -> None:
    (folder / "data.csv").write_text("t\nresolved\n")
    (folder / "service.yaml").write_text(SERVICE + DATA)
    (folder / "steps.py").write_text(CODE)
    from trivet.spec.service_file import load_configuration

    configuration = load_configuration(folder / "service.yaml")
    assert set(known_resolutions(configuration).values()) == {None}
    ready = prepared(folder, SERVICE + DATA, CODE)
    assert known_resolutions(configuration) == {stage.name: stage.resolution for stage in ready.stages}


def test_sizes_in_a_bucket_are_equal_but_where_they_may_be_padded_or_nothing_is_shared() -> None:
    ragged = {("ids", 1), ("mask", 1)}
    for padded, max_batch_size, bucket in ((ragged, 8, 12), (set(), 8, 11), (set(), 1, 12)):
        assert bucket_of_shapes(free_axes(IDS, padded, max_batch_size), [(4, 11), (4, 11)]) == bucket
    assert bucket_of_shapes(free_axes(IDS, {("ids", 1)}, 8), [(4, 11), (4, 11)]) == (12, 11)
    fixed = Signature((TensorSpec("x", "FP32", (-1, 2)),), (), True)
    assert bucket_of_shapes(free_axes(fixed, (), 8), [(3, 2)]) is None
