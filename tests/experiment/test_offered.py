from pathlib import Path

import msgspec
import numpy as np
import pytest

from trivet.errors import SpecError
from trivet.experiment.offered import arrivals, job, needs_rate, trace_in_words
from trivet.experiment.workload import Workload
from trivet.load.arrivals import Constant, Curve, Gamma, Mmpp, Poisson, Recorded
from trivet.load.job import ClosedLoop, HttpRequest, OpenLoop

S = 1_000_000_000


def test_words_become_arrivals_that_last_a_warm_up_and_a_block() -> None:
    kinds = {"poisson": Poisson, "constant": Constant, "gamma:2": Gamma, "mmpp": Mmpp}
    for words, kind in kinds.items():
        workload = Workload(arrivals=words, rate_rps=100, duration_ns=4 * S, num_blocks=2)
        made = arrivals(workload, 0)
        assert isinstance(made, kind)
        assert made.duration_ns == workload.warmup_ns + 2 * S


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("poison", "unknown arrivals 'poison'; known: poisson"),
        ("poisson:3", "unknown arrivals"),
        ("gamma", "expected gamma:CV"),
        ("gamma:0", "expected gamma:CV"),
        ("trace:", "a trace needs a file"),
        ("trace:x.csv:users:much", "expected trace:FILE:users:FACTOR"),
        ("trace:nowhere.csv", "nowhere.csv"),
    ],
)
def test_words_that_name_no_arrivals_are_refused(words: str, complaint: str) -> None:
    with pytest.raises(SpecError, match=complaint):
        arrivals(Workload(arrivals=words, rate_rps=10), 0)


def test_without_a_rate_nothing_can_be_offered() -> None:
    assert needs_rate(Workload())
    assert not needs_rate(Workload(users=3))
    assert not needs_rate(Workload(arrivals="trace:x.csv"))
    with pytest.raises(SpecError, match="give --rate"):
        arrivals(Workload(), 0)


def test_blocks_have_seeds_of_their_own_and_sides_share_them() -> None:
    workload = Workload(rate_rps=50, seed=7)
    seeds = [workload.block_seed(block) for block in range(100)]
    assert len(set(seeds)) == 100
    request = HttpRequest(path="/")
    first, second = (job(workload, 3, target, [request]) for target in ("a:1", "b:2"))
    assert first.seed == second.seed == seeds[3]
    assert first.load == second.load


def test_users_are_a_closed_loop() -> None:
    made = job(Workload(users=4, think_ns=5, duration_ns=S), 0, "a:1", [HttpRequest(path="/")])
    assert isinstance(made.load, ClosedLoop)
    assert (made.load.num_users, made.load.think_ns) == (4, 5)


def trace(folder: Path, instants_s: list[float]) -> Path:
    path = folder / "trace.csv"
    path.write_text("time_s\n" + "\n".join(f"{instant:.3f}" for instant in instants_s) + "\n")
    return path


def test_the_blocks_of_a_trace_are_its_parts(tmp_path: Path) -> None:
    path = trace(tmp_path, [i / 10 for i in range(40)])
    workload = Workload(arrivals=f"trace:{path}", duration_ns=4 * S, num_blocks=2)
    first, second = (arrivals(workload, block) for block in (0, 1))
    assert isinstance(first, Recorded)
    assert isinstance(second, Recorded)
    assert first.at_ns[:2] == (0, S // 10)
    assert second.at_ns[0] == 0
    assert len(second.at_ns) == 20  # the part before its end has no more
    with pytest.raises(SpecError, match="no arrivals in block 3"):
        arrivals(msgspec.structs.replace(workload, num_blocks=2), 2)


def test_a_scaled_trace_is_described_before_and_after(tmp_path: Path) -> None:
    path = trace(tmp_path, [i / 10 for i in range(40)])
    workload = Workload(arrivals=f"trace:{path}:time:2")
    before, after = trace_in_words(workload)
    assert before.startswith("trace: 40 requests over 3.9")
    assert after.startswith("scaled: 40 requests over 1.95")
    assert trace_in_words(Workload()) == []
    made = arrivals(workload, 0)
    assert isinstance(made, Recorded)
    assert np.diff(made.at_ns).tolist()[:3] == [S // 20] * 3


def test_a_scaling_that_there_is_not_is_named_and_a_file_may_hold_colons(tmp_path: Path) -> None:
    path = trace(tmp_path, [0.0, 1.0])
    with pytest.raises(
        SpecError, match=r"unknown scaling 'double' of .*trace.csv; known: users, amplitude, time"
    ):
        trace_in_words(Workload(arrivals=f"trace:{path}:double:2"))
    path.rename(tmp_path / "a:b.csv")
    assert trace_in_words(Workload(arrivals=f"trace:{tmp_path}/a:b.csv"))[0].startswith("trace: 2 requests")
    with pytest.raises(SpecError, match=r"none\.csv: cannot be read"):
        trace_in_words(Workload(arrivals=f"trace:{tmp_path}/none.csv"))


def test_a_curve_is_squeezed_into_a_block_at_its_own_rate_or_another(tmp_path: Path) -> None:
    path = tmp_path / "day.csv"
    path.write_text("second,requests\n0,10\n1,30\n2,20\n3,20\n")
    workload = Workload(arrivals=f"curve:{path}", duration_ns=2 * S)
    assert not needs_rate(workload)
    for rate_rps, mean_rps in ((None, 20), (100, 100)):
        made = arrivals(msgspec.structs.replace(workload, rate_rps=rate_rps), 0)
        assert isinstance(made, Curve)
        assert made.mean_rps == pytest.approx(mean_rps)
        assert made.duration_ns == workload.warmup_ns + 2 * S


def test_a_trace_takes_the_rate_that_is_asked_for(tmp_path: Path) -> None:
    path = trace(tmp_path, [i / 10 for i in range(41)])
    workload = Workload(arrivals=f"trace:{path}", rate_rps=20, duration_ns=3 * S)
    made = job(workload, 0, "a:1", [HttpRequest(path="/")]).load
    assert isinstance(made, OpenLoop)
    instants = made.arrivals.instants_ns(np.random.default_rng(0))
    assert 55 <= len(instants) <= 65 + 3
