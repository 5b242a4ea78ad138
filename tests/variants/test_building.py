"""From sources to variants in the store: what applies, what is found again, what fails, and the same bytes every time."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import msgspec
import numpy as np
import pytest
from onnx import helper

from benchmarks import models as small
from trivet.engine.onnx import OnnxEngine
from trivet.errors import ExtraMissingError
from trivet.spec.fields import FieldError
from trivet.variants import builders, processor
from trivet.variants.build import build_variants, original_of
from trivet.variants.builder import Built, Say
from trivet.variants.builders import builder_of
from trivet.variants.errors import StoreError
from trivet.variants.source import Source
from trivet.variants.store import VariantStore
from trivet.variants.variant import BuildFailure, Variant

DETERMINISTIC = ["optimized", "fp16", "int8-dynamic", "int8-static", "int8-certified"]
OPTIONS = {"fp16": {"anyway": True}, "int8-certified": {"max_loss": 0.05}}


@pytest.fixture
def store(tmp_path: Path) -> VariantStore:
    return VariantStore(tmp_path / "variants")


def _by_name(found: list[Variant | BuildFailure]) -> dict[str, Variant | BuildFailure]:
    return {one.name: one for one in found}


def test_every_builder_has_the_name_that_it_is_listed_under() -> None:
    for name in builders.BUILDERS:
        builder = builder_of(name, {})
        assert builder.name == name
        assert isinstance(builder.answers_change, bool)


def test_variants_are_built_once(source: Source, store: VariantStore) -> None:
    said: list[str] = []
    wanted = ["optimized", "int8-dynamic", "int8-static"]
    first = build_variants([source], wanted, store, say=said.append)
    assert [one.name for one in first] == wanted
    assert all(isinstance(one, Variant) for one in first)
    num_said = len(said)
    assert build_variants([source], wanted, store, say=said.append) == first
    assert len(said) == num_said
    assert _by_name(store.all(original_of(source).digest)) == _by_name(first)
    again = build_variants([source], wanted, store, rebuild=True)
    assert again == first


@pytest.mark.usefixtures("own_builders")
def test_what_failed_once_is_not_tried_again_unless_it_was_only_missing_something(
    bare: Source, source: Source, store: VariantStore
) -> None:
    said: list[str] = []
    (first,) = build_variants([bare], ["breaking"], store, say=said.append)
    (again,) = build_variants([bare], ["breaking"], store, say=said.append)
    assert first == again
    assert len(said) == 1
    (missing,) = build_variants([bare], ["needy"], store)
    assert isinstance(missing, BuildFailure)
    assert not missing.tried
    _Needy.has_extra = True
    (built,) = build_variants([bare], ["needy"], store)
    assert isinstance(built, BuildFailure)
    assert built.reason == 'KeyError: "a library\'s own"'


def test_other_rows_are_another_build(source: Source, store: VariantStore) -> None:
    fewer = replace(source, calibration=range(10))
    found = [build_variants([one], ["int8-static"], store)[0] for one in (source, fewer)]
    digests = [one.digest for one in found if isinstance(one, Variant)]
    assert len(set(digests)) == 2


def test_without_data_what_needs_none_is_built(bare: Source, store: VariantStore) -> None:
    found = _by_name(
        build_variants([bare], ["optimized", "int8-dynamic", "int8-static", "int8-certified"], store)
    )
    assert isinstance(found["int8-dynamic"], Variant)
    static = found["int8-static"]
    assert isinstance(static, BuildFailure)
    assert "no rows to calibrate on" in static.reason
    assert isinstance(found["int8-certified"], BuildFailure)


def test_what_the_processor_lacks_is_named_in_the_failure(
    bare: Source, store: VariantStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, flags in (("fp16", processor.FP16), ("bf16", processor.BF16)):
        monkeypatch.setattr(processor, "flags", frozenset)
        (found,) = build_variants([bare], [name], store)
        assert isinstance(found, BuildFailure)
        assert flags[0] in found.reason


def test_bf16_says_what_it_needs_where_only_that_is_missing(
    bare: Source, store: VariantStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processor, "flags", lambda: frozenset(processor.BF16))
    monkeypatch.setitem(sys.modules, "openvino", None)
    (found,) = build_variants([bare], ["bf16"], store)
    assert isinstance(found, BuildFailure)
    assert found.reason == "bf16 needs an extra: pip install 'trivet[openvino]'"


def test_an_excluded_variant_is_not_built(bare: Source, store: VariantStore) -> None:
    found = build_variants([bare], ["optimized", "int8-dynamic"], store, exclude=["optimized"])
    assert [one.name for one in found] == ["int8-dynamic"]


def test_unknown_names_and_options_are_told_with_their_place(bare: Source, store: VariantStore) -> None:
    with pytest.raises(FieldError, match="there is no variant 'int8-dinamic'; did you mean 'int8-dynamic'"):
        build_variants([bare], ["int8-dinamic"], store)
    with pytest.raises(FieldError) as error:
        build_variants([replace(bare, options={"int9": {}})], ["optimized"], store)
    assert error.value.path == ("variants", "int9")
    wrong = replace(bare, options={"int8-static": {"calibration_row": 3}})
    with pytest.raises(FieldError, match="did you mean 'calibration_rows'") as error:
        build_variants([wrong], ["int8-static"], store)
    assert error.value.path == ("variants", "int8-static", "calibration_row")


class _Breaking(msgspec.Struct, frozen=True):
    name: ClassVar[str] = "breaking"
    answers_change: ClassVar[bool] = False

    def applies(self, source: Source) -> str:
        return ""

    def build(self, source: Source, folder: Path, say: Say) -> Built:
        raise KeyError("a library's own")


class _Needy(_Breaking, frozen=True):
    name: ClassVar[str] = "needy"
    has_extra: ClassVar[bool] = False

    def applies(self, source: Source) -> str:
        if not self.has_extra:
            raise ExtraMissingError("being needy", "variants")
        return ""


class _Lying(_Breaking, frozen=True):
    """Promises the same answers and gives those of another model."""

    name: ClassVar[str] = "lying"

    def build(self, source: Source, folder: Path, say: Say) -> Built:
        small.write(small.matmul(16, 4), folder / "model.onnx")
        return Built(("model.onnx",))


class _Other(_Breaking, frozen=True):
    name: ClassVar[str] = "other"
    answers_change: ClassVar[bool] = True

    def build(self, source: Source, folder: Path, say: Say) -> Built:
        small.write(small.two_inputs(), folder / "model.onnx")
        return Built(("model.onnx",))


@pytest.fixture
def own_builders() -> Iterator[None]:
    before = dict(builders.BUILDERS)
    builders.BUILDERS.update({"breaking": _Breaking, "lying": _Lying, "other": _Other, "needy": _Needy})
    yield
    builders.BUILDERS.clear()
    builders.BUILDERS.update(before)


@pytest.mark.usefixtures("own_builders")
def test_what_fails_is_on_record_and_stops_nothing(bare: Source, store: VariantStore) -> None:
    found = build_variants([bare], ["breaking", "lying", "other", "int8-dynamic"], store)
    reasons = [one.reason for one in found if isinstance(one, BuildFailure)]
    assert [text.partition(":")[0] for text in reasons] == [
        "KeyError",
        "it promises the original's answers and gives others",
        "its inputs are {'a'",
    ]
    assert isinstance(found[-1], Variant)
    assert _by_name(store.all(original_of(bare).digest)) == _by_name(found)


def test_random_rows_that_the_original_cannot_take_say_nothing(
    bare: Source, store: VariantStore, tmp_path: Path
) -> None:
    """Without data free dimensions are 1, too small for a window of 3."""
    kernel = np.ones((2, 1, 3, 3), np.float32)
    nodes = [
        helper.make_node("Identity", ["x"], ["z"]),
        helper.make_node("Conv", ["z", "k"], ["y"]),
    ]
    specs = [small.tensor(name, "FP32", ["N", channels, "H", "W"]) for name, channels in (("x", 1), ("y", 2))]
    path = small.write(small.build("c", nodes, specs[:1], specs[1:], {"k": kernel}), tmp_path / "c.onnx")
    free = replace(bare, path=path, signature=OnnxEngine(path).signature)
    (found,) = build_variants([free], ["optimized"], store)
    assert isinstance(found, Variant)


def test_a_full_store_stops_everything(bare: Source, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError):
        build_variants([bare], ["optimized"], VariantStore(tmp_path / "file"))


def test_a_model_that_is_no_model_is_a_failure(bare: Source, store: VariantStore, tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a model")
    found = build_variants([replace(bare, path=broken)], ["optimized", "int8-dynamic"], store)
    assert all(isinstance(one, BuildFailure) for one in found)


def _digests(source: Source, folder: Path) -> dict[str, str]:
    found = build_variants([replace(source, options=OPTIONS)], DETERMINISTIC, VariantStore(folder))
    return {one.name: one.digest if isinstance(one, Variant) else one.reason for one in found}


def test_another_process_builds_the_same_bytes(source: Source, tmp_path: Path) -> None:
    """Under another seed of Python's hashes: nothing may follow the order of a set."""
    here = _digests(source, tmp_path / "here")
    assert sum(len(digest) == 64 for digest in here.values()) >= 5
    rows = np.concatenate([row["x"] for row in source.rows])
    np.save(tmp_path / "rows.npy", rows)
    root = Path(__file__).parents[2]
    program = (
        "import sys; from pathlib import Path; import numpy as np\n"
        "from tests.variants.conftest import source_of\n"
        "from tests.variants.test_building import _digests\n"
        "source = source_of(Path(sys.argv[1]), np.load(sys.argv[2]))\n"
        "print(sorted(_digests(source, Path(sys.argv[3])).items()))\n"
    )
    arguments = [str(source.path), str(tmp_path / "rows.npy"), str(tmp_path / "there")]
    environment = os.environ | {"PYTHONHASHSEED": "12345", "PYTHONPATH": f"{root}:{root / 'src'}"}
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
        cwd=root,
    )
    assert done.stdout.strip() == str(sorted(here.items()))
