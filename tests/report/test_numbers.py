import pytest

from trivet.catalog.records import Figure
from trivet.report.numbers import bounds, label, lever_value, lever_word, ratio, value, whole


@pytest.mark.parametrize(
    ("figure", "expected"),
    [
        (Figure(estimate=4.2134, low=4.0211, high=4.6442, unit="ms"), "4.21 ms [4.02, 4.64]"),
        (Figure(estimate=1234.5, low=1200.2, high=1270.4, unit="requests/s"), "1,234/s [1,200, 1,270]"),
        (Figure(estimate=0.9174, low=0.9011, high=0.9312, unit="accuracy"), "91.7 % [90.1, 93.1]"),
        (Figure(estimate=0.9174, low=0.9171, high=0.9178, unit="share"), "91.740 % [91.710, 91.780]"),
        (Figure(estimate=0.91742, unit="auc"), "0.9174 auc"),
        (Figure(estimate=12.0, low=10.0, unit="ms"), "12 ms [10, ∞]"),
        (Figure(estimate=12.0, high=10.0, unit=""), "12 [-∞, 10]"),
        (Figure(estimate=7.0, low=7.0, high=7.0, unit="ms"), "7 ms [7, 7]"),
        (Figure(estimate=0.0, low=0.0, high=0.0004, unit="share"), "0.000 % [0.000, 0.040]"),
    ],
)
def test_an_interval_says_how_many_digits_stand(figure: Figure, expected: str) -> None:
    assert whole(figure) == expected
    assert f"{value(figure)} {bounds(figure)}".rstrip() == expected


@pytest.mark.parametrize(
    ("figure", "expected"),
    [
        (Figure(estimate=1.21, low=1.16, high=1.26, unit="times"), "+21 % [+16, +26]"),
        (Figure(estimate=0.97, low=0.95, high=1.01, unit="times"), "-3.0 % [-5.0, +1.0]"),
        (Figure(estimate=1.5, unit="times"), "+50 %"),
        (Figure(estimate=3.4, low=3.1, high=3.84, unit="times"), "× 3.4 [3.1, 3.8]"),
        (Figure(estimate=12.3, unit="times"), "× 12"),
        (Figure(estimate=1.5, low=1.2, unit="times"), "+50 % [+20, ∞]"),
    ],
)
def test_a_ratio_is_a_change_and_from_three_on_times(figure: Figure, expected: str) -> None:
    assert ratio(figure) == expected


def test_names_are_words() -> None:
    assert label("latency_p99_ms") == "p99 latency"
    assert label("latency_p999_ms") == "p99.9 latency"
    assert label("accuracy[en]") == "accuracy, en"
    assert label("time_to_first_token_p50_ms") == "time to first token p50"
    assert lever_word("model.max_batch_size") == "model: max batch size"
    assert (lever_value("deferral_ns", 2_000_000), lever_value("spinning", True)) == ("2 ms", "on")
    assert (lever_value("queue", None), lever_value("x", 0.125), lever_value("queue", "5ms")) == (
        "none",
        "0.125",
        "5ms",
    )
