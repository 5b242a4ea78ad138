"""The strict reader of YAML: YAML 1.2 scalars, lines, and refusal of what nobody means."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet.errors import SpecError
from trivet.spec.yaml_tree import MAX_BYTES, parse_file, parse_text


def refused(text: str) -> str:
    with pytest.raises(SpecError) as caught:
        parse_text(text, "s.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("on", "on"),
        ("off", "off"),
        ("yes", "yes"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("12", 12),
        ("-3", -3),
        ("0x1F", 31),
        ("0o17", 15),
        ("017", 17),
        ("1e-3", 0.001),
        (".5", 0.5),
        ("1.", 1.0),
        ("1_000", "1_000"),
        ("2026-11-22", "2026-11-22"),
        ("12:30", "12:30"),
        ("50ms", "50ms"),
        ("'12'", "12"),
        ('"true"', "true"),
    ],
)
def test_scalars_follow_the_core_schema_of_yaml_1_2(text: str, expected: object) -> None:
    value = parse_text(f"key: {text}", "s.yaml").tree["key"]
    assert expected == value
    assert type(expected) is type(value)


def test_every_place_knows_its_line() -> None:
    document = parse_text("a:\n  b:\n    - x\n    - c: 1\n# comment\nd: {e: [1,\n 2]}\n", "s.yaml")
    assert document.lines == {
        (): 1,
        ("a",): 1,
        ("a", "b"): 2,
        ("a", "b", 0): 3,
        ("a", "b", 1): 4,
        ("a", "b", 1, "c"): 4,
        ("d",): 6,
        ("d", "e"): 6,
        ("d", "e", 0): 6,
        ("d", "e", 1): 7,
    }
    assert str(document.error(("a", "b", 1, "missing"), "no")) == "s.yaml:4: no"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "s.yaml: the file is empty"),
        ("# only a comment\n", "s.yaml: the file is empty"),
        ("a: 1\nb: 2\na: 3\n", "s.yaml:3: key 'a' is given twice; first on line 1"),
        ("a: 1\n12: b\n", "s.yaml:2: a key must be text, got 12; write it in quotes"),
        ("true: b\n", "s.yaml:1: a key must be text, got true"),
        ("? [a, b]\n: c\n", "s.yaml:1: a key must be text, got a list or mapping"),
        ("a:\n\tb: 1\n", "s.yaml:2: indented with a tab"),
        ("a: 1\n---\nb: 2\n", "s.yaml:2: several documents in one file"),
        (
            "a: !!python/object/apply:os.system [ls]\n",
            "s.yaml:1: tags such as !!python/object/apply:os.system",
        ),
        ("a: !!int '3'\n", "s.yaml:1: tags such as !!int are not allowed"),
        ("a: &x 1\nb: {<<: *x}\n", "s.yaml:2: merge keys"),
        ("a: .inf\n", "s.yaml:1: .inf is not a finite number"),
        ("a: 1e999\n", "s.yaml:1: 1e999 is not a finite number"),
        ("a: " + "1" * 5000, "s.yaml:1: a number of 5000 characters"),
        ("a: [1, 2\n", "s.yaml:2: not valid YAML"),
        ("a: *nowhere\n", "s.yaml:1: not valid YAML: found undefined alias"),
        ("a: \x00\n", "s.yaml:1: character"),
        ("a: &a [*a]\n", "s.yaml:1: nested deeper than 40 levels, or an alias that contains itself"),
        ("[" * 60 + "]" * 60, "nested deeper than 40 levels"),
        ("[" * 1000 + "]" * 1000, "nested deeper than 40 levels"),
    ],
)
def test_what_nobody_means_is_refused_with_its_line(text: str, message: str) -> None:
    assert refused(text).startswith(message) or message in refused(text)


def test_aliases_that_expand_to_billions_are_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert "more than 100000 values after its aliases are expanded" in refused("\n".join(lines))


def test_an_alias_is_a_copy() -> None:
    tree = parse_text("a: &x {n: 1}\nb: *x\n", "s.yaml").tree
    assert tree == {"a": {"n": 1}, "b": {"n": 1}}
    assert tree["a"] is not tree["b"]


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    large, binary = tmp_path / "large.yaml", tmp_path / "binary.yaml"
    large.write_bytes(b"#" * (MAX_BYTES + 1))
    binary.write_bytes(b"a: \xff\xfe")
    for path, message in (
        (tmp_path / "none.yaml", "none.yaml: cannot be read: No such file or directory"),
        (tmp_path, "cannot be read: Is a directory"),
        (large, f"large.yaml: {MAX_BYTES + 1} bytes is too large"),
        (binary, "binary.yaml: not UTF-8 text at byte 3"),
    ):
        with pytest.raises(SpecError) as caught:
            parse_file(path)
        assert message in str(caught.value)


@given(st.text(st.sampled_from("ab:-[]{},'\"#&*!|>%@`? \n\t01.~<"), max_size=60))
def test_no_text_brings_anything_but_a_tree_or_an_error_of_ours(text: str) -> None:
    try:
        lines = parse_text(text, "s.yaml").lines
    except SpecError as error:
        lines = {(): 1} if str(error).startswith("s.yaml") else {}
    assert () in lines
