from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks._harness import (
    BlockRecord,
    Comparison,
    Environment,
    Measurement,
    block_orders,
    compare,
    comparison_table,
    load_comparison,
    markdown_table,
    measurement_of,
)
from benchmarks._records import newest_comparison
from trivet.load.result import Generator, Result
from trivet.spec.row import Row, RowColumns, RowsHeader
from trivet.stats.paired import ratio_of_paired_blocks

S = 1_000_000_000
MACHINE = Environment(
    date="2026-11-01T00:00:00Z",
    processor="P",
    cores=[0, 1],
    kernel="6",
    python="3.11",
    packages={"numpy": "2"},
)


@given(num_sides=st.integers(1, 5), num_blocks=st.integers(0, 9), seed=st.integers(0, 99))
def test_each_block_holds_each_side_once_and_turns_the_order_around(
    num_sides: int, num_blocks: int, seed: int
) -> None:
    sides = [f"side{i}" for i in range(num_sides)]
    orders = block_orders(sides, num_blocks, seed)
    assert len(orders) == num_blocks
    assert all(sorted(order) == sides for order in orders)
    for there, back in zip(orders[::2], orders[1::2], strict=False):
        assert back == there[::-1]
    assert orders == block_orders(sides, num_blocks, seed)


def test_two_sides_do_not_always_start_with_the_same_one() -> None:
    assert {tuple(order) for order in block_orders(["a", "b"], 20, seed=1)[::2]} == {("a", "b"), ("b", "a")}


def test_all_sides_of_a_block_get_its_seed_and_each_measurement_is_on_disk(tmp_path: Path) -> None:
    calls: list[tuple[str, int]] = []

    def side(name: str, rps: float) -> object:
        def measure(seed: int) -> Measurement:
            calls.append((name, seed))
            return Measurement(values={"rps": rps + seed})

        return measure

    sides = {"a": side("a", 200), "b": side("b", 100)}
    comparison = compare("question", sides, num_blocks=3, seed=10, settings={"warm-up": "1 s"}, out=tmp_path)
    assert sorted(calls) == [("a", 10), ("a", 11), ("a", 12), ("b", 10), ("b", 11), ("b", 12)]
    assert comparison.values("a", "rps") == [210, 211, 212]
    assert comparison.ratio("a", "b", "rps") == ratio_of_paired_blocks([210, 211, 212], [110, 111, 112])
    (path,) = (tmp_path / "question").glob("*.jsonl")
    assert load_comparison(path) == comparison


def comparison_of(*blocks: dict[str, Measurement]) -> Comparison:
    records = [
        BlockRecord(block=i, position=0, side=side, date="", load_average=0, measurement=measurement)
        for i, block in enumerate(blocks)
        for side, measurement in block.items()
    ]
    return Comparison("question", MACHINE, 7, {"warm-up": "1 s"}, records)


def test_an_invalid_measurement_takes_its_block_from_every_side() -> None:
    fine = {"a": Measurement(values={"rps": 2}), "b": Measurement(values={"rps": 1})}
    broken = {"a": Measurement(values={"rps": 9}), "b": Measurement(values={}, invalid="fell behind")}
    comparison = comparison_of(fine, broken, fine)
    assert comparison.values("a", "rps") == [2, 2]
    assert comparison.invalid_blocks() == {1: "b: fell behind"}
    ratio = comparison.ratio("a", "b", "rps")
    assert (ratio.estimate, ratio.num_blocks) == (2, 2)
    assert comparison.preface().splitlines() == [
        "- 2026-11-01, P, 2 cores, Linux 6, Python 3.11; numpy 2",
        "- seed 7; warm-up 1 s",
        "- 3 interleaved blocks, 1 of them invalid and left out",
        "  - block 1: b: fell behind",
    ]


def result_of(rows: list[Row], invalid: str = "") -> Result:
    generator = Generator(
        num_sent=4,
        num_waited=1,
        send_lag_p50_ns=1,
        send_lag_p99_ns=3,
        send_lag_max_ns=5,
        busy_share=0.25,
        cpu_share=1.0,
        invalid=invalid,
    )
    message = RowColumns.of_rows(RowsHeader(writer="test"), rows).encode()
    return Result(rows=message, generator=generator, start_ns=0, measured_from_ns=1 * S, end_ns=9 * S)


