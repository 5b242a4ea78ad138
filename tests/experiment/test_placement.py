import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet.experiment.placement import parse_cores, place


def alone(core: int) -> list[int]:
    return [core]


def test_one_core_is_shared_and_said_so() -> None:
    placement = place([3], alone)
    assert (placement.generator, placement.server) == (3, (3,))
    assert "share core 3" in placement.invalid


def test_a_hardware_sibling_of_the_generator_is_left_idle_where_others_are_left() -> None:
    assert place([0, 1, 2, 3], lambda core: [core & ~1, core | 1]).server == (2, 3)


def test_with_two_threads_of_one_core_the_server_gets_the_other_one() -> None:
    assert place([0, 1], lambda core: [0, 1]).server == (1,)


def test_a_number_of_server_cores_takes_the_last() -> None:
    assert place([0, 1, 2, 3], alone, num_server_cores=2).server == (2, 3)


@given(st.sets(st.integers(0, 255), min_size=2))
def test_cores_are_disjoint_and_allowed(cores: set[int]) -> None:
    placement = place(cores, alone)
    assert placement.invalid == ""
    assert {placement.generator, *placement.server} == cores
    assert placement.generator not in placement.server


@pytest.mark.parametrize(("text", "cores"), [("0", [0]), ("0-2,5\n", [0, 1, 2, 5]), ("1,3", [1, 3])])
def test_lists_of_cores_are_read_as_the_kernel_writes_them(text: str, cores: list[int]) -> None:
    assert parse_cores(text) == cores
