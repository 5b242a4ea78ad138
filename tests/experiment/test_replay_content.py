"""What runs were made of: files, levers, data, libraries, threads; and what only surrounds them."""

import pytest

from tests.experiment.replay_support import configuration, environment, probe, run
from trivet.catalog.code_version import CodeVersion
from trivet.catalog.machine import Processor
from trivet.experiment.replay.check_content import (
    check_content,
    check_data,
    check_environment,
    is_same_arithmetic,
    is_same_hardware,
    surroundings,
)

OTHER = "cd" * 32


def test_the_same_hash_is_the_same_whatever_the_paths() -> None:
    moved = run(configuration=configuration() | {"source": "/elsewhere/service.yaml"})
    assert check_content(run(), moved).status == "same"


def test_a_weight_is_named_by_its_file_and_digests() -> None:
    check = check_content(run(), run(configuration_hash=OTHER, configuration=configuration("2" * 64)))
    assert (check.status, [str(change) for change in check.changes]) == (
        "differs",
        [f"file m.onnx: {'1' * 12} -> {'2' * 12}"],
    )


def test_a_lever_is_named_by_itself() -> None:
    check = check_content(run(), run(configuration_hash=OTHER, configuration=configuration(max_batch_size=8)))
    assert [str(change) for change in check.changes] == ["lever max_batch_size: auto -> 8"]
    check = check_content(run(), run(configuration_hash=OTHER, configuration=configuration(threads=2)))
    assert [str(change) for change in check.changes] == ["lever threads: absent -> 2"]


def test_a_hash_that_nothing_explains_is_told_as_it_is() -> None:
    (change,) = check_content(run(), run(configuration_hash=OTHER)).changes
    assert str(change) == "configuration: abababababab -> cdcdcdcdcdcd"


def test_goals_and_lengths_are_no_change() -> None:
    changed = configuration("2" * 64)
    changed["service"] |= {"slo": {"latency": 5}, "data": {"path": "b.csv"}, "name": "other"}
    changed["service"]["models"]["m"]["lengths"] = [3]
    check = check_content(run(), run(configuration_hash=OTHER, configuration=changed))
    assert [change.what for change in check.changes] == ["file m.onnx"]


def test_a_server_that_ran_already_has_no_content() -> None:
    there = run(configuration_hash="", configuration={"target": "http://x"})
    assert check_content(there, there).status == "not compared"


@pytest.mark.parametrize("key", ["digest", "split", "requests_digest"])
def test_other_data_is_named(key: str) -> None:
    changed = run(dataset=run().dataset | {key: "e" * 64})
    assert [change.what for change in check_data(run(), changed).changes] == [f"data {key}"]
    assert check_data(run(), run()).status == "same"


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"packages": {"numpy": "2.1.0", "onnxruntime": "1.20.0"}}, "library numpy: 2.0.0 -> 2.1.0"),
        ({"packages": {"onnxruntime": "1.20.0"}}, "library numpy: 2.0.0 -> absent"),
        ({"threads": {"OMP_NUM_THREADS": "4"}}, "threads OMP_NUM_THREADS: absent -> 4"),
        ({"python": "CPython 3.12.5"}, "python: CPython 3.12.4 -> CPython 3.12.5"),
        ({"trivet": "0.2.0"}, "trivet: 0.1.0 -> 0.2.0"),
    ],
)
def test_libraries_threads_and_python_differ_by_name(changed: dict[str, object], named: str) -> None:
    check = check_environment(environment(), environment(**changed))
    assert (check.status, [str(change) for change in check.changes]) == ("differs", [named])


def test_a_package_that_the_server_never_imports_is_no_change() -> None:
    now = environment(packages={"numpy": "2.0.0", "onnxruntime": "1.20.0", "pytest": "9.0"})
    assert check_environment(environment(), now, ["numpy", "onnxruntime"]).status == "same"
    assert check_environment(environment(), now).status == "differs"


def test_another_build_of_a_library_is_named_and_one_that_is_not_imported_is_none() -> None:
    then, now = (environment(contents={"numpy": f"sha256:{digit * 64}"}) for digit in "ab")
    check = check_environment(then, now, ["numpy"])
    assert check.status == "differs"
    assert str(check.changes[0]) == f"files of library numpy: {'a' * 12} -> {'b' * 12}"
    assert check_environment(then, now, ["onnxruntime"]).status == "same"
    assert not is_same_arithmetic(then, now, ["numpy"])


def test_trivet_as_a_package_is_told_by_its_own_field() -> None:
    now = environment(packages=environment().packages | {"trivet": "0.1.0"})
    assert check_environment(environment(), now).status == "same"


@pytest.mark.parametrize(
    "changed",
    [
        {"kernel": "6.2"},
        {"code": CodeVersion(commit="c")},
        {"trivet_code": CodeVersion(commit="c")},
        {"memory_mib": 9},
    ],
)
def test_what_surrounds_a_run_is_told_and_is_no_difference(changed: dict[str, object]) -> None:
    now = environment(**changed)
    check = check_environment(environment(), now)
    field = next(iter(changed))
    assert (check.status, field in check.detail) == ("same", True)
    assert [change.what.partition(".")[0] for change in surroundings(environment(), now)] == [field]


def test_noise_is_neither() -> None:
    now = environment(noise_before=probe(200), host="other")
    assert surroundings(environment(), now) == ()


def test_other_hardware_is_another_processor_or_number_of_cores() -> None:
    assert is_same_hardware(environment(), environment(kernel="6.2"))
    assert not is_same_hardware(environment(), environment(processor=Processor(model="Y", flags=("a", "b"))))
    assert not is_same_hardware(environment(), environment(processor=Processor(model="X", flags=("a",))))
    assert not is_same_hardware(environment(), environment(pinning={"generator": (0,), "server": (1, 2)}))


def test_bits_are_expected_only_of_the_same_hardware_and_libraries() -> None:
    assert is_same_arithmetic(environment(), environment(kernel="6.2"))
    assert not is_same_arithmetic(environment(), environment(python="CPython 3.11.1"))
    assert not is_same_arithmetic(environment(), environment(architecture="arm64"))