def test_figures_count_from_the_warm_up_to_the_last_intended_send() -> None:
    def row(intended_s: float, latency_s: float, outcome: str = "ok") -> Row:
        intended_ns = int(intended_s * S)
        return Row(intended_ns=intended_ns, done_ns=intended_ns + int(latency_s * S), outcome=outcome)

    rows = [row(0.5, 0.1), row(1, 0.5), row(2, 0.25, "late"), row(2.5, 0.001, "refused"), row(3, 0.125)]
    measured = measurement_of(result_of(rows), cpu_ns=8, pss_bytes=3 * 2**20)
    assert measured.invalid == ""
    assert measured.values == {
        "num_requests": 4,
        "throughput_rps": 1.0,  # two results within 2 s; the third came after the last send
        "goodput_rps": 0.5,
        "error_share": 0.25,
        "num_failed": 1,
        "refused_share": 0.25,
        "refused_p50_ns": 0.001 * S,
        "dropped_share": 0,
        "p50_ns": 0.25 * S,
        "p90_ns": 0.5 * S,
        "p99_ns": 0.5 * S,
        "send_lag_p99_ns": 3,
        "client_busy_share": 0.25,
        "num_waited": 1,
        "cpu_ns_per_request": 2,
        "pss_mib": 3,
    }


