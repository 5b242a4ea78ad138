"""How easy texts are: features, scores, and routers on disk."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet.errors import SpecError
from trivet.pipeline.routing import TABLE_BITS, Router, Routing, features, read_router, write_router

PLACES = 1 << TABLE_BITS


def router(first: str, last: str) -> Router:
    """The first model is good where one word stands, the last where another does."""
    weights = np.zeros((2, PLACES), np.float32)
    for row, word in enumerate((first, last)):
        weights[row, features(word)[0]] = 9
    return Router(np.ones(PLACES, np.float32), weights, np.zeros(2, np.float32))


@given(st.text(max_size=300))
def test_features_are_places_of_the_table_each_once(text: str) -> None:
    places, values = features(text)
    assert len(places) == len(set(places.tolist())) == len(values)
    assert all(0 <= place < PLACES for place in places)
    assert (values >= 1).all()


def test_case_and_spaces_do_not_matter() -> None:
    one, other = features("What IS  it"), features("what is it")
    np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_array_equal(one[1], other[1])


def test_a_long_text_is_read_up_to_a_bound() -> None:
    start = "word " * 4_000
    np.testing.assert_array_equal(features(start)[0], features(start + "other " * 10_000)[0])


def test_ease_is_the_difference_of_two_probabilities() -> None:
    found = router("apple", "pear")
    places, values = features("apple")
    known = [place for place in places.tolist() if found.weights[0, place]]
    logit = 9 * sum(values[places == place].sum() for place in known) / math.sqrt(float(values @ values))
    assert found.ease("apple") == pytest.approx(1 + 1 / (1 + math.exp(-logit)) - 0.5)
    assert found.ease("pear") == pytest.approx(2 - found.ease("apple"))
    assert found.ease("") == 1.0


def test_a_request_is_easy_where_all_its_texts_are() -> None:
    routing = Routing(router("apple", "pear"), "text", 0, 1.0)
    assert routing.is_easy({"text": np.array([b"apple", b"plum"], object)})
    assert not routing.is_easy({"text": np.array([b"apple", b"pear"], object)})


def test_a_router_is_read_back_as_it_was(tmp_path: Path) -> None:
    written, path = router("apple", "pear"), tmp_path / "router.npz"
    write_router(path, written)
    found = read_router(path)
    assert found.ease("an apple a day") == written.ease("an apple a day")


def test_what_is_no_router_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "router.npz"
    path.write_bytes(b"rubbish")
    with pytest.raises(SpecError, match="trivet certify"):
        read_router(path)
    np.savez(path, scale=np.ones(4), weights=np.ones((2, 4)), bias=np.ones(2))
    with pytest.raises(SpecError, match="another form"):
        read_router(path)
    with pytest.raises(SpecError, match="trivet certify"):
        read_router(tmp_path / "none.npz")
