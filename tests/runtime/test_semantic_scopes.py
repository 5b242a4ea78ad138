"""Entries of the semantic cache: found, bounded, forgotten; one contract for every index."""

from collections.abc import Sequence

import numpy as np
import pytest

from trivet.pipeline.semantic.looking import Entry
from trivet.pipeline.semantic.wording import read
from trivet.runtime.semantic import hashed
from trivet.runtime.semantic.encoders import Vector
from trivet.runtime.semantic.index import Index, UsearchIndex
from trivet.runtime.semantic.scope import Scopes

_SIZE = 16


class PlainIndex:
    """The same promise, by looking at everything."""

    def __init__(self, _size: int) -> None:
        self._vectors: dict[int, Vector] = {}

    def __len__(self) -> int:
        return len(self._vectors)

    def add(self, key: int, vector: Vector) -> None:
        self._vectors[key] = vector

    def remove(self, key: int) -> None:
        del self._vectors[key]

    def search(self, vector: Vector, num: int) -> Sequence[tuple[float, int]]:
        found = sorted(((float(vector @ other), key) for key, other in self._vectors.items()), reverse=True)
        return found[:num]


@pytest.fixture(params=[PlainIndex, UsearchIndex])
def index(request: pytest.FixtureRequest) -> Index:
    made: Index = request.param(_SIZE)
    return made


def _unit(place: int, other: float = 0.0) -> Vector:
    vector = np.zeros(_SIZE, np.float32)
    vector[place], vector[(place + 1) % _SIZE] = np.sqrt(1 - other**2), other
    return vector


def test_the_nearest_come_first(index: Index) -> None:
    assert list(index.search(_unit(0), 3)) == []
    for key in range(8):
        index.add(key, _unit(key))
    found = index.search(_unit(2, 0.6), 2)
    assert [key for _, key in found] == [2, 3]
    assert [cosine for cosine, _ in found] == pytest.approx([0.8, 0.6], abs=0.02)


def test_what_is_removed_is_not_found(index: Index) -> None:
    for key in range(4):
        index.add(key, _unit(key))
    index.remove(2)
    assert len(index) == 3
    assert 2 not in [key for _, key in index.search(_unit(2), 4)]


def _entry(text: str, since_ns: int = 0, answer: int = 1) -> Entry:
    return Entry(0, read(text), answer, since_ns)


def _scopes(max_entries: int = 10, ttl_ns: int | None = None) -> Scopes:
    return Scopes(max_entries, ttl_ns, lambda: PlainIndex(_SIZE))


ONE, TWO = ("one", b""), ("two", b"")


def test_scopes_see_only_their_own() -> None:
    scopes = _scopes()
    scopes.add(ONE, _unit(0), _entry("a"))
    assert scopes.search(TWO, _unit(0), "a", 0) == []
    assert [entry.wording.text for _, entry in scopes.search(ONE, _unit(0), "a", 0)] == ["a"]


def test_the_entry_used_least_recently_goes_first() -> None:
    scopes = _scopes(max_entries=2)
    first, second = _entry("a"), _entry("b")
    scopes.add(ONE, _unit(0), first)
    scopes.add(TWO, _unit(1), second)
    scopes.used(first)
    scopes.add(ONE, _unit(2), _entry("c"))
    assert len(scopes) == 2
    assert scopes.search(TWO, _unit(1), "b", 0) == []
    assert scopes.search(ONE, _unit(0), "x", 0)[0] == (pytest.approx(1.0), first)


def test_an_entry_answers_until_its_time_is_over() -> None:
    scopes = _scopes(ttl_ns=10)
    scopes.add(ONE, _unit(0), _entry("a", since_ns=5))
    assert len(scopes.search(ONE, _unit(0), "a", 14)) == 1
    assert scopes.search(ONE, _unit(0), "a", 15) == []
    assert len(scopes) == 0


def test_another_answer_to_the_same_text_takes_its_place() -> None:
    scopes = _scopes()
    scopes.add(ONE, _unit(0), _entry("a", answer=1))
    scopes.add(ONE, _unit(0, 0.5), _entry("b", answer=1))
    found = scopes.search(ONE, _unit(0), "a", 0)
    scopes.contradicted(found, 2)
    assert [entry.wording.text for _, entry in scopes.search(ONE, _unit(0), "a", 0)] == ["b"]


def test_the_same_text_is_found_though_the_index_missed_it() -> None:
    scopes = _scopes()
    scopes.add(ONE, _unit(0), _entry("a"))
    same = _entry("b")
    scopes.add(ONE, _unit(5), same)
    scopes._indexes[ONE].remove(1)
    assert scopes.search(ONE, _unit(0), "b", 0)[0] == (1.0, same)


def test_hashed_vectors_are_of_length_one_and_the_same_for_all_ways_to_write_a_text() -> None:
    one = hashed.encode("Where is my card?")
    assert one.shape == (hashed.SIZE,)
    assert float(one @ one) == pytest.approx(1)
    assert hashed.encode("  where IS my card ").tolist() == one.tolist()
    near, far = hashed.encode("where's the card of mine"), hashed.encode("change the exchange rate")
    assert float(one @ near) > float(one @ far)


@pytest.mark.parametrize("text", ["", "?", "\N{PARTY POPPER}"])
def test_a_text_that_says_nothing_has_no_vector(text: str) -> None:
    assert not hashed.encode(text).any()
