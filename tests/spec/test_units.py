"""Durations and sizes: exact both ways, and errors that say what to write."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet.errors import SpecError
from trivet.spec.units import MAX_VALUE, format_duration, format_size, parse_duration_ns, parse_size


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("50ms", 50_000_000),
        ("1.5s", 1_500_000_000),
        ("200us", 200_000),
        ("0.1us", 100),
        (".5ms", 500_000),
        ("7ns", 7),
        ("0ms", 0),
        ("2min", 120_000_000_000),
        ("1h", 3_600_000_000_000),
        ("10 s", 10_000_000_000),
    ],
)
def test_a_duration_is_exact_nanoseconds(text: str, expected: int) -> None:
    assert expected == parse_duration_ns(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2MiB", 2_097_152), ("10kB", 10_000), ("512B", 512), ("1.5KiB", 1536), ("1GB", 10**9), ("1TiB", 2**40)],
)
def test_a_size_is_exact_bytes(text: str, expected: int) -> None:
    assert expected == parse_size(text)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (50, "expected a duration such as 50ms or 1.5s, got 50 without a unit; units: ns, us, ms, s, min, h"),
        (0, "got 0 without a unit"),
        ("50", "expected a duration such as 50ms or 1.5s, got '50'"),
        ("5m", "unknown unit 'm' in '5m'; write ms or min; units:"),
        ("5µs", "unknown unit 'µs' in '5µs'; write us"),
        ("5 parsecs", "unknown unit 'parsecs'"),
        ("-5ms", "got '-5ms'"),
        ("1e3ms", "got '1e3ms'"),
        ("0.5ns", "'0.5ns' is not a whole number of nanoseconds"),
        ("9223372037s", "is too large: at most 9223372036854775807 nanoseconds"),
        ("1" * 100 + "s", "expected a duration"),
        (True, "got True"),
        (None, "got None"),
        ("5ms\n", "expected a duration"),
    ],
)
def test_what_is_not_a_duration_says_what_to_write(value: object, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_duration_ns(value)
    assert message in str(caught.value)


def test_an_ambiguous_size_names_both_meanings() -> None:
    with pytest.raises(SpecError, match="write kB or KiB"):
        parse_size("10KB")


@pytest.mark.parametrize(
    ("duration_ns", "expected"),
    [
        (50_000_000, "50ms"),
        (1_500_000_000, "1.5s"),
        (200_000, "200us"),
        (7, "7ns"),
        (0, "0ms"),
        (90 * 10**9, "90s"),
    ],
)
def test_a_duration_is_written_in_its_largest_unit(duration_ns: int, expected: str) -> None:
    assert expected == format_duration(duration_ns)


@pytest.mark.parametrize(
    ("num_bytes", "expected"),
    [(2_097_152, "2MiB"), (10_000, "10kB"), (16_384, "16KiB"), (1_001, "1001B"), (0, "0B"), (2**30, "1GiB")],
)
def test_a_size_is_written_in_the_largest_unit_that_divides_it(num_bytes: int, expected: str) -> None:
    assert expected == format_size(num_bytes)


@given(st.integers(0, MAX_VALUE))
def test_what_is_written_is_read_back(value: int) -> None:
    assert value == parse_duration_ns(format_duration(value))
    assert value == parse_size(format_size(value))
