"""When a store that servers share is given up, and when it is tried again."""

from trivet.pipeline.shared_store import StoreBreaker

SECOND_NS = 1_000_000_000


def test_one_that_is_not_there_is_given_up_at_once() -> None:
    breaker = StoreBreaker()
    assert breaker.failed(0, is_certain=True)
    assert (breaker.is_open, breaker.probe_at_ns) == (True, SECOND_NS // 2)


def test_one_that_is_slow_is_given_up_after_the_third_time_in_a_row() -> None:
    breaker = StoreBreaker()
    for _ in range(5):
        assert not breaker.failed(0, is_certain=False)
        assert not breaker.failed(0, is_certain=False)
        assert not breaker.succeeded(), "it was never given up"
    assert [breaker.failed(7, is_certain=False) for _ in range(4)] == [False, False, True, False]
    assert breaker.is_open


def test_waits_between_probes_double_up_to_half_a_minute_and_begin_anew_when_it_is_back() -> None:
    breaker = StoreBreaker()
    breaker.failed(0, is_certain=True)
    waits = []
    now_ns = breaker.probe_at_ns
    for _ in range(8):
        breaker.probe_failed(now_ns)
        waits.append((breaker.probe_at_ns - now_ns) / SECOND_NS)
        now_ns = breaker.probe_at_ns
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30]
    assert breaker.succeeded()
    assert not breaker.is_open
    assert breaker.failed(now_ns, is_certain=True)
    assert breaker.probe_at_ns == now_ns + SECOND_NS // 2
