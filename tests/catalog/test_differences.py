"""In what do two environments differ? Causes and noise are told apart."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.catalog.catalog_support import draft
from trivet.catalog.conditions import Conditions
from trivet.catalog.environment import Environment, differences
from trivet.catalog.machine import Processor
from trivet.catalog.noise import Noise
from trivet.catalog.run_differences import run_differences

BASE = Environment(
    packages={"numpy": "2.0", "onnxruntime": "1.20"},
    kernel="6.1",
    host="a",
    processor=Processor(model="x", flags=("avx", "fma", "sse2")),
    threads={"OMP_NUM_THREADS": "2"},
    pinning={"server": (1,)},
    load={"average_1min": 0.2, "average_5min": 3.0, "runnable": 1},
    conditions=Conditions(elapsed_s=10, steal_share=0.001, busy_share=0.9, frequency_mhz=(2000, 2500)),
    noise_before=Noise(core=1, piece_us=100, jitter=0.02, longest_us=200, steal_share=0),
)


def changed(**fields: Any) -> Environment:
    return msgspec.structs.replace(BASE, **fields)


def told(other: Environment) -> list[tuple[str, Any, Any, bool]]:
    return [(d.field, d.a, d.b, d.is_noise) for d in differences(BASE, other)]


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (changed(), []),
        (changed(kernel="6.2"), [("kernel", "6.1", "6.2", False)]),
        (
            changed(packages={"numpy": "2.1", "scipy": "1.14"}),
            [
                ("packages.numpy", "2.0", "2.1", False),
                ("packages.onnxruntime", "1.20", None, False),
                ("packages.scipy", None, "1.14", False),
            ],
        ),
        (
            changed(processor=Processor(model="x", flags=("avx", "avx2", "sse2"))),
            [("processor.flags", ["fma"], ["avx2"], False)],
        ),
        (changed(threads={}), [("threads.OMP_NUM_THREADS", "2", None, False)]),
        (changed(pinning={"server": (0,)}), [("pinning.server", [1], [0], False)]),
        (changed(host="b"), [("host", "a", "b", True)]),
        (changed(load={"average_1min": 0.6, "average_5min": 9.0, "runnable": 3}), []),
        (
            changed(load={"average_1min": 0.8, "average_5min": 3.0, "runnable": 1}),
            [("load.average_1min", 0.2, 0.8, True)],
        ),
    ],
)
def test_the_fields_that_differ_are_named(other: Environment, expected: list[Any]) -> None:
    assert told(other) == expected


def test_noise_within_its_tolerance_is_not_named() -> None:
    near = Conditions(elapsed_s=11, steal_share=0.008, busy_share=0.2, frequency_mhz=(1950, 2550))
    noise = Noise(core=0, piece_us=103, jitter=0.1, longest_us=3000, steal_share=0.01)
    assert told(changed(conditions=near, noise_before=noise)) == []


def test_noise_beyond_it_is_named_after_the_causes() -> None:
    far = Conditions(
        elapsed_s=10,
        steal_share=0.05,
        busy_share=0.9,
        frequency_mhz=(1000, 2500),
        others={"gcc": 0.8, "sh": 0.02},
    )
    noise = Noise(core=1, piece_us=110, jitter=0.5, longest_us=90_000, steal_share=0.2)
    fields = [
        (field, is_noise)
        for field, _, _, is_noise in told(changed(conditions=far, noise_before=noise, kernel="7"))
    ]
    assert fields == [
        ("kernel", False),
        ("conditions.frequency_mhz", True),
        ("conditions.others.gcc", True),
        ("conditions.steal_share", True),
        ("noise_before.jitter", True),
        ("noise_before.longest_us", True),
        ("noise_before.piece_us", True),
        ("noise_before.steal_share", True),
    ]


def test_a_difference_reads_as_one_line() -> None:
    lines = [str(found) for found in differences(BASE, changed(kernel="7", threads={}))]
    assert lines == ["kernel: 6.1 -> 7", "threads.OMP_NUM_THREADS: 2 -> absent"]
    flags = changed(processor=Processor(model="x", flags=("avx", "fma", "sse2", "vnni")))
    assert [str(found) for found in differences(BASE, flags)] == ["processor.flags: none -> vnni"]


versions = st.dictionaries(st.sampled_from("abcd"), st.sampled_from(["1", "2"]))


@given(a=versions, b=versions)
def test_exactly_the_packages_that_differ_are_named_and_both_ways_mirror(
    a: dict[str, str], b: dict[str, str]
) -> None:
    one, other = Environment(packages=a), Environment(packages=b)
    found = differences(one, other)
    expected = sorted(name for name in a.keys() | b.keys() if a.get(name) != b.get(name))
    assert [d.field for d in found] == [f"packages.{name}" for name in expected]
    assert [(d.b, d.a) for d in found] == [(d.a, d.b) for d in differences(other, one)]


def test_two_runs_differ_in_what_was_asked_for_and_in_the_environment() -> None:
    pipeline = [{"model": "a"}, {"postprocess": "f.py:g"}]
    one = draft(
        configuration={"pipeline": pipeline, "levers": {"batch": 8}}, seeds={"arrivals": 1}, environment=BASE
    )
    other = draft(
        configuration={"pipeline": [pipeline[0], {"postprocess": "f.py:h"}], "levers": {"batch": 8}},
        configuration_hash="cd" * 32,
        seeds={"arrivals": 2},
        tags={"who": "cares"},
        environment=changed(kernel="7", host="b"),
    )
    assert [(d.field, d.is_noise) for d in run_differences(one, other)] == [
        ("configuration.pipeline.1.postprocess", False),
        ("configuration_hash", False),
        ("seeds.arrivals", False),
        ("environment.kernel", False),
        ("environment.host", True),
    ]
    assert run_differences(one, one) == []
