"""configuration.yaml: what is written loads as the configuration that was measured."""

from pathlib import Path

import msgspec
import pytest

from tests.tune.studies import goal, share, study, trial
from trivet.errors import SpecError
from trivet.spec.configuration import Configuration, configuration, with_service
from trivet.spec.service_file import load_configuration
from trivet.tune.lever import levers_with
from trivet.tune.recommending.written import configuration_yaml, header_lines, write_configuration

SERVICE = """
name: files
models:
  m: {file: models/tiny.onnx, files: [vocabulary.txt], levers: {max_batch_size: 4}}
data: {path: rows/d.csv, columns: {x: [a, b]}, label: y}
decode: {by: argmax, labels: labels.txt}
metric: accuracy
slo: {latency: 20ms}
tune: {levers: {threads: [1, 2]}, variants: [original]}
deployment: {workers: 1}
"""
STEPS = """
name: steps
inputs: [{name: text, datatype: BYTES, shape: [1]}]
models:
  m: {file: tiny.onnx}
pipeline:
  - {preprocess: "steps:f", outputs: [{name: x, datatype: FP32, shape: [-1, 30]}]}
  - model: m
"""


@pytest.fixture
def base(models: Path, tmp_path: Path) -> Configuration:
    home = tmp_path / "home"
    (home / "models").mkdir(parents=True)
    (home / "models" / "tiny.onnx").write_bytes((models / "tiny.onnx").read_bytes())
    (home / "vocabulary.txt").write_text("a\n")
    (home / "labels.txt").write_text("x\ny\n")
    (home / "service.yaml").write_text(SERVICE)
    return load_configuration(home / "service.yaml")


def chosen(base: Configuration) -> Configuration:
    """Every lever set."""
    model = base.service.models["m"]
    levers = levers_with(
        model.levers,
        {
            "threads": 2,
            "instances": 1,
            "execution": "thread",
            "max_batch_size": 8,
            "deferral": "2ms",
            "spinning": True,
            "queue": "10ms",
        },
    )
    changed = msgspec.structs.replace(model, levers=levers)
    return with_service(base, msgspec.structs.replace(base.service, models={"m": changed}))


def test_what_is_written_has_the_same_hash_and_the_workers(base: Configuration) -> None:
    path = Path(base.root, "configuration.yaml")
    measured = chosen(base)
    write_configuration(configuration_yaml(measured, path.parent, workers=2, header=["one"]), path)
    found = load_configuration(path)
    assert found.hash == measured.hash != base.hash
    assert found.service.models == measured.service.models
    assert found.service.deployment is not None
    assert found.service.deployment.workers == 2
    assert found.service.tune is None
    assert path.read_text().startswith("# one\nname: files\n")
    assert sorted(one.name for one in path.parent.iterdir()) == [
        "configuration.yaml",
        "labels.txt",
        "models",
        "service.yaml",
        "vocabulary.txt",
    ]


def test_every_lever_is_pinned_by_name(base: Configuration) -> None:
    text = configuration_yaml(chosen(base), Path(base.root), workers=1).text
    for line in (
        "threads: 2",
        "instances: 1",
        "execution: thread",
        "max_batch_size: 8",
        "deferral: 2ms",
        "graph_optimization: all",
        "spinning: true",
        "queue: 10ms",
    ):
        assert f"      {line}\n" in text


def test_in_another_folder_files_are_named_from_there(base: Configuration, tmp_path: Path) -> None:
    path = tmp_path / "out" / "deep" / "configuration.yaml"
    path.parent.mkdir(parents=True)
    write_configuration(configuration_yaml(base, path.parent, workers=1), path)
    found = load_configuration(path)
    assert found.hash == base.hash
    assert found.service.models["m"].file == "../../home/models/tiny.onnx"
    assert found.service.data is not None
    assert found.service.data.path == "../../home/rows/d.csv"


def with_file(base: Configuration, file: Path) -> Configuration:
    model = msgspec.structs.replace(base.service.models["m"], file=str(file))
    return configuration(msgspec.structs.replace(base.service, models={"m": model}), Path(base.root))


