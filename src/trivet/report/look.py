"""One look for every page and picture: colours by their meaning, in light and dark, and one stack of fonts.

Rules for maintainers: a colour is used by its name here, never by its value. No two names of LIGHT share a value: pictures
are drawn in light and their values become names again where a page shows them in dark (checked in test_look.py). Colours
never stand alone: a shape, a fill or a word says the same.
"""

from collections.abc import Mapping
from types import MappingProxyType

# Categories differ in lightness as well as in hue, after the palette of Okabe and Ito, which survives colour blindness.
LIGHT: Mapping[str, str] = MappingProxyType(
    {
        "paper": "#ffffff",
        "raised": "#f5f6f8",
        "line": "#d8dde3",
        "muted": "#59636e",
        "ink": "#1a1e23",
        "link": "#0a5ea8",
        "good": "#0a7350",
        "bad": "#b3261e",
        "warn": "#8a5a00",
        "c1": "#0b6fb8",
        "c2": "#d9730d",
        "c3": "#0d8a66",
        "c4": "#a0529c",
        "c5": "#ad8300",
        "c6": "#4aa8d8",
        # From the least accurate to the most: orange over teal to blue, apart for every kind of colour blindness.
        "a1": "#b8430c",
        "a2": "#dd8b3a",
        "a3": "#1f9488",
        "a4": "#5b9bd5",
        "a5": "#1a5fa6",
    }
)
DARK: Mapping[str, str] = MappingProxyType(
    {
        "paper": "#14171b",
        "raised": "#1d2126",
        "line": "#363d45",
        "muted": "#a0aab5",
        "ink": "#e9ecef",
        "link": "#7fbdf5",
        "good": "#4fc79a",
        "bad": "#ff8a80",
        "warn": "#e5b454",
        "c1": "#5aaee8",
        "c2": "#f09a4a",
        "c3": "#3fc49b",
        "c4": "#d08fcb",
        "c5": "#dcb64a",
        "c6": "#a5dcf7",
        "a1": "#f07b45",
        "a2": "#f2b272",
        "a3": "#43c9b8",
        "a4": "#86bdf0",
        "a5": "#4d9ff0",
    }
)
CATEGORIES = ("c1", "c2", "c3", "c4", "c5", "c6")
LEVELS = ("a1", "a2", "a3", "a4", "a5")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")  # matplotlib's names; one for each category, then again
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'DejaVu Sans', sans-serif"
MONO = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"


def levels(num: int) -> tuple[str, ...]:
    """Names of `num` colours (at most five), from the least to the most, as far apart as they can be."""
    last = len(LEVELS) - 1
    return tuple(LEVELS[last if num == 1 else round(i * last / (num - 1))] for i in range(num))


def css_variables() -> str:
    """The names as custom properties: light, and dark where the reader's screen wants that; on paper always light."""
    light = _declared(LIGHT) + f"--font:{FONT};--mono:{MONO};"
    return (
        f":root{{color-scheme:light dark;{light}}}\n"
        f"@media screen and (prefers-color-scheme:dark){{:root{{{_declared(DARK)}}}}}\n"
    )


def _declared(colours: Mapping[str, str]) -> str:
    return "".join(f"--{name}:{value};" for name, value in colours.items())
