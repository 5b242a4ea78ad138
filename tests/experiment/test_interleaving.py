import numpy as np
import pytest

from tests.experiment.measured_support import block
from trivet.experiment.interleave import block_orders, interleave
from trivet.experiment.measured import Measured
from trivet.experiment.pairs import Deciding, block_values, log_ratios, valid_pairs

SIDES = ["a", "b", "c"]


def test_every_block_holds_every_side_once_in_an_order_of_its_own() -> None:
    orders = block_orders(SIDES, 50, seed=1)
    assert all(sorted(order) == SIDES for order in orders)
    assert len({tuple(order) for order in orders}) == 6
    assert orders == block_orders(SIDES, 50, seed=1) != block_orders(SIDES, 50, seed=2)


def test_sides_are_measured_in_turn_and_a_side_that_was_cut_off_is_the_last() -> None:
    calls: list[tuple[str, int]] = []

    def measure(side: str, number: int) -> Measured:
        calls.append((side, number))
        return block([1.0] * 20, number=number, partial=len(calls) == 4)

    found = interleave(SIDES, measure, num_blocks=5, seed=3)
    assert calls == [(side, 0) for side in block_orders(SIDES, 5, 3)[0]] + [
        (block_orders(SIDES, 5, 3)[1][0], 1)
    ]
    assert sum(len(blocks) for blocks in found.values()) == 4


@pytest.mark.parametrize(("slower", "decided_within"), [(1.3, 14), (1.0, 20)])
def test_pairs_are_looked_at_until_they_have_decided(slower: float, decided_within: int) -> None:
    rng = np.random.default_rng(5)

    def measure(side: str, number: int) -> Measured:
        factor = slower if side == "b" else 1.0
        return block(factor * 2 * np.exp(rng.normal(0, 0.002, 60)), number=number)

    found = interleave(["a", "b"], measure, num_blocks=40, seed=1, until_decided=True)
    assert len(found["a"]) == len(found["b"]) <= decided_within
    assert len(found["a"]) >= 5


def test_without_the_wish_to_stop_all_blocks_are_measured() -> None:
    found = interleave(
        ["a", "b"], lambda side, number: block([1.0] * 9, number=number), num_blocks=30, seed=1
    )
    assert [len(blocks) for blocks in found.values()] == [30, 30]


def test_invalid_and_silent_blocks_decide_nothing() -> None:
    deciding = Deciding()
    for _ in range(40):
        deciding.add(block([1.0] * 20), block([9.0] * 20, invalid="the load generator fell behind"))
        deciding.add(block([1.0] * 20), block([9.0] * 20, outcomes="disconnected"))
    assert not deciding.is_decided()


def test_only_whole_and_valid_blocks_of_both_sides_are_paired_by_their_number() -> None:
    a = [block([1], number=i) for i in (0, 1, 2, 3)]
    b = [block([1], number=3), block([1], number=1, invalid="late"), block([1], number=2, partial=True)]
    assert [(x.record.block, y.record.block) for x, y in valid_pairs(a, b)] == [(3, 3)]


def test_values_of_a_block_are_counted_within_its_window() -> None:
    values = block_values(block([1, 2, 3, 4], cpu_ns=8_000_000, pss_bytes=3 << 20), slo_latency_ns=2_500_000)
    assert values["latency_p50_ms"] == 2
    assert values["latency_p999_ms"] == 4
    assert values["cpu_ms_per_request"] == 2
    assert values["memory_mib"] == 3
    # Answers at 1, 3, 5 and 7 ms of a window that ends with the last intended request, at 3 ms.
    assert values["throughput_rps"] == pytest.approx(2 / 0.003, rel=1e-3)
    assert block_values(block([1], outcomes="failed"), None) == {}


def test_ratios_leave_out_what_one_side_does_not_have() -> None:
    assert log_ratios({"x": 1.0, "y": 0.0, "z": 2.0}, {"x": np.e, "y": 1.0}) == {"x": 1.0}
