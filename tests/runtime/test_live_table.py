"""Which of several live configurations answers a request."""

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet.errors import UnavailableError
from trivet.runtime.table import LiveTable


def table(*shares: float) -> LiveTable:
    entries: Any = [(SimpleNamespace(hash=f"{i}" * 8), share) for i, share in enumerate(shares)]
    return LiveTable(entries)


@given(
    shares=st.lists(st.integers(1, 100), min_size=2, max_size=4),
    num=st.integers(1, 3000),
    before=st.integers(0, 500),
)
def test_requests_without_a_key_are_dealt_out_at_the_shares(shares: list[int], num: int, before: int) -> None:
    found = table(*shares)
    for _ in range(before):
        found.pick(b"")
    counts = Counter(found.pick(b"").hash for _ in range(num))
    for live, share in zip(found.entries, shares, strict=True):
        assert abs(counts[live.hash] - num * share / sum(shares)) <= 6


@given(key=st.binary(min_size=1, max_size=40))
def test_a_key_stays_where_it_is(key: bytes) -> None:
    found = table(90, 10)
    first = found.pick(key)
    assert all(found.pick(key) is first for _ in range(3))
    assert found.pick(b"") is not None
    assert found.pick(key) is first


def test_nothing_live_is_said() -> None:
    with pytest.raises(UnavailableError, match="no configuration"):
        LiveTable().pick(b"")
