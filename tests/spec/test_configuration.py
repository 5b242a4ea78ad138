"""The content hash: what changes it and what does not."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import models
from trivet.errors import SpecError
from trivet.spec.configuration import Configuration, configuration, hashed_content
from trivet.spec.service_file import load_configuration, load_service

TEXT = """\
name: intent
models:
  encoder:
    file: encoder.onnx
    files: [tokenizer.json]
    levers: {max_batch_size: 16, deferral: 1.5ms}
  reranker:
    python: rerank.py:Reranker
pipeline:
  - {preprocess: "steps.py:tokenize", files: [vocab.txt]}
  - {model: encoder}
  - {model: reranker}
  - {postprocess: "steps:pool"}
slo: {percentile: 99, deadline: 100ms, latency: 50ms}
priorities: {default: 2, min_share: 0.05}
decode: {by: "judge.py:decode", labels: labels.txt}
metric: judge.py:score
"""
FILES = ("tokenizer.json", "vocab.txt", "steps.py", "rerank.py", "judge.py", "labels.txt")


def folder(path: Path, text: str = TEXT) -> Path:
    """A service with a file of every kind."""
    path.mkdir(exist_ok=True)
    onnx.save(
        models.matmul(),
        path / "encoder.onnx",
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    for name in FILES:
        (path / name).write_text(f"# {name}\n")
    (path / "service.yaml").write_text(text)
    return path / "service.yaml"


def hash_of(path: Path, text: str = TEXT) -> str:
    return load_configuration(folder(path, text)).hash


def flip_one_bit(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def test_the_same_declaration_has_the_same_hash_everywhere(tmp_path: Path) -> None:
    here, there = hash_of(tmp_path / "a"), hash_of(tmp_path / "b")
    assert here == there
    assert len(here) == 64


def test_the_format_of_the_hash_is_pinned(tmp_path: Path) -> None:
    """A change here gives every recorded configuration a new hash: raise FORMAT and say so."""
    (tmp_path / "m.onnx").write_bytes(b"\x08\x01")
    configured = load_configuration(tmp_path / "m.onnx")
    assert configured.hash == "118a77b3070686fa87495c3995a677b0d14d880ab560e5f02bc0cdea1c5379e9"
    assert configured.hash.startswith(configured.short_hash)
    assert len(configured.short_hash) == 12


@pytest.mark.parametrize("name", ["encoder.onnx", "weights.bin", *FILES])
def test_one_flipped_bit_in_any_file_changes_the_hash(tmp_path: Path, name: str) -> None:
    path = folder(tmp_path / "a")
    before = load_configuration(path).hash
    if name == "encoder.onnx":  # a bit of its metadata: the structure stays readable
        data = (path.parent / name).read_bytes()
        (path.parent / name).write_bytes(data.replace(b"trivet-benchmarks", b"trivet-benchmarkr"))
    else:
        flip_one_bit(path.parent / name)
    after = load_configuration(path).hash
    assert before != after


def test_renamed_and_moved_files_leave_the_hash_alone(tmp_path: Path) -> None:
    before = hash_of(tmp_path / "a")
    path = folder(tmp_path / "b")
    moves = {
        "tokenizer.json": "text/tok.json",
        "vocab.txt": "words.txt",
        "rerank.py": "code/second.py",
        "judge.py": "truth.py",
        "labels.txt": "names.txt",
        "encoder.onnx": "nets/e.onnx",
        "weights.bin": "nets/weights.bin",  # the model names its data relative to itself
    }
    text = TEXT
    for old, new in moves.items():
        (path.parent / new).parent.mkdir(exist_ok=True)
        (path.parent / old).rename(path.parent / new)
        text = text.replace(old, new)
    moved = path.with_name("other.yaml")
    moved.write_text(text)
    assert before == load_configuration(moved).hash


def test_a_bare_models_hash_does_not_know_its_name(tmp_path: Path) -> None:
    for name in ("a", "b"):
        models.write(models.tiny(), tmp_path / f"{name}.onnx")
    (tmp_path / "c.yaml").write_text("name: other\nmodels: {main: {file: a.onnx}}")
    hashes = {load_configuration(tmp_path / name).hash for name in ("a.onnx", "b.onnx", "c.yaml")}
    assert len(hashes) == 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("name: intent\n", ""),
        ("name: intent\n", "# a comment\nname: 'intent'\n\n"),
        ("deferral: 1.5ms", "deferral: 1500us"),
        ("max_batch_size: 16, deferral: 1.5ms", "deferral: 1.5ms, max_batch_size: 0x10"),
        ("min_share: 0.05", "min_share: 5e-2"),
        ("percentile: 99, ", ""),
        ("percentile: 99, ", "percentile: 99.0, throughput: 300, "),
        ("latency: 50ms", "latency: 60ms"),
        ("default: 2, ", ""),
        ("encoder", "first"),
        ("reranker", "second"),
        ('"steps:pool"', "steps.py:pool"),
        ("metric:", "data: {path: none.csv}\nmetric:"),
        (
            "levers: {",
            "engine: onnxruntime\n    providers: [cpu]\n    levers: {threads: auto, spinning: false, ",
        ),
    ],
)
def test_how_it_is_written_does_not_matter(tmp_path: Path, old: str, new: str) -> None:
    assert old in TEXT
    text = TEXT.replace(old, new).replace("first.onnx", "encoder.onnx")
    assert hash_of(tmp_path / "a") == hash_of(tmp_path / "b", text)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("max_batch_size: 16", "max_batch_size: 17"),
        ("max_batch_size: 16", "max_batch_size: auto"),
        ("deferral: 1.5ms", "deferral: 1.6ms"),
        ("levers: {", "batching: on\n    levers: {"),
        ("rerank.py:Reranker", "rerank.py:Other"),
        ("  - {model: encoder}\n  - {model: reranker}\n", "  - {model: reranker}\n  - {model: encoder}\n"),
        ("deadline: 100ms", "deadline: 101ms"),
        ("min_share: 0.05", "min_share: 0.06"),
        ('"judge.py:decode"', "argmax"),
        ("judge.py:score", "accuracy"),
        ("labels: labels.txt", "labels: [a]"),
        ("[tokenizer.json]", "[tokenizer.json, vocab.txt]"),
    ],
)
def test_what_it_says_does_matter(tmp_path: Path, old: str, new: str) -> None:
    assert old in TEXT
    assert hash_of(tmp_path / "a") != hash_of(tmp_path / "b", TEXT.replace(old, new))


def test_files_with_exchanged_contents_are_another_configuration(tmp_path: Path) -> None:
    path = folder(tmp_path / "a", TEXT.replace("[tokenizer.json]", "[tokenizer.json, vocab.txt]"))
    before = load_configuration(path).hash
    one, other = path.with_name("tokenizer.json"), path.with_name("vocab.txt")
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    assert before != load_configuration(path).hash


def test_a_models_digest_is_its_own(tmp_path: Path) -> None:
    path = folder(tmp_path / "a")
    before = load_configuration(path)
    flip_one_bit(path.with_name("rerank.py"))
    after = load_configuration(path)
    assert before.model_digest("encoder") == after.model_digest("encoder")
    assert before.model_digest("reranker") != after.model_digest("reranker")


def test_a_native_model_has_a_path_and_python_code_has_none(tmp_path: Path) -> None:
    configured = load_configuration(folder(tmp_path / "a"))
    assert tmp_path / "a" / "encoder.onnx" == configured.model_path("encoder")
    with pytest.raises(SpecError, match="model 'reranker' is Python code"):
        configured.model_path("reranker")


def test_a_configuration_travels_between_processes_unchanged(tmp_path: Path) -> None:
    configured = load_configuration(folder(tmp_path / "a"))
    encoded = msgspec.msgpack.encode(configured)
    assert configured == msgspec.msgpack.decode(encoded, type=Configuration)
    assert configured == msgspec.json.decode(msgspec.json.encode(configured), type=Configuration)


@pytest.mark.parametrize(
    ("remove", "message"),
    [
        ("encoder.onnx", "service.yaml:4: no file 'encoder.onnx' in"),
        ("weights.bin", "service.yaml:4: no file 'weights.bin' in"),
        ("tokenizer.json", "service.yaml:5: no file 'tokenizer.json' in"),
        ("rerank.py", "service.yaml:8: no file 'rerank.py' in"),
        ("vocab.txt", "service.yaml:10: no file 'vocab.txt' in"),
        ("labels.txt", "service.yaml:16: no file 'labels.txt' in"),
        ("judge.py", "service.yaml:16: no file 'judge.py' in"),
    ],
)
def test_a_missing_file_is_told_with_the_line_that_names_it(
    tmp_path: Path, remove: str, message: str
) -> None:
    path = folder(tmp_path / "a")
    path.with_name(remove).unlink()
    with pytest.raises(SpecError) as caught:
        load_configuration(path)
    assert message in str(caught.value)


def test_a_module_is_found_beside_the_service_file_only(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("models: {m: {python: 'text.steps:f'}}")
    with pytest.raises(SpecError, match=r"s.yaml:1: no module 'text.steps' beside the service file"):
        load_configuration(path)
    (tmp_path / "text" / "steps").mkdir(parents=True)
    (tmp_path / "text" / "steps" / "__init__.py").write_text("def f(): ...")
    package = load_configuration(path).hash
    (tmp_path / "text" / "steps.py").write_text("def f(): ...")
    assert package == load_configuration(path).hash


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    path = folder(tmp_path / "a", TEXT.replace("[tokenizer.json]", "[.]"))
    with pytest.raises(SpecError, match=r"service.yaml:5: '.' is a folder; name its files"):
        load_configuration(path)


def test_the_weights_beside_an_openvino_model_count(tmp_path: Path) -> None:
    (tmp_path / "m.xml").write_text("<net/>")
    (tmp_path / "m.bin").write_bytes(b"weights")
    (tmp_path / "s.yaml").write_text("models: {m: {file: m.xml, engine: openvino}}")
    before = load_configuration(tmp_path / "s.yaml").hash
    flip_one_bit(tmp_path / "m.bin")
    assert before != load_configuration(tmp_path / "s.yaml").hash


def test_no_path_and_no_name_is_part_of_the_content(tmp_path: Path) -> None:
    path = folder(tmp_path / "a")
    digests = {file.name: [file.digest] for file in load_configuration(path).files}
    content = msgspec.json.encode(hashed_content(load_service(path), digests)).decode()
    for word in (str(tmp_path), "intent", "encoder", "tokenizer", ".py", ".txt", ".onnx"):
        assert word not in content


LEVERS: dict[str, Callable[[int], str]] = {
    "threads": lambda n: f"{n}",
    "instances": lambda n: f"{n}",
    "max_batch_size": lambda n: f"{n}",
    "deferral": lambda n: f"{n}us",
    "queue": lambda n: f"{n}us",
}


@given(
    one=st.dictionaries(st.sampled_from(sorted(LEVERS)), st.integers(1, 3)),
    other=st.dictionaries(st.sampled_from(sorted(LEVERS)), st.integers(1, 3)),
)
def test_hashes_are_equal_exactly_when_the_levers_are(
    tmp_path_factory: pytest.TempPathFactory, one: dict[str, int], other: dict[str, int]
) -> None:
    base = tmp_path_factory.getbasetemp()
    (base / "m.onnx").write_bytes(b"\x08\x01")
    hashes = []
    for levers in (one, other):
        body = "".join(f"      {key}: {LEVERS[key](value)}\n" for key, value in levers.items())
        (base / "s.yaml").write_text(
            "models:\n  m:\n    file: m.onnx\n" + ("    levers:\n" + body if body else "")
        )
        service = load_service(base / "s.yaml")
        hashes.append(configuration(service, base).hash)
    assert (one == other) == (hashes[0] == hashes[1])


def test_what_the_profile_measures_is_not_part_of_the_hash(tmp_path: Path) -> None:
    before = hash_of(tmp_path / "a")
    path = folder(
        tmp_path / "b", TEXT.replace("    file: encoder.onnx", "    file: encoder.onnx\n    lengths: [8]")
    )
    changed = load_configuration(path)
    assert (changed.hash, changed.service.models["encoder"].lengths) == (before, (8,))
    assert changed.source == str(path)


def test_a_digest_of_the_first_stages_knows_all_that_they_are_made_of(tmp_path: Path) -> None:
    def digests(path: Path) -> list[str]:
        configured = load_configuration(path)
        return [configured.stages_digest(count) for count in range(5)]

    path = folder(tmp_path / "a")
    before = digests(path)
    assert len(set(before)) == 5
    flip_one_bit(path.parent / "rerank.py")  # the model of the third stage
    after = digests(path)
    assert [one == other for one, other in zip(before, after, strict=True)] == [True] * 3 + [False] * 2
