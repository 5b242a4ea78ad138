"""What a simulated semantic cache gives, against the server's own parts put together one request after the other."""

from typing import Any

import msgspec
import numpy as np
import pytest

from tests.runtime.test_semantic_scopes import PlainIndex
from tests.simulate.simulated_support import constant, lone, run
from trivet.pipeline.semantic.looking import Entry, look
from trivet.pipeline.semantic.policy import Policy
from trivet.pipeline.semantic.wording import read
from trivet.runtime.semantic.scope import Scopes
from trivet.simulate.asked import Asked
from trivet.simulate.front_table import NO_MEANING, FrontTable, SemanticTable
from trivet.simulate.fronts import EXACT, MISS, SEMANTIC, semantic_share
from trivet.simulate.semantic_outcomes import NO_HIT, RIGHT, WRONG, semantic_outcomes
from trivet.simulate.server import NotProfiledError
from trivet.simulate.setup import ExactSetup, FrontsSetup, SemanticSetup, Setup

NUM_INPUTS, NUM_REQUESTS = 60, 1_500
SIZE = 256
SCOPE = ("", b"")
TOPICS = ("my card was lost", "how do I reset the password", "where is my parcel", "can I get a refund")


@pytest.fixture(scope="module")
def table() -> SemanticTable:
    """Ways to ask four things; some of those that look alike are answered otherwise, and one means nothing."""
    texts = [
        f"{TOPICS[place % 4]} {'please ' * (place // 4 % 3)}{place // 12}" for place in range(NUM_INPUTS)
    ]
    rng = np.random.default_rng(4)
    # Of sixteenths and of length 1: sums are exact in any order.
    topics = rng.choice([-1, 1], (4, SIZE)) / 16
    turned = np.where(rng.random((NUM_INPUTS, SIZE)) < 0.15, -1, 1)
    meanings = [place % 4 if place % 11 else 4 + place % 2 for place in range(NUM_INPUTS)]
    meanings[7] = NO_MEANING
    vectors = (topics[np.arange(NUM_INPUTS) % 4] * turned).astype(np.float16)
    return SemanticTable(texts=tuple(texts), meanings=tuple(meanings), size=SIZE, vectors=vectors.tobytes())


@pytest.fixture(scope="module")
def items() -> Any:
    return np.random.default_rng(2).integers(0, NUM_INPUTS, NUM_REQUESTS)


def by_the_servers_parts(table: SemanticTable, setup: SemanticSetup, items: Any, at_ns: Any) -> list[int]:
    """As runtime/semantic/front.py puts them together, each fit done as soon as it is due."""
    policy = Policy(setup.max_wrong, setup.audit, setup.seed)
    entries = Scopes(setup.size, setup.ttl_ns, lambda: PlainIndex(SIZE))
    vectors = np.frombuffer(table.vectors, np.float16).reshape(-1, table.size).astype(np.float32)
    outcomes = []
    for item, now_ns in zip(items.tolist(), at_ns.tolist(), strict=True):
        text, meaning, vector = table.texts[item], table.meanings[item], vectors[item]
        wording = read(text)
        found = entries.search(SCOPE, vector, text, now_ns)
        decision = policy.decide(look(wording, found, policy.records))
        if decision.is_hit and decision.look is not None:
            entries.used(decision.look.entry)
            outcomes.append(RIGHT if decision.look.answer == meaning else WRONG)
            continue
        outcomes.append(NO_HIT)
        proposed = decision.look
        if policy.learn(decision, proposed is not None and proposed.answer == meaning != NO_MEANING):
            entries.clear()
        fitting = policy.due()
        if fitting is not None:
            policy.adopt(fitting.run())
        if meaning != NO_MEANING:
            entries.contradicted(found, meaning)
            entries.add(SCOPE, vector, Entry(0, wording, meaning, now_ns))
    return outcomes


@pytest.mark.parametrize(
    ("size", "ttl_ns"), [(100_000, None), (25, None), (100_000, 300)], ids=["all", "bounded", "for a while"]
)
def test_it_answers_what_the_servers_parts_answer(
    table: SemanticTable, items: Any, size: int, ttl_ns: int | None
) -> None:
    setup = SemanticSetup(0.1, 0.03, seed=1, size=size, ttl_ns=ttl_ns)
    at_ns = np.arange(NUM_REQUESTS)
    found = semantic_outcomes(table, setup, items, np.ones(NUM_REQUESTS, np.bool_), at_ns).tolist()
    expected = by_the_servers_parts(table, setup, items, at_ns)
    assert found == expected
    assert expected.count(RIGHT) > 100
    assert expected.count(WRONG) > 0


def test_hits_are_given_in_virtual_time_behind_the_exact_cache(table: SemanticTable, items: Any) -> None:
    fronts = FrontTable(
        keys=tuple(range(NUM_INPUTS)),
        entry_bytes=1,
        hit_ns=[3],
        miss_ns=[5],
        semantic_ns=[7],
        semantic=table,
    )
    profile = msgspec.structs.replace(constant({1: 100}), fronts=fronts)
    semantic = SemanticSetup(0.1, 0.03, seed=1)
    both = FrontsSetup(exact=ExactSetup(ttl_ns=None), semantic=semantic, size_bytes=4)
    setup = Setup("s", lone().stages, 1, 1, 1 << 50, fronts=both)
    arrivals = np.arange(NUM_REQUESTS) * 1_000
    found = run(profile, setup, arrivals, asked=Asked(items))
    took = {EXACT: 3, SEMANTIC: 10, MISS: 112}
    assert found.latency_ns().tolist() == [took[one] for one in found.cache.tolist()]
    assert set(found.cache.tolist()) == set(took)
    assert found.wrong.any()
    assert not found.wrong[found.cache != SEMANTIC].any()
    # A request in turn for the share, and in time here: which entry of the exact cache goes first may differ once or twice,
    # and then other answers are audited.
    assert semantic_share(both, fronts, items) == pytest.approx(found.wrong.mean(), abs=4 / NUM_REQUESTS)


def test_meanings_that_were_not_measured_are_refused(table: SemanticTable) -> None:
    fronts = FrontTable(keys=(0,), entry_bytes=1, hit_ns=[1], why_not_semantic="no data")
    profile = msgspec.structs.replace(constant({1: 100}), fronts=fronts)
    setup = Setup("s", lone().stages, 1, 1, 1 << 50, fronts=FrontsSetup(semantic=SemanticSetup(0.01, 0.03)))
    with pytest.raises(NotProfiledError, match=r"semantic cache was not profiled \(no data\)"):
        run(profile, setup, [0])
