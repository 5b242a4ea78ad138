"""What screening simulates, and how often."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from benchmarks._simulated_bench import SimulatedBench
from tests.tune.tiny_study import MINUTE, S, bench_of, goal_for, studied
from trivet.simulate.profile import ServiceProfile
from trivet.simulate.setup import Setup
from trivet.tune import screen, sight
from trivet.tune.bench import BlockResult
from trivet.tune.choice import Choice
from trivet.tune.recommending import conclude
from trivet.tune.screen import Screen, largest_rate
from trivet.tune.simulated_load import Point, SimulatedLoad


@pytest.fixture(autouse=True)
def short_simulations(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tested here is how many there are."""
    monkeypatch.setattr(screen, "FIRST", 120)
    monkeypatch.setattr(screen, "SECOND", 240)
    monkeypatch.setattr(conclude, "NUM_REQUESTS", 60)
    monkeypatch.setattr(sight, "FIRST_REQUESTS", 120)
    monkeypatch.setattr(sight, "LONG_SLOS", 1)
    monkeypatch.setattr(sight, "LEAST_LONG", 240)


class Counting(SimulatedLoad):
    """Counts simulations."""

    num = 0

    def at(self, setup: Setup, rate_rps: float, *, within_ns: int | None = None) -> Point:
        self.num += 1
        return super().at(setup, rate_rps, within_ns=within_ns)


class Slow(SimulatedBench):
    """A profile takes what it may, a configuration half a second to simulate, and a server three more to start."""

    def profile(self, choices: Sequence[Choice], *, budget_ns: int) -> ServiceProfile:
        found = super().profile(choices, budget_ns=budget_ns)
        self._now_ns = budget_ns
        return found

    def setup(self, choice: Choice) -> Setup:
        if choice not in self._simulated:
            self._simulated.add(choice)
            self._now_ns += S // 2
        return super().setup(choice)

    @property
    def _simulated(self) -> set[Choice]:
        return self.__dict__.setdefault("simulated", set())

    def measure(
        self, choices: Sequence[Choice], rates_rps: Mapping[Choice, float], seconds: float, block: int
    ) -> dict[Choice, BlockResult]:
        self._now_ns += 3 * S * sum(choice not in self._started for choice in choices)
        return super().measure(choices, rates_rps, seconds, block)


def test_what_short_simulations_cannot_tell_apart_is_looked_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bound on the queue that is never reached changes nothing."""
    monkeypatch.setattr("trivet.tune.screen.SimulatedLoad", Counting)
    bench = bench_of(tmp_path, queue=("auto", "20s"))
    profile = bench.profile([bench.space.default], budget_ns=MINUTE)
    looker = Screen(profile, bench.setup, goal_for(bench), 0)
    first, second = (looker.look(bench.space.default.with_(queue=queue)) for queue in ("auto", "20s"))
    assert first is not None
    assert second is not None
    assert first.setup != second.setup
    long_load: Counting = looker._long  # type: ignore[assignment]  # as patched
    closer = looker.look_closer(first)
    num = long_load.num
    assert num > 2
    again = looker.look_closer(second)
    same = first.figures == second.figures
    assert (long_load.num == num) == same
    assert same
    assert again.figures == closer.figures
    assert (again.choice, again.setup) == (second.choice, second.setup)


def test_a_rate_below_what_is_of_interest_is_none(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)
    profile = bench.profile([bench.space.default], budget_ns=MINUTE)
    setup, slo_ns = bench.setup(bench.space.default), goal_for(bench).slo_latency_ns
    load = Counting(profile, 300, 0)
    rate, points = largest_rate(profile, setup, load, slo_ns, 0.05)
    assert rate > 0
    assert max(point.rate_rps for point in points if point.holds(slo_ns)) == rate
    near, _ = largest_rate(profile, setup, load, slo_ns, 0.05, guess=0.9 * rate, at_least=0.5 * rate)
    assert near == pytest.approx(rate, rel=0.06)
    load.num = 0
    assert largest_rate(profile, setup, load, slo_ns, 0.05, guess=2 * rate, at_least=1.5 * rate)[0] == 0.0
    assert load.num <= 4


def test_two_minutes_have_room_for_three_live_trials(tmp_path: Path) -> None:
    """With a profile and a screening that take what they may take of two minutes."""
    study = studied(bench_of(tmp_path, kind=Slow, max_batch_size=(1, 4, 8)), budget_ns=2 * MINUTE)
    tried = [trial for trial in study.trials if trial.stage in ("default", "verified")]
    assert len(tried) >= 3
    assert sum(study.spent_ns.values()) <= 2 * MINUTE
