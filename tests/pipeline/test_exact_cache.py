"""Which of equal requests is computed, who waits for it, and that each that waits comes out once."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from trivet.pipeline.exact_cache import NEVER, Flights, is_fresh

K, L = b"k", b"l"


def test_the_first_leads_and_the_others_wait_for_its_answer() -> None:
    flights = Flights[int]()
    assert [flights.arrive(K, who, 100 + who, 2) for who in (1, 2, 3)] == ["lead", "wait", "wait"]
    assert flights.arrive(L, 4, 100, 2) == "lead"
    assert flights.landed(1) == [2, 3]
    assert (flights.landed(1), flights.wake_at_ns(), len(flights)) == ([], NEVER, 1)
    assert flights.arrive(K, 5, 100, 2) == "lead"


@pytest.mark.parametrize(("end_by_ns", "urgency"), [(99, 2), (100, 1), (500, 1), (99, 3)])
def test_nobody_waits_for_one_that_may_be_slower_than_itself(end_by_ns: int, urgency: int) -> None:
    flights = Flights[int]()
    flights.arrive(K, 1, 100, 2)
    assert flights.arrive(K, 2, end_by_ns, urgency) == "alone"
    assert flights.landed(1) == []


def test_an_error_is_nobody_elses() -> None:
    flights = Flights[int]()
    for who in (1, 2, 3):
        flights.arrive(K, who, 100, 2)
    assert flights.failed(1) == [2, 3]
    assert (len(flights), flights.failed(2), flights.left(3)) == (0, [], [])


def test_where_only_the_leaders_client_left_the_most_urgent_leads() -> None:
    flights = Flights[int]()
    for who, end_by_ns, urgency in ((1, 100, 1), (2, 150, 3), (3, 120, 2), (4, 110, 3), (5, 300, 3)):
        flights.arrive(K, who, end_by_ns, urgency)
    assert flights.left(1) == [3, 4], "3 leads; 4 would have to wait past its deadline; 2 and 5 wait on"
    assert flights.landed(4) == []
    assert sorted(flights.landed(3)) == [2, 5]


def test_one_that_waits_may_leave() -> None:
    flights = Flights[int]()
    for who in (1, 2, 3):
        flights.arrive(K, who, 100 + who, 2)
    assert flights.left(2) == []
    assert flights.wake_at_ns() == 103
    assert flights.landed(1) == [3]


def test_nobody_waits_past_its_deadline() -> None:
    flights = Flights[int]()
    for who in (1, 2, 3):
        flights.arrive(K, who, 100 + who, 2)
    assert (flights.wake_at_ns(), flights.expire(101)) == (102, [])
    assert flights.expire(102) == [2]
    assert flights.landed(1) == [3]
    assert flights.expire(NEVER) == []


@pytest.mark.parametrize(
    ("ttl_ns", "now_ns", "fresh"), [(10, 14, True), (10, 15, False), (None, NEVER, True)]
)
def test_an_answer_is_fresh_until_its_time_is_over(ttl_ns: int | None, now_ns: int, fresh: bool) -> None:
    assert is_fresh(5, ttl_ns, now_ns) is fresh


class FlightsMachine(RuleBasedStateMachine):
    """Any order of events: who waits is told apart by a plain list, and comes out once."""

    def __init__(self) -> None:
        super().__init__()
        self.flights = Flights[int]()
        self.now_ns = 0
        self.num = 0
        self.leaders: dict[int, tuple[bytes, int, int]] = {}
        self.waiting: dict[int, tuple[bytes, int, int]] = {}

    def _out(self, key: bytes, found: list[int]) -> None:
        assert sorted(found) == sorted(who for who, (own, _, _) in self.waiting.items() if own == key)
        for who in found:
            del self.waiting[who]

    @rule(key=st.sampled_from([K, L]), allowed=st.integers(1, 50), urgency=st.integers(1, 3))
    def arrive(self, key: bytes, allowed: int, urgency: int) -> None:
        who, end_by_ns = self.num, self.now_ns + allowed
        self.num += 1
        leader = next((one for one in self.leaders.values() if one[0] == key), None)
        role = self.flights.arrive(key, who, end_by_ns, urgency)
        if leader is None:
            assert role == "lead"
            self.leaders[who] = (key, end_by_ns, urgency)
        elif end_by_ns >= leader[1] and urgency >= leader[2]:
            assert role == "wait"
            self.waiting[who] = (key, end_by_ns, urgency)
        else:
            assert role == "alone"

    @precondition(lambda self: self.leaders)
    @rule(data=st.data(), lands=st.booleans())
    def ends(self, data: st.DataObject, lands: bool) -> None:
        who = data.draw(st.sampled_from(sorted(self.leaders)))
        key, _, _ = self.leaders.pop(who)
        self._out(key, self.flights.landed(who) if lands else self.flights.failed(who))

    @precondition(lambda self: self.leaders)
    @rule(data=st.data())
    def leader_leaves(self, data: st.DataObject) -> None:
        who = data.draw(st.sampled_from(sorted(self.leaders)))
        key, _, _ = self.leaders.pop(who)
        going = self.flights.left(who)
        if going:
            leader = going[0]
            self.leaders[leader] = self.waiting[leader]
        for one in going:
            del self.waiting[one]
        staying = [one for own, *one in self.waiting.values() if own == key]
        assert going or not staying
        for end_by_ns, urgency in staying:
            assert end_by_ns >= self.leaders[leader][1]
            assert urgency >= self.leaders[leader][2]

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def one_that_waits_leaves(self, data: st.DataObject) -> None:
        who = data.draw(st.sampled_from(sorted(self.waiting)))
        del self.waiting[who]
        assert self.flights.left(who) == []

    @rule(ns=st.integers(0, 30))
    def time_passes(self, ns: int) -> None:
        self.now_ns += ns
        late = self.flights.expire(self.now_ns)
        assert sorted(late) == sorted(w for w, (_, end, _) in self.waiting.items() if end <= self.now_ns)
        for who in late:
            del self.waiting[who]

    @invariant()
    def knows_who_is_there_and_when_to_wake(self) -> None:
        assert len(self.flights) == len(self.leaders) + len(self.waiting)
        assert self.flights.wake_at_ns() == min([end for _, end, _ in self.waiting.values()], default=NEVER)


TestFlights = FlightsMachine.TestCase
TestFlights.settings = settings(max_examples=25, stateful_step_count=25, deadline=None, derandomize=True)