def test_a_variants_file_is_copied_beside(base: Configuration, models: Path, tmp_path: Path) -> None:
    store = tmp_path / "catalog" / "variants"
    (store / "abc").mkdir(parents=True)
    (store / "abc" / "int8.onnx").write_bytes((models / "centred.onnx").read_bytes())
    measured = with_file(base, store / "abc" / "int8.onnx")
    path = Path(base.root, "configuration.yaml")
    write_configuration(configuration_yaml(measured, path.parent, workers=1, store=store), path)
    (store / "abc" / "int8.onnx").unlink()
    found = load_configuration(path)
    assert found.hash == measured.hash
    digest = next(file.digest for file in measured.files if file.name.endswith("int8.onnx"))
    assert found.service.models["m"].file == f"configuration-files/{digest[:12]}/int8.onnx"


def test_weights_beside_a_model_are_copied_with_it(base: Configuration, tmp_path: Path) -> None:
    store = tmp_path / "variants"
    store.mkdir()
    (store / "model.xml").write_text("<net/>")
    (store / "model.bin").write_bytes(b"weights")
    model = msgspec.structs.replace(
        base.service.models["m"], file=str(store / "model.xml"), engine="openvino"
    )
    measured = configuration(msgspec.structs.replace(base.service, models={"m": model}), Path(base.root))
    path = Path(base.root, "configuration.yaml")
    written = configuration_yaml(measured, path.parent, workers=1, store=store)
    write_configuration(written, path)
    assert sorted(Path(name).name for name in written.copies) == ["model.bin", "model.xml"]
    assert load_configuration(path).hash == measured.hash


def test_a_file_that_changed_since_is_told_and_nothing_is_replaced(base: Configuration) -> None:
    path = Path(base.root, "configuration.yaml")
    path.write_text("before\n")
    written = configuration_yaml(base, path.parent, workers=1)
    Path(base.root, "labels.txt").write_text("other\n")
    with pytest.raises(SpecError, match="was measured: a file changed since; tune again"):
        write_configuration(written, path)
    assert path.read_text() == "before\n"
    assert not list(path.parent.glob(".*"))


def test_python_code_stays_in_its_folder(models: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny.onnx").write_bytes((models / "tiny.onnx").read_bytes())
    (tmp_path / "steps.py").write_text("def f(inputs): return inputs\n")
    (tmp_path / "service.yaml").write_text(STEPS)
    base = load_configuration(tmp_path / "service.yaml")
    path = tmp_path / "configuration.yaml"
    write_configuration(configuration_yaml(base, tmp_path, workers=1), path)
    assert load_configuration(path).hash == base.hash
    with pytest.raises(SpecError, match=r"'steps:f' is found from .*: write the configuration there"):
        configuration_yaml(base, tmp_path / "elsewhere", workers=1)


def test_the_header_says_where_it_comes_from_and_what_was_found() -> None:
    best = trial(2, 400, 20, share(0.92), variant="int8")
    made = study([best], goal(accuracy_floor=0.9), id="s-0001")
    assert header_lines(made, best, "ab" * 32) == [
        "Written by trivet tune: study s-0001, trial 2 (int8).",
        f"Configuration {'ab' * 32}.",
        "Goal: rate, p99 within 50 ms, accuracy floor 0.9, safety margin 10%.",
        "max_rate_rps: 400 [392.2, 408] (measured)",
        "latency_p99_ms: 20 [19.61, 20.4] (measured)",
        "accuracy: 0.92 [0.91, 0.93] (measured)",
        "Measure it again: trivet replay run-2",
        "See all of it: trivet report s-0001",
        "Serve it: trivet serve configuration.yaml",
    ]


def test_the_header_says_how_much_answers_may_lose() -> None:
    (best,) = trials = [trial(0, 100.0, 5.0)]
    made = study(trials, goal(accuracy_drop=0.02))
    assert "at most 2 points worse than the service as declared" in header_lines(made, best, "ab" * 32)[2]


def test_a_header_of_several_lines_stays_a_comment(base: Configuration) -> None:
    text = configuration_yaml(base, Path(base.root), workers=1, header=["a\nname: evil"]).text
    assert text.startswith("# a name: evil\nname: files\n")
