import dataclasses
from collections.abc import Sequence

import msgspec
import numpy as np
import pytest

from tests.experiment.measured_support import block
from trivet.experiment.compare import paired_effects
from trivet.experiment.interleave import block_orders, interleave, parts_of
from trivet.experiment.measured import Measured
from trivet.experiment.pairs import (
    Deciding,
    block_values,
    log_ratios,
    observations,
    timed_family,
    valid_pairs,
)

SIDES = ["a", "b", "c"]


def test_every_block_holds_every_side_once_in_an_order_of_its_own() -> None:
    orders = block_orders(SIDES, 50, seed=1)
    assert all(sorted(order) == SIDES for order in orders)
    assert len({tuple(order) for order in orders}) == 6
    assert orders == block_orders(SIDES, 50, seed=1) != block_orders(SIDES, 50, seed=2)


def test_sides_are_measured_in_turn_and_a_side_that_was_cut_off_is_the_last() -> None:
    calls: list[tuple[Sequence[str], int]] = []

    def measure(order: Sequence[str], number: int) -> dict[str, Measured]:
        calls.append((order, number))
        cut = number == 1
        return {side: block([1.0] * 20, number=number, partial=cut) for side in order[: 1 if cut else 3]}

    found = interleave(SIDES, measure, num_blocks=5, seed=3)
    assert calls == [(block_orders(SIDES, 5, 3)[number], number) for number in (0, 1)]
    assert sum(len(blocks) for blocks in found.values()) == 4


@pytest.mark.parametrize(("slower", "decided_within"), [(1.3, 14), (1.0, 20)])
def test_pairs_are_looked_at_until_they_have_decided(slower: float, decided_within: int) -> None:
    rng = np.random.default_rng(5)

    def measure(order: Sequence[str], number: int) -> dict[str, Measured]:
        factors = {"a": 1.0, "b": slower}
        return {
            side: block(factors[side] * 2 * np.exp(rng.normal(0, 0.002, 60)), number=number) for side in order
        }

    found = interleave(["a", "b"], measure, num_blocks=40, seed=1, until_decided=True)
    assert len(found["a"]) == len(found["b"]) <= decided_within
    assert len(found["a"]) >= 5


def quick(order: Sequence[str], number: int) -> dict[str, Measured]:
    return {side: block([1.0] * 9, number=number) for side in order}


def test_without_the_wish_to_stop_all_blocks_are_measured() -> None:
    found = interleave(["a", "b"], quick, num_blocks=30, seed=1)
    assert [len(blocks) for blocks in found.values()] == [30, 30]


def test_invalid_and_silent_blocks_decide_nothing() -> None:
    deciding = Deciding()
    for _ in range(40):
        deciding.add([(block([1.0] * 20), block([9.0] * 20, invalid="the load generator fell behind"))])
        deciding.add([(block([1.0] * 20), block([9.0] * 20, outcomes="disconnected"))])
    assert not deciding.is_decided()


def seen_from_outside(more: float, rng: np.random.Generator) -> tuple[Measured, Measured]:
    """A pair of blocks: 2 ms a request beside so many times that, on a machine whose speed wanders by some percent."""
    a, b = (
        block(factor * 2 * np.exp(rng.normal(0, 0.012) + rng.normal(0, 0.01, 60)), cpu_ns=int(factor * 6e7))
        for factor in (1.0, more)
    )
    return a, b


def test_what_more_work_of_an_engine_shows_from_outside_is_no_equivalence() -> None:
    """Of 5 % more work in an engine some 3.5 % are seen of the whole request: decided, and as worse."""
    rng, deciding, pairs = np.random.default_rng(2), Deciding(), []
    while not deciding.is_decided():
        pairs.append(seen_from_outside(1.035, rng))
        deciding.add(pairs[-1:])
    assert 9 <= len(pairs) <= 20
    verdicts = {name: effect.verdict for name, effect in paired_effects(pairs, None).items()}
    assert "worse" in (verdicts["latency_p50_ms"], verdicts["cpu_ms_per_request"])
    assert not {"equivalent", "better"} & {verdicts["latency_p50_ms"], verdicts["cpu_ms_per_request"]}


def test_a_margin_for_all_figures_makes_the_same_pairs_equivalent() -> None:
    rng = np.random.default_rng(2)
    pairs = [seen_from_outside(1.02, rng) for _ in range(20)]
    assert paired_effects(pairs, None, margin=0.08)["latency_p50_ms"].verdict == "equivalent"
    assert paired_effects(pairs, None)["latency_p50_ms"].margin == 0.03


def test_the_comparison_says_what_ended_it() -> None:
    """Only the processor time differs: that is an end, and the comparison of those pairs says worse of it."""
    rng, deciding, pairs = np.random.default_rng(3), Deciding(), []
    while not deciding.is_decided():
        assert len(pairs) < 20
        a, b = (
            block(2 * np.exp(rng.normal(0, 0.6, 60)), cpu_ns=int(cpu * np.exp(rng.normal(0, 0.005))))
            for cpu in (6e7, 6.6e7)
        )
        pairs.append((a, b))
        deciding.add(pairs[-1:])
    assert paired_effects(pairs, None)["cpu_ms_per_request"].verdict == "worse"


