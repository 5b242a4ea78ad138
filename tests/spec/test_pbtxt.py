"""The reader of protobuf's text format."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet.errors import SpecError
from trivet.spec.pbtxt import Block, Entry, Word, parse


def plain(block: Block) -> list[tuple[str, object]]:
    return [(e.name, plain(e.value) if isinstance(e.value, Block) else e.value) for e in block.entries]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("# only a comment", []),
        ('name: "m"', [("name", "m")]),
        ("name: 'it''s' \"one\"", [("name", "itsone")]),
        (r'a: "tab\t quote\" \x41\101 \\"', [("a", 'tab\t quote" AA \\')]),
        (
            "n: 12 m: -3; h: 0x1F, f: 1.5e3 g: .5f",
            [("n", 12), ("m", -3), ("h", 31), ("f", 1500.0), ("g", 0.5)],
        ),
        ("kind: KIND_CPU on: true", [("kind", "KIND_CPU"), ("on", "true")]),
        ("dims: [ -1, 3 ] dims: 4", [("dims", -1), ("dims", 3), ("dims", 4)]),
        ("a { b: 1 } c: { d: 2 } e < f: 3 >", [("a", [("b", 1)]), ("c", [("d", 2)]), ("e", [("f", 3)])]),
        (
            "input: [ { a: 1 }, { a: 2 } ]",
            [("input", [("a", 1)]), ("input", [("a", 2)])],
        ),
        ("empty: []", []),
        ("a: 1 # one\n# two\nb: '#'", [("a", 1), ("b", "#")]),
    ],
)
def test_text_becomes_entries(text: str, expected: list[tuple[str, object]]) -> None:
    assert expected == plain(parse(text, "c.pbtxt"))


def test_a_list_of_messages_needs_no_colon() -> None:
    assert plain(parse("input [ { a: 1 }, { } ]", "c.pbtxt")) == [("input", [("a", 1)]), ("input", [])]


def test_words_and_strings_stay_apart() -> None:
    entries = parse('a: WORD b: "WORD"', "c.pbtxt").entries
    assert [isinstance(entry.value, Word) for entry in entries] == [True, False]


def test_every_entry_knows_its_line() -> None:
    block = parse("a: 1\n\nb {\n  c: 2 # x\n  d: [3,\n4]\n}", "c.pbtxt")
    inside = block.entries[1].value
    assert isinstance(inside, Block)
    assert [entry.line for entry in block.entries] == [1, 3]
    assert [Entry("c", 2, 4), Entry("d", 3, 5), Entry("d", 4, 6)] == inside.entries


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb {\n c: 2\n", "c.pbtxt:2: '{' is never closed"),
        ("a 1", "c.pbtxt:1: expected ':' or '{' after 'a', got '1'"),
        ("a:\n}", "c.pbtxt:2: expected a value, got '}'"),
        ("a: 1 }", "c.pbtxt:1: expected the name of a field, got '}'"),
        ("12: 1", "c.pbtxt:1: expected the name of a field, got '12'"),
        ("a: [1 2]", "c.pbtxt:1: expected ',' or ']' in a list, got '2'"),
        ("a: [1,", "c.pbtxt:1: expected a value, got the end of the file"),
        ("a:", "c.pbtxt:1: expected a value, got the end of the file"),
        ('a: "open\n', "c.pbtxt:1: '\"' does not belong here"),
        ("\na: $", "c.pbtxt:2: '$' does not belong here"),
        ("a: " + "1" * 41, "c.pbtxt:1: a number of 41 characters"),
        ("a {" * 50 + "}" * 50, "c.pbtxt:1: nested deeper than 40 levels"),
        ("#" * (1 << 20) + "#", "c.pbtxt: 1048577 characters are too many"),
    ],
)
def test_what_is_not_text_format_is_told_with_its_line(text: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse(text, "c.pbtxt")
    assert str(caught.value).startswith(message)


@given(st.text(st.sampled_from("ab:[]{}<>,;\"'\\#0.-\n "), max_size=60))
def test_no_text_brings_anything_but_entries_or_an_error_of_ours(text: str) -> None:
    try:
        lines = [entry.line for entry in parse(text, "c.pbtxt").entries]
    except SpecError as error:
        lines = [int(str(error).split(":")[1])]
    assert all(1 <= line <= text.count("\n") + 1 for line in lines)
