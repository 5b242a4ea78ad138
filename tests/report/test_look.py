from itertools import combinations, pairwise

import pytest

from trivet.report.look import CATEGORIES, DARK, LEVELS, LIGHT, css_variables, levels


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2 defines it."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_each_value_of_the_light_colours_has_one_name() -> None:
    assert len(set(LIGHT.values())) == len(LIGHT)
    assert LIGHT.keys() == DARK.keys()


@pytest.mark.parametrize("colours", [LIGHT, DARK])
def test_text_can_be_read(colours: dict[str, str]) -> None:
    """WCAG 2 AA: 4.5 for text, 3 for large text and what is drawn."""
    for ground in ("paper", "raised"):
        for text in ("ink", "muted", "link", "good", "bad", "warn"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    for drawn in ("c1", "c2", "c3", "c4", "c5", "a1", "a5"):
        assert contrast(colours[drawn], colours["paper"]) >= 3, drawn


# Viénot, Brettel and Mollon (1999): linear RGB as who lacks the long-wave or the medium-wave cones sees it.
BLIND = {
    "protan": ((0.11238, 0.88762, 0.0), (0.11238, 0.88762, 0.0), (0.00401, -0.00401, 1.0)),
    "deutan": ((0.29275, 0.70725, 0.0), (0.29275, 0.70725, 0.0), (-0.02234, 0.02234, 1.0)),
}


@pytest.mark.parametrize("kind", BLIND)
@pytest.mark.parametrize("colours", [LIGHT, DARK])
def test_levels_of_accuracy_stay_apart_for_the_colour_blind(colours: dict[str, str], kind: str) -> None:
    seen = [_seen(colours[name], kind) for name in LEVELS]
    for (i, a), (j, b) in combinations(enumerate(seen), 2):
        assert _distance(a, b) > 0.08, (LEVELS[i], LEVELS[j])
    for a, b in pairwise([_seen(colours[name], kind) for name in CATEGORIES[:4]]):
        assert _distance(a, b) > 0.08


def _seen(colour: str, kind: str) -> list[float]:
    linear = [(int(colour[i : i + 2], 16) / 255) ** 2.2 for i in (1, 3, 5)]
    mixed = [sum(weight * c for weight, c in zip(row, linear, strict=True)) for row in BLIND[kind]]
    return [max(0.0, c) ** (1 / 2.2) for c in mixed]


def _distance(a: list[float], b: list[float]) -> float:
    return sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) ** 0.5


def test_levels_are_as_far_apart_as_they_can_be() -> None:
    assert levels(1) == ("a5",)
    assert levels(2) == ("a1", "a5")
    assert levels(3) == ("a1", "a3", "a5")
    assert levels(5) == LEVELS


def test_every_name_is_a_variable_of_both_schemes() -> None:
    text = css_variables()
    for name in LIGHT:
        assert text.count(f"--{name}:") == 2
    assert "@media screen and (prefers-color-scheme:dark)" in text