def test_each_part_of_the_blocks_has_servers_of_its_own() -> None:
    calls: list[tuple[str, int]] = []

    def measure(order: Sequence[str], number: int) -> dict[str, Measured]:
        calls.extend((side, number) for side in order)
        return quick(order, number)

    interleave(
        ["a", "b"],
        measure,
        num_blocks=5,
        seed=4,
        num_starts=3,
        restart=lambda side: calls.append((side, -1)),
    )
    numbers = [number for _, number in calls]
    assert numbers == [0, 0, 1, 1, -1, -1, 2, 2, 3, 3, -1, -1, 4, 4]
    # A coin decides who is started first, too: the order of the first block behind it.
    assert [side for side, _ in calls[4:6]] == [side for side, _ in calls[6:8]] == block_orders("ab", 5, 4)[2]


@pytest.mark.parametrize(
    ("num_blocks", "num_starts", "parts"),
    [
        (5, 3, [[0, 1], [2, 3], [4]]),
        (3, 1, [[0], [1], [2]]),
        (2, 9, [[0], [1]]),
        (4, 4, [[0], [1], [2], [3]]),
    ],
)
def test_blocks_are_dealt_evenly(num_blocks: int, num_starts: int, parts: list[list[int]]) -> None:
    assert parts_of(num_blocks, num_starts) == parts


def test_starts_that_differ_are_no_difference_between_the_sides() -> None:
    """Each start has a speed of its own: blocks of one start agree on it, however many they are."""
    rng = np.random.default_rng(7)
    speeds = {(side, start): np.exp(0.03 * rng.standard_normal()) for side in "ab" for start in range(12)}

    def blocks(side: str) -> list[Measured]:
        return [
            block(2 * speeds[side, i // 4] * np.exp(rng.normal(0, 0.002, 60)), number=i, start=i // 4)
            for i in range(48)
        ]

    pairs = valid_pairs(blocks("a"), blocks("b"))
    assert len(observations(pairs, None)) == 12
    p50 = paired_effects(pairs, None)["latency_p50_ms"]
    assert p50.ratio.low < 1 < p50.ratio.high
    assert p50.verdict not in ("better", "worse")
    # Were each block counted for itself, the starts' own speeds would pass for the sides'.
    as_one_start = [(unstarted(a), unstarted(b)) for a, b in pairs]
    blind = paired_effects(as_one_start, None)["latency_p50_ms"]
    assert np.log(p50.ratio.high / p50.ratio.low) > 2 * np.log(blind.ratio.high / blind.ratio.low)


def unstarted(measured: Measured) -> Measured:
    return dataclasses.replace(measured, record=msgspec.structs.replace(measured.record, start=0))


def test_blocks_of_one_start_are_one_observation_of_what_they_all_have() -> None:
    a = [block([1.0] * 9, number=i, start=i // 2) for i in range(4)]
    b = [block([latency] * 9, number=i, start=i // 2) for i, latency in enumerate([2.0, 8.0, 1.0, 1.0])]
    found = [ratio["latency_p50_ms"] for ratio in observations(valid_pairs(a, b), None)]
    assert found == pytest.approx([np.log(4), 0.0])


def test_only_whole_and_valid_blocks_of_both_sides_are_paired_by_their_number() -> None:
    a = [block([1], number=i) for i in (0, 1, 2, 3)]
    b = [block([1], number=3), block([1], number=1, invalid="late"), block([1], number=2, partial=True)]
    assert [(x.record.block, y.record.block) for x, y in valid_pairs(a, b)] == [(3, 3)]


def test_values_of_a_block_are_counted_within_its_window() -> None:
    values = block_values(block([1, 2, 3, 4], cpu_ns=8_000_000, pss_bytes=3 << 20), slo_latency_ns=2_500_000)
    assert values["latency_p50_ms"] == 2
    assert "latency_p999_ms" not in values  # of four it is the slowest, as the p99 is
    assert values["cpu_ms_per_request"] == 2
    assert values["memory_mib"] == 3
    # Answers at 1, 3, 5 and 7 ms of a window that ends with the last intended request, at 3 ms.
    assert values["throughput_rps"] == pytest.approx(2 / 0.003, rel=1e-3)
    assert block_values(block([1], outcomes="failed"), None) == {}


def test_ratios_leave_out_what_one_side_does_not_have() -> None:
    assert log_ratios({"x": 1.0, "y": 0.0, "z": 2.0}, {"x": np.e, "y": 1.0}) == {"x": 1.0}


def test_a_p999_takes_a_thousand_answers() -> None:
    latencies = np.linspace(1, 2, 1000)
    assert block_values(block(latencies), None)["latency_p999_ms"] == pytest.approx(2, rel=1e-2)
    assert "latency_p999_ms" not in block_values(block(latencies[1:]), None)


@pytest.mark.parametrize(("slo_ms", "expected"), [(50, True), (2.5, False)])
def test_goodput_is_tested_where_it_is_not_throughput(slo_ms: float, expected: bool) -> None:
    rng = np.random.default_rng(4)
    pairs = [(block(2 + rng.random(60)), block(1 + 2 * rng.random(60))) for _ in range(3)]
    slo_ns = int(slo_ms * 1_000_000)
    family = timed_family(observations(pairs, slo_ns))
    assert family is not None
    assert ("goodput_rps" not in family.verdicts()) == expected
    effects = paired_effects(pairs, slo_ns)
    assert (effects["goodput_rps"] == effects["throughput_rps"]) == expected
