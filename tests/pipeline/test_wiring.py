"""Where a stage takes its inputs: the latest stage that gave the name, whatever the chain."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet.errors import EngineError
from trivet.pipeline.wiring import REQUEST, Taking, Wiring

NAMES = st.sampled_from("abcd")
STAGES = st.lists(
    st.tuples(st.none() | st.dictionaries(NAMES, NAMES, min_size=1), st.sets(NAMES), st.booleans()),
    min_size=1,
    max_size=6,
)


@given(stages=STAGES, request_names=st.sets(NAMES, min_size=1))
def test_each_input_is_the_latest_tensor_of_its_name(
    stages: list[tuple[dict[str, str] | None, set[str], bool]], request_names: set[str]
) -> None:
    """Against a slow walk that remembers everything; a tensor is written as (who gave it, its name)."""
    takings = [
        Taking(str(place), takes, gives if known else None)
        for place, (takes, gives, known) in enumerate(stages)
    ]
    wiring = Wiring(takings, request_names)
    outputs = {name: (REQUEST, name) for name in request_names}
    everything = dict(outputs)
    carried: dict[str, tuple[int, str]] = {}
    for place, (takes, gives, _) in enumerate(stages):
        wanted = (
            outputs if takes is None else {name: everything.get(source) for name, source in takes.items()}
        )
        if None in wanted.values():
            with pytest.raises(EngineError, match="needs"):
                wiring.hand_over(place - 1, outputs, carried)
            return
        assert wanted == wiring.hand_over(place - 1, outputs, carried)
        outputs = {name: (place, name) for name in gives}
        everything |= outputs


def test_a_chain_that_only_hands_on_carries_nothing() -> None:
    stages = [
        Taking("tokenize", None, ["ids", "mask"]),
        Taking("encoder", {"ids": "ids", "mask": "mask"}, ["hidden"]),
        Taking("pool", None, ["vector"]),
    ]
    assert not Wiring(stages, ["text"]).carries
    stages[2] = Taking("pool", {"hidden": "hidden", "weights": "mask"}, ["vector"])
    wiring = Wiring(stages, ["text"])
    assert (wiring.carries, set(wiring.kept(0)), set(wiring.kept(REQUEST))) == (True, {"mask"}, set())


def test_an_input_that_nobody_gave_is_told_with_what_there_is() -> None:
    wiring = Wiring([Taking("a", None, None), Taking("b", {"x": "y"}, ["z"])], ["t"])
    with pytest.raises(EngineError, match=r"'b' needs 'y'; the stages before it gave \['w'\]"):
        wiring.hand_over(0, {"w": 1}, {})
