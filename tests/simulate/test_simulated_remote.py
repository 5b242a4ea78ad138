"""A remote stage in virtual time: the server's own retries, hedges, breakers and fallbacks, and what rows say of them."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.simulate.simulated_support import NO_COSTS
from trivet.simulate.errors import NotProfiledError
from trivet.simulate.profile import ModelTimes, ServiceProfile
from trivet.simulate.remote_times import RemoteTimes, Tries
from trivet.simulate.server import simulate_service
from trivet.simulate.setup import RemoteSetup, Setup, StageSetup
from trivet.spec.failures import BreakerRule, Failures, HedgeRule, RetryRule
from trivet.spec.row import RowColumns

MS, S = 1_000_000, 1_000_000_000
NEVER_OPEN = BreakerRule(failures=10**9, rate=1.0, window=10_000)


def profile_of(**upstreams: Tries) -> ServiceProfile:
    """Each behaves so at up to 8 calls at once."""
    tries = {name: {8: one} for name, one in upstreams.items()}
    times = {
        "far": ModelTimes(samples={0: {1: [5 * MS] * 8}}),
        "near": ModelTimes(samples={0: {1: [MS] * 8}}),
    }
    return ServiceProfile(service="s", models=times, host=NO_COSTS, remotes={"far": RemoteTimes(tries=tries)})


def far(*names: str, instances: int = 128, **remote: Any) -> StageSetup:
    rules = remote.pop("rules", Failures())
    setup = RemoteSetup(tuple((name, 1.0) for name in names), rules, **remote)
    return StageSetup("far", kind="remote", execution="remote", instances=instances, remote=setup)


def run(
    profile: ServiceProfile, *stages: StageSetup, num: int = 2000, every_ns: int = 10 * MS, **given: Any
) -> RowColumns:
    setup = Setup("s", stages, 1, 2, given.pop("deadline_ns", S), **given)
    return simulate_service(profile, setup, np.arange(num, dtype=np.int64) * every_ns, seed=3)


def latency_ms(rows: RowColumns) -> Any:
    return (rows["done_ns"] - rows["sent_ns"]) / MS


STEADY = Tries(good_ns=[5 * MS] * 10)
HALF = Tries(good_ns=[5 * MS] * 10, failed=[(2 * MS, "status")] * 10)
DEAD = Tries(failed=[(2 * MS, "connection")] * 10)
SLOW_AT_TIMES = Tries(good_ns=[5 * MS] * 985 + [200 * MS] * 15)


def test_a_call_takes_what_was_recorded_and_rows_say_who_answered() -> None:
    rows = run(profile_of(a=STEADY, b=STEADY), far("a", "b"), num=100)
    assert latency_ms(rows).tolist() == [5.0] * 100
    assert rows["compute_ns"].tolist() == [5 * MS] * 100
    assert rows["attempts"].tolist() == [1] * 100
    said = rows.words["upstream"].decode().tolist()
    assert (said.count("a"), said.count("b")) == (50, 50)
    assert set(rows.words["instead"].decode()) == {""}


def test_calls_overlap_and_take_no_core() -> None:
    """Five at once, each 5 ms: nobody waits."""
    rows = run(profile_of(a=STEADY), far("a"), every_ns=MS, num=500)
    assert latency_ms(rows).max() == 5.0
    bounded = run(profile_of(a=STEADY), far("a", instances=2), every_ns=3 * MS, num=200)
    assert latency_ms(bounded).max() <= 7.0  # two at once bear it


def test_what_fails_is_tried_again_within_the_budget() -> None:
    alone = run(profile_of(a=HALF), far("a", rules=Failures(breaker=NEVER_OPEN)))
    assert 0.45 < (alone["status"] == 502).mean() < 0.55
    assert set(alone.words["reason"].decode()[alone["status"] == 502]) == {"upstream"}
    rules = Failures(breaker=NEVER_OPEN, retry=RetryRule(budget=0.1, backoff_ns=MS))
    tried = run(profile_of(a=HALF), far("a", rules=rules))
    assert (tried["status"] == 200).mean() > (alone["status"] == 200).mean()
    num = len(tried["status"])
    assert (
        num < tried["attempts"].sum() <= 1.1 * num + 10
    )  # what is saved up comes on top: 100 requests' worth


def test_a_hedge_cuts_the_tail_within_its_budget() -> None:
    plain = run(profile_of(a=SLOW_AT_TIMES, b=SLOW_AT_TIMES), far("a", "b"), every_ns=20 * MS)
    hedged = run(
        profile_of(a=SLOW_AT_TIMES, b=SLOW_AT_TIMES),
        far("a", "b", rules=Failures(hedge=HedgeRule(after=10 * MS, budget=0.05))),
        every_ns=20 * MS,
    )
    assert np.quantile(latency_ms(plain), 0.992) == 200
    assert np.quantile(latency_ms(hedged), 0.992) == 15
    assert hedged["attempts"].sum() <= 1.05 * len(hedged["status"]) + 5


def test_a_breaker_leaves_an_upstream_alone_and_who_falls_in_is_told() -> None:
    rows = run(profile_of(a=DEAD), far("a"))
    statuses = rows["status"].tolist()
    assert set(statuses) == {502, 503}
    assert statuses[0] == 502
    assert statuses.count(503) > 0.9 * len(statuses)
    assert set(rows.words["outcome"].decode()[rows["status"] == 503]) == {"refused"}
    saved = run(profile_of(a=DEAD), far("a", instead="answer"))
    assert set(saved["status"]) == {200}
    assert set(saved.words["instead"].decode()) == {"fallback:answer"}
    assert set(saved.words["upstream"].decode()) == {""}
    other = run(profile_of(a=DEAD, b=STEADY), far("a", last=("b",)))
    assert set(other["status"]) == {200}
    assert set(other.words["upstream"].decode()) == {"b"}
    assert set(other.words["instead"].decode()) == {"fallback:upstream"}


def test_nothing_is_answered_late() -> None:
    rows = run(
        profile_of(a=Tries(good_ns=[50 * MS] * 4)), far("a"), num=50, every_ns=100 * MS, deadline_ns=20 * MS
    )
    assert set(rows["status"]) == {504, 503}  # five timeouts open the breaker
    assert (latency_ms(rows) <= 20).all()


def test_beyond_what_was_asked_at_once_nothing_is_forecast() -> None:
    with pytest.raises(NotProfiledError, match=r"9 calls to 'far' at a at once: profiled up to 8"):
        run(profile_of(a=STEADY), far("a"), every_ns=MS // 4)
    with pytest.raises(NotProfiledError, match="the upstream b of far was not profiled"):
        run(profile_of(a=STEADY), far("a", "b"))
    with pytest.raises(NotProfiledError, match="the fallback to stale of far is not simulated"):
        run(profile_of(a=STEADY), far("a", unknown="the fallback to stale"))
    with pytest.raises(NotProfiledError, match="the upstream a of far was not profiled"):
        run(replace_remotes(profile_of(a=STEADY)), far("a"))


def replace_remotes(profile: ServiceProfile) -> ServiceProfile:
    return ServiceProfile(service="s", models=profile.models, host=profile.host)


def test_only_what_a_local_exit_is_unsure_of_is_called() -> None:
    """The hybrid of edge and cloud: three of four inputs leave at the model here."""
    profile = profile_of(a=STEADY)
    near = StageSetup("near", execution="inline")
    rows = run(profile, near, far("a"), exits=(0, 0, 0, 1), names=("near", "far"))
    who = rows.words["exit"].decode()
    assert 0.7 < (who == "near").mean() < 0.8
    assert set(latency_ms(rows)[who == "near"]) == {1.0}
    assert set(latency_ms(rows)[who == "far"]) == {6.0}
    assert set(rows.words["upstream"].decode()[who == "far"]) == {"a"}
    assert set(rows.words["upstream"].decode()[who == "near"]) == {""}


def test_a_service_without_remote_models_has_rows_as_before() -> None:
    rows = run(profile_of(), StageSetup("near", execution="inline"), num=20)
    assert set(rows["attempts"]) == {-1}
    assert set(rows.words["upstream"].decode()) == {""}
    assert latency_ms(rows).tolist() == [1.0] * 20


def test_the_loops_part_of_a_call_is_the_loops() -> None:
    profile = profile_of(a=STEADY)
    known = profile.remotes["far"]
    dear = ServiceProfile(
        service="s",
        models=profile.models,
        host=profile.host,
        remotes={"far": RemoteTimes(tries=known.tries, call_ns=2 * MS)},
    )
    assert latency_ms(run(dear, far("a"), num=20)).tolist() == [7.0] * 20


# --- several remote models ------------------------------------------------------------------------------------------


def two(first: Tries, second: Tries) -> ServiceProfile:
    """Models `one` and `far` on other servers, at `a` and at `b`."""
    models = {name: ModelTimes(samples={0: {1: [5 * MS] * 8}}) for name in ("one", "far")}
    remotes = {
        "one": RemoteTimes(tries={"a": {8: first}}),
        "far": RemoteTimes(tries={"b": {8: second}}, call_ns=MS),
    }
    return ServiceProfile(service="s", models=models, host=NO_COSTS, remotes=remotes)


def named(key: str, upstream: str, **remote: Any) -> StageSetup:
    return replace(far(upstream, **remote), key=key)


def test_two_remote_models_are_called_one_after_the_other() -> None:
    fast = Tries(good_ns=[2 * MS] * 10)
    rows = run(two(fast, STEADY), named("one", "a"), far("b"), num=100, every_ns=3 * MS)
    assert (
        latency_ms(rows).tolist() == [8.0] * 100
    )  # 2 ms there, a call that takes 1 ms of the loop, 5 ms there
    assert rows["attempts"].tolist() == [2] * 100
    assert set(rows.words["upstream"].decode()) == {"b"}
    assert rows["compute_ns"].tolist() == [5 * MS] * 100  # of the last one, as a server has it


def test_each_remote_model_has_retries_and_a_breaker_of_its_own() -> None:
    """The first fails half of the time and is tried again; the second always does, and is left alone after five times."""
    rules = Failures(breaker=NEVER_OPEN, retry=RetryRule(budget=1.0, max=5, backoff_ns=MS))
    rows = run(two(HALF, DEAD), named("one", "a", rules=rules), far("b", instead="one"), num=1600)
    answered = rows["status"] == 200
    assert answered.mean() > 0.95  # 1 - 0.5**6
    assert set(rows.words["instead"].decode()[answered]) == {"fallback:one"}
    assert set(rows.words["upstream"].decode()[answered]) == {"a"}
    tries = rows["attempts"][answered]
    assert 1.8 < tries.mean() < 2.0  # at the first, of those that got an answer: 1.9 of at most 6
    assert set(rows.words["reason"].decode()[~answered]) == {"upstream"}


def test_an_exit_between_two_remote_models_saves_the_second_call() -> None:
    rows = run(two(STEADY, STEADY), named("one", "a"), far("b"), exits=(0, 1), names=("one", "far"))
    who = rows.words["exit"].decode()
    assert 0.4 < (who == "one").mean() < 0.6
    assert set(rows["attempts"][who == "one"]) == {1}
    assert set(rows["attempts"][who == "far"]) == {2}
    assert set(rows.words["upstream"].decode()[who == "one"]) == {"a"}


def test_a_remote_model_that_was_not_asked_is_named() -> None:
    known = two(STEADY, STEADY)
    only = ServiceProfile(
        service="s", models=known.models, host=known.host, remotes={"one": known.remotes["one"]}
    )
    with pytest.raises(NotProfiledError, match="the upstream b of far was not profiled"):
        run(only, named("one", "a"), far("b"))