def test_who_refuses_gets_no_shorter_tail() -> None:
    rows = [Row(intended_ns=2 * S, done_ns=2 * S + ms * S // 1000) for ms in range(1, 10)]
    rows.append(Row(intended_ns=3 * S, done_ns=3 * S + 1, outcome="refused"))
    measured = measurement_of(result_of(rows), keep_latencies=True, failed_ns=5 * S)
    assert (measured.values["p50_ns"], measured.values["p99_ns"]) == (0.005 * S, 5 * S)
    assert measured.samples["latency_ns"] == [ms * S / 1000 for ms in range(1, 10)] + [5 * S]
    assert measurement_of(result_of(rows)).values["p99_ns"] == 0.009 * S


def test_a_run_that_is_invalid_or_empty_says_so() -> None:
    late_client = measurement_of(result_of([Row(intended_ns=2 * S, done_ns=3 * S)], invalid="fell behind"))
    assert late_client.invalid == "fell behind"
    assert "no request" in measurement_of(result_of([Row(intended_ns=0, done_ns=1)])).invalid


def test_latencies_are_absent_where_nothing_was_answered() -> None:
    rows = [Row(intended_ns=i * S, done_ns=9 * S, outcome="unanswered") for i in (2, 3)]
    values = measurement_of(result_of(rows)).values
    assert values["error_share"] == 1
    assert "p50_ns" not in values


def test_a_table_is_markdown_with_figures_to_the_right() -> None:
    expected = "| peer | rps |\n| --- | ---: |\n| a | 1 |\n| b | 2 |"
    assert markdown_table(["peer", "rps"], [["a", 1], ["b", 2]]) == expected


def test_records_of_a_newer_writer_are_read() -> None:
    record = msgspec.json.encode(comparison_of({"a": Measurement(values={})}).records[0])
    newer = record[:-1] + b',"temperature":40}'
    assert msgspec.json.decode(newer, type=BlockRecord) == msgspec.json.decode(record, type=BlockRecord)


def test_a_comparison_of_unmeasured_metrics_is_an_error() -> None:
    with pytest.raises(KeyError, match="p99_ns"):
        comparison_of({"a": Measurement(values={})}).values("a", "p99_ns")


def test_the_table_of_a_comparison_shows_spread_and_ratio() -> None:
    blocks = [
        {"a": Measurement(values={"p50_ns": a}), "b": Measurement(values={"p50_ns": 1e6})} for a in (2e6, 2e6)
    ]
    table = comparison_table(comparison_of(*blocks), "p50_ns", "b", unit="ms", scale=1e6)
    assert table.splitlines() == [
        "| p50_ns, ms | least | median | most | ratio to b [95 %] |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| a | 2 | 2 | 2 | 2.000 [2.000, 2.000] |",
        "| b | 1 | 1 | 1 | 1 |",
    ]


def counting(name: str, calls: list[tuple[str, int]], stop_at: int | None = None) -> object:
    def measure(seed: int) -> Measurement:
        if stop_at is not None and seed >= stop_at:
            raise KeyboardInterrupt
        calls.append((name, seed))
        return Measurement(values={"rps": seed}, samples={"latency_ns": [seed]})

    return measure


def test_a_run_that_was_stopped_goes_on_with_what_is_missing(tmp_path: Path) -> None:
    calls: list[tuple[str, int]] = []
    stopped = {"a": counting("a", calls, stop_at=12), "b": counting("b", calls)}
    settings = {"num_blocks": 4, "seed": 10, "settings": {"model": "m"}, "out": tmp_path}
    with pytest.raises(KeyboardInterrupt):
        compare("question", lambda found: stopped, calibrate=lambda: {"capacity": 3}, **settings)
    (path,) = (tmp_path / "question").glob("*.jsonl")
    with path.open("ab") as file:
        file.write(b'{"block":2,"si')  # it was stopped while it wrote
    whole = {"a": counting("a", calls), "b": counting("b", calls)}
    seen = []
    comparison = compare("question", lambda found: seen.append(found) or whole, resume=True, **settings)
    assert sorted(calls) == [(side, seed) for side in "ab" for seed in (10, 11, 12, 13)]
    assert seen == [{"capacity": 3}]  # as it was calibrated at first
    assert comparison.values("a", "rps") == [10, 11, 12, 13]
    assert load_comparison(path) == comparison
    again = compare("question", whole, resume=True, **settings)
    assert (again, len(calls)) == (comparison, 8)


def test_other_settings_start_a_record_of_their_own(tmp_path: Path) -> None:
    calls: list[tuple[str, int]] = []
    sides = {"a": counting("a", calls)}
    compare("question", sides, num_blocks=1, seed=1, settings={"model": "m"}, out=tmp_path)
    compare("question", sides, num_blocks=1, seed=1, settings={"model": "n"}, out=tmp_path, resume=True)
    assert len(calls) == 2


def test_a_block_that_lacks_a_side_is_not_whole() -> None:
    fine = {"a": Measurement(values={"rps": 2}), "b": Measurement(values={"rps": 1})}
    cut = comparison_of(fine, fine, {"a": Measurement(values={"rps": 9})})
    assert (cut.num_blocks(), cut.complete().num_blocks()) == (3, 2)


def test_the_newest_record_with_enough_whole_valid_blocks_is_taken(tmp_path: Path) -> None:
    def record(num_blocks: int, value: float, invalid: str = "") -> None:
        side = {"a": lambda _seed: Measurement(values={"rps": value}, invalid=invalid)}
        compare("question", side, num_blocks=num_blocks, seed=int(value), out=tmp_path)
        (newest,) = set((tmp_path / "question").glob("*.jsonl")) - kept
        kept.add(newest.rename(newest.with_name(f"{len(kept)}.jsonl")))

    kept: set[Path] = set()
    assert newest_comparison("question", tmp_path, 1) is None
    record(4, 1)
    record(4, 2)
    record(2, 3)  # a quick look
    record(4, 4, "fell behind")  # nothing to show
    found = newest_comparison("question", tmp_path, 4)
    assert found is not None
    assert found.values("a", "rps") == [2] * 4


def test_one_block_has_a_figure_and_no_certainty() -> None:
    one = comparison_of({"a": Measurement(values={"rps": 3}), "b": Measurement(values={"rps": 2})})
    ratio, mean = one.ratio("a", "b", "rps"), one.mean("a", "rps", 2)
    assert (ratio.estimate, ratio.low, ratio.high) == (1.5, 0, float("inf"))
    assert (mean.estimate, mean.low, mean.high) == (1.5, -float("inf"), float("inf"))
