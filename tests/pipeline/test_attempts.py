"""Retries, hedges, breakers and fallbacks to other upstreams: what they promise, for any behaviour of the upstreams."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.pipeline.attempts import Caller
from trivet.pipeline.budget import Budget
from trivet.pipeline.tries import Answered, Command, Failure, GaveUp, Send, Try
from trivet.simulate.upstreams import Behaviour, CallRow, simulate_calls
from trivet.spec.failures import BreakerRule, Failures, HedgeRule, RetryRule

MS = 1_000_000
BUSY = Failure("refused", "busy", retry_after_ns=50 * MS)
RESET = Failure("connection", "reset")


def caller(rules: Failures, num: int = 2, last: tuple[str, ...] = (), seed: int = 1) -> Caller:
    return Caller([(f"u{i}", 1.0) for i in range(num)], rules, random.Random(seed), last)


def sent(commands: list[Command]) -> Try:
    (attempt,) = [command.attempt for command in commands if isinstance(command, Send)]
    return attempt


def steady(took_ns: int) -> Behaviour:
    return lambda attempt, now_ns: (took_ns, None)


# --- one call, step by step -------------------------------------------------------------------------------------------


def test_a_retry_goes_to_another_upstream_after_a_pause() -> None:
    shared = caller(Failures(retry=RetryRule(budget=1.0)))
    call = shared.call(0, 1000 * MS)
    first = sent(call.start(0))
    assert call.failed(first, RESET, 5 * MS) == []
    at_ns = call.wake_at_ns()
    assert at_ns is not None
    assert 5 * MS <= at_ns <= 25 * MS  # twice the mean pause of 10 ms at most
    second = sent(call.wake(at_ns))
    assert second.upstream is not first.upstream
    assert call.answered(second, at_ns + MS) == [Answered(second)]
    assert (call.num_tries, call.is_over) == (2, True)
    assert [one.num_running for one in shared.upstreams.all] == [0, 0]


def test_without_a_retry_rule_the_first_failure_is_the_answer() -> None:
    call = caller(Failures()).call(0, 1000 * MS)
    first = sent(call.start(0))
    assert call.failed(first, RESET, 5) == [GaveUp(RESET)]


def test_what_is_the_requests_fault_is_not_tried_again_and_blames_nobody() -> None:
    shared = caller(Failures(retry=RetryRule(budget=1.0), breaker=BreakerRule(failures=1)))
    call = shared.call(0, 1000 * MS)
    wrong = Failure("request", "400")
    assert call.failed(sent(call.start(0)), wrong, 5) == [GaveUp(wrong)]
    assert {one.breaker.state(5) for one in shared.upstreams.own} == {"closed"}


def test_the_slower_try_is_broken_off_when_the_hedge_answers() -> None:
    shared = caller(Failures(hedge=HedgeRule(after=10 * MS, budget=1.0)))
    call = shared.call(0, 1000 * MS)
    first = sent(call.start(0))
    assert call.wake_at_ns() == 10 * MS
    hedge = sent(call.wake(10 * MS))
    assert (hedge.upstream is first.upstream, hedge.is_hedge) == (False, True)
    commands = call.answered(hedge, 12 * MS)
    assert [type(command).__name__ for command in commands] == ["Break", "Answered"]
    assert call.answered(first, 13 * MS) == []  # too late to count
    assert shared.hedges.num_spent == 1


def test_a_first_try_that_fails_leaves_the_hedge_to_answer() -> None:
    shared = caller(Failures(hedge=HedgeRule(after=10 * MS, budget=1.0)))
    call = shared.call(0, 1000 * MS)
    first = sent(call.start(0))
    hedge = sent(call.wake(10 * MS))
    assert call.failed(first, RESET, 11 * MS) == []
    assert call.answered(hedge, 12 * MS) == [Answered(hedge)]


def test_a_stream_that_has_begun_is_not_tried_again() -> None:
    shared = caller(Failures(timeout_ns=50 * MS, retry=RetryRule(budget=1.0)))
    call = shared.call(0, 1000 * MS)
    first = sent(call.start(0))
    assert call.began(first, 40 * MS) == []
    assert call.wake_at_ns() is None  # the deadline is about the first part
    assert call.failed(first, RESET, 900 * MS) == [GaveUp(RESET)]


def test_a_hang_ends_with_the_stage_and_the_fallback_has_its_own_time() -> None:
    shared = caller(Failures(timeout_ns=50 * MS), last=("spare",))
    call = shared.call(0, 1000 * MS)
    call.start(0)
    assert call.wake_at_ns() == 50 * MS
    spare = sent(call.wake(50 * MS))
    assert (spare.upstream.name, spare.end_ns) == ("spare", 100 * MS)
    (gave_up,) = [one for one in call.wake(100 * MS) if isinstance(one, GaveUp)]
    assert gave_up.failure.why == "timeout"


def test_an_upstream_that_names_a_time_is_left_alone_until_then() -> None:
    shared = caller(Failures(), num=1)
    call = shared.call(0, 1000 * MS)
    call.failed(sent(call.start(0)), BUSY, 0)
    (refused,) = shared.call(MS, 1000 * MS).start(MS)
    assert isinstance(refused, GaveUp)
    assert (refused.failure.why, refused.failure.retry_after_ns) == ("unavailable", 49 * MS)
    assert sent(shared.call(50 * MS, 1000 * MS).start(50 * MS)).upstream.name == "u0"


def test_a_retry_waits_for_the_only_upstream_where_there_is_time() -> None:
    call = caller(Failures(retry=RetryRule(budget=1.0)), num=1).call(0, 1000 * MS)
    call.failed(sent(call.start(0)), BUSY, 0)
    assert call.wake_at_ns() == 50 * MS


def test_requests_without_time_do_not_close_an_upstream_to_others() -> None:
    shared = caller(Failures(breaker=BreakerRule(failures=2)), num=1)
    breaker = shared.upstreams.own[0].breaker
    for at_ns in range(0, 40 * MS, MS):
        call = shared.call(at_ns, at_ns + MS)  # a client that gives a millisecond
        call.start(at_ns)
        assert isinstance(call.wake(at_ns + MS)[-1], GaveUp)
    assert breaker.state(40 * MS) == "closed"
    for at_ns in (50 * MS, 80 * MS):
        call = shared.call(at_ns, at_ns + 30 * MS)
        call.start(at_ns)
        call.wake(at_ns + 30 * MS)
    assert breaker.state(120 * MS) == "open"


def test_cancelling_breaks_off_and_says_no_more() -> None:
    shared = caller(Failures(breaker=BreakerRule(failures=1)))
    call = shared.call(0, 1000 * MS)
    first = sent(call.start(0))
    assert [type(command).__name__ for command in call.cancel()] == ["Break"]
    assert call.failed(first, RESET, 5) == []
    assert (call.wake_at_ns(), first.upstream.breaker.state(5)) == (None, "closed")


# --- upstreams ----------------------------------------------------------------------------------------------------------


def test_weights_are_shares_of_the_requests() -> None:
    shared = Caller([("a", 3.0), ("b", 1.0)], Failures(), random.Random(1))
    rows = simulate_calls(shared, range(0, 400 * MS, MS), 100 * MS, steady(MS))
    assert [one.num_tries for one in shared.upstreams.own] == [300, 100]
    assert {row.failure for row in rows} == {None}


def test_a_breaker_opens_probes_one_at_a_time_and_closes() -> None:
    rule = BreakerRule(failures=3, open_ns=100 * MS, max_open_ns=300 * MS, probes=2)
    shared = caller(Failures(breaker=rule), num=1)
    breaker = shared.upstreams.own[0].breaker
    for at_ns in range(3):
        call = shared.call(at_ns, 1000 * MS)
        call.failed(sent(call.start(at_ns)), RESET, at_ns)
    assert (breaker.state(2), breaker.num_opened) == ("open", 1)
    again_ns = 2 + 100 * MS
    assert breaker.state(again_ns) == "half-open"
    probe = shared.call(again_ns, 1000 * MS)
    attempt = sent(probe.start(again_ns))
    beside = shared.call(again_ns, 1000 * MS).start(again_ns)
    assert [type(one) for one in beside] == [GaveUp]  # one probe at a time
    probe.failed(attempt, RESET, again_ns)
    assert breaker.opens_again_ns == again_ns + 200 * MS  # twice as long as before
    for at_ns in (again_ns + 200 * MS, again_ns + 201 * MS):
        call = shared.call(at_ns, at_ns + 1000 * MS)
        call.answered(sent(call.start(at_ns)), at_ns)
    assert breaker.state(at_ns) == "closed"


def test_a_probe_that_is_broken_off_makes_room_for_another() -> None:
    shared = caller(Failures(breaker=BreakerRule(failures=1, open_ns=10)), num=1)
    call = shared.call(0, 100)
    call.failed(sent(call.start(0)), RESET, 0)
    probe = shared.call(10, 100)
    assert sent(probe.start(10)).is_probe
    probe.cancel()
    assert sent(shared.call(11, 100).start(11)).is_probe


def test_an_upstream_that_fails_half_of_the_time_is_left_alone() -> None:
    rng = random.Random(3)
    shared = caller(Failures(breaker=BreakerRule(failures=1000)), num=3)

    def behave(attempt: Try, _: int) -> tuple[int, Failure | None]:
        return MS, RESET if attempt.upstream.name == "u1" and rng.random() < 0.4 else None

    simulate_calls(shared, range(0, 1000 * MS, MS), 100 * MS, behave)
    tries = {one.name: one.num_tries for one in shared.upstreams.own}
    assert (shared.upstreams.own[1].num_ejected, tries["u1"] < tries["u0"] / 2) == (1, True)


def test_a_slow_upstream_is_ejected_but_never_more_than_half() -> None:
    def behave(attempt: Try, _: int) -> tuple[int, Failure | None]:
        return (MS if attempt.upstream.name in ("u0", "u1") else 20 * MS), None

    shared = caller(Failures(), num=4)
    simulate_calls(shared, range(0, 300 * MS, MS), 100 * MS, behave)
    assert [one.num_ejected for one in shared.upstreams.own] == [0, 0, 1, 1]
    pair = caller(Failures(), num=2)
    simulate_calls(pair, range(0, 300 * MS, MS), 100 * MS, lambda attempt, _: (MS, RESET))
    assert [one.num_ejected for one in pair.upstreams.own] == [0, 0]


# --- properties -----------------------------------------------------------------------------------------------------------

RULES = st.builds(
    Failures,
    timeout_ns=st.none() | st.integers(10 * MS, 300 * MS),
    retry=st.none()
    | st.builds(
        RetryRule,
        budget=st.sampled_from([0.0, 0.1, 0.5]),
        max=st.integers(1, 4),
        timeout_ns=st.none() | st.integers(1, 10 * MS),
    ),
    hedge=st.none()
    | st.builds(
        HedgeRule,
        after=st.sampled_from(["p90", "p95"]) | st.integers(0, 20 * MS),
        budget=st.sampled_from([0.0, 0.02, 0.3]),
    ),
    breaker=st.none() | st.builds(BreakerRule, failures=st.integers(1, 6), open_ns=st.integers(1, 100 * MS)),
)
OUTCOMES: list[Callable[[random.Random], tuple[int, Failure | None] | None]] = [
    lambda rng: (rng.randrange(8 * MS), None),
    lambda rng: (rng.randrange(300 * MS), None),
    lambda rng: (rng.randrange(8 * MS), RESET),
    lambda rng: (0, BUSY),
    lambda rng: (rng.randrange(MS), Failure("rubbish", "not an answer")),
    lambda rng: (rng.randrange(MS), Failure("request", "400")),
    lambda rng: None,
]


@settings(max_examples=60, deadline=None)
@given(
    rules=RULES,
    num=st.integers(1, 4),
    num_last=st.integers(0, 2),
    weights=st.lists(st.integers(0, 5), min_size=7, max_size=7).filter(any),
    deadline_ms=st.integers(1, 400),
    seed=st.integers(0, 2**32),
)
def test_each_call_ends_once_in_time_and_within_the_budgets(
    rules: Failures, num: int, num_last: int, weights: list[int], deadline_ms: int, seed: int
) -> None:
    rng = random.Random(seed)
    shared = caller(rules, num, tuple(f"last{i}" for i in range(num_last)), seed)
    calls = 120
    arrivals = sorted(rng.randrange(1000 * MS) for _ in range(calls))

    def behave(attempt: Try, now_ns: int) -> tuple[int, Failure | None] | None:
        upstream = attempt.upstream
        assert now_ns >= upstream.paused_until_ns
        assert upstream.breaker.state(now_ns) == ("half-open" if attempt.is_probe else "closed")
        assert shared.retries.num_spent <= shared.retries._share * shared.hedges.num_requests
        assert shared.hedges.num_spent <= shared.hedges._share * shared.hedges.num_requests
        return rng.choices(OUTCOMES, weights)[0](rng)

    rows = simulate_calls(shared, arrivals, deadline_ms * MS, behave)
    check(rows, deadline_ms * MS)
    assert len(rows) == calls
    assert [one.num_running for one in shared.upstreams.all] == [0] * (num + num_last)
    assert not any(one.breaker.probing for one in shared.upstreams.all)
    own = sum(one.num_tries for one in shared.upstreams.own)
    assert own <= calls + shared.retries.num_spent + shared.hedges.num_spent


def check(rows: list[CallRow], deadline_ns: int) -> None:
    for row in rows:
        assert row.sent_ns <= row.done_ns <= row.sent_ns + deadline_ns
        assert (row.failure is None) == (row.upstream != "")


@given(share=st.floats(0, 1), wishes=st.lists(st.booleans(), max_size=400))
def test_a_budget_is_kept_at_all_times(share: float, wishes: list[bool]) -> None:
    budget = Budget(share)
    for wish in wishes:
        budget.earn()
        if wish:
            budget.spend()
            budget.spend()
        assert budget.num_spent <= share * budget.num_requests


@pytest.mark.parametrize("fault", [RESET, BUSY, Failure("status", "503"), None])
def test_in_an_outage_the_upstreams_get_a_tenth_more_at_most(fault: Failure | None) -> None:
    shared = caller(
        Failures(timeout_ns=40 * MS, retry=RetryRule(), breaker=BreakerRule(failures=10**6, rate=1.0))
    )
    rows = simulate_calls(
        shared, range(0, 2000 * MS, MS), 100 * MS, lambda attempt, _: None if fault is None else (MS, fault)
    )
    tries = sum(one.num_tries for one in shared.upstreams.own)
    assert tries <= 1.1 * len(rows)


def test_hedges_cut_the_tail_for_two_percent_more_tries() -> None:
    def p99_ns(hedge: HedgeRule | None) -> tuple[int, float]:
        rng = random.Random(11)
        shared = caller(Failures(hedge=hedge), seed=5)

        def behave(attempt: Try, _: int) -> tuple[int, Failure | None]:
            slow = rng.random() < 0.015
            return (200 * MS if slow else 5 * MS + rng.randrange(2 * MS)), None

        rows = simulate_calls(shared, range(0, 4_000 * MS, MS), 1000 * MS, behave)
        times = sorted(row.done_ns - row.sent_ns for row in rows)
        tries = sum(one.num_tries for one in shared.upstreams.own)
        return times[len(times) * 99 // 100], tries / len(rows)

    assert p99_ns(None) == (200 * MS, 1.0)
    hedged_ns, load = p99_ns(HedgeRule())
    assert hedged_ns < 20 * MS
    assert 1.0 < load <= 1.02
