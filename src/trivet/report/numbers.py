"""Figures in words, in one place: how many digits, which unit, which name. Pages, pictures and Markdown all use these."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from trivet.catalog.records import Figure
from trivet.report.text import number

__all__ = [
    "bounds",
    "counted",
    "label",
    "lever_value",
    "lever_word",
    "milliseconds",
    "number",
    "percent_change",
    "percentile_word",
    "ratio",
    "short",
    "value",
    "whole",
]

LABELS: Mapping[str, str] = MappingProxyType(
    {
        "max_rate_rps": "largest rate within the SLO",
        "throughput_rps": "throughput",
        "goodput_rps": "goodput",
        "knee_rps": "knee",
        "slo_attainment": "SLO attainment",
        "error_share": "without a result",
        "hit_share": "answered before the pipeline",
        "wrong_hit_share": "wrong answers of the semantic cache",
        "cpu_ms_per_request": "processor time a request",
        "cost_per_million": "cost of a million results",
        "memory_mib": "memory",
        "calibration_error": "calibration error",
        "floor_p50_ms": "floor, p50",
        "floor_p99_ms": "floor, p99",
    }
)
_SHORT = {
    "max_rate_rps": "largest rate",
    "cpu_ms_per_request": "processor time",
    "cost_per_million": "cost of a million",
    "hit_share": "hits",
}
_SHARES = {"share", "accuracy"}  # units whose values are shares of one, told in percent
_MS = 1e6
_TIMES_FROM = 3.0  # a ratio from which on times say more than percent
_LEAST_WIDTH = 1e-9  # of the estimate: an interval narrower than this says nothing about digits
_MAX_DIGITS = 6


def label(name: str) -> str:
    """A figure's name for people: `latency_p999_ms` is "p99.9 latency", `accuracy[en]` is "accuracy, en"."""
    if name in LABELS:
        return LABELS[name]
    if name.startswith("latency_p") and name.endswith("_ms"):
        return f"{percentile_word(name)} latency"
    base, bracket, cohort = name.partition("[")
    words = base.removesuffix("_ms").removesuffix("_rps").replace("_", " ")
    return f"{words}, {cohort.removesuffix(']')}" if bracket else words


def short(name: str) -> str:
    """The same for places with little room: "largest rate"."""
    return _SHORT.get(name) or label(name)


def percentile_word(name: str) -> str:
    """`latency_p999_ms` is "p99.9"."""
    digits = name.removeprefix("latency_p").removesuffix("_ms")
    return f"p{digits[:2]}.{digits[2:]}" if len(digits) > 2 else f"p{digits}"


def unit_word(unit: str) -> str:
    return {"requests/s": "/s", "share": "%", "accuracy": "%"}.get(unit, f" {unit}" if unit else "")


def value(figure: Figure) -> str:
    """Estimate and unit, with as many digits as its interval lets stand."""
    return _with_unit(_digits(figure)[0], figure.unit)


def bounds(figure: Figure) -> str:
    """The interval alone, in the same digits; empty where there is none."""
    if figure.low is None and figure.high is None:
        return ""
    _, low, high = _digits(figure)
    return f"[{low}, {high}]"


def whole(figure: Figure) -> str:
    """Estimate, interval and unit: `4.21 ms [4.02, 4.64]`."""
    return f"{value(figure)} {bounds(figure)}".rstrip()


def ratio(figure: Figure) -> str:
    """A ratio as a change: `+21 % [+16, +26]`; from three times on as times."""
    if figure.estimate >= _TIMES_FROM:
        return _times(figure)
    centre = percent_change(figure.estimate)
    if figure.low is None and figure.high is None:
        return f"{centre} %"
    low = "-100" if figure.low is None else percent_change(figure.low)
    high = "∞" if figure.high is None else percent_change(figure.high)
    return f"{centre} % [{low}, {high}]"


def _times(figure: Figure) -> str:
    """`× 3.4 [3.1, 3.8]`."""
    ends = [None if end is None else f"{end:.2g}" if end < 10 else f"{end:,.0f}" for end in _ends(figure)]
    centre, low, high = ends
    return f"× {centre}" if low is None and high is None else f"× {centre} [{low or 0}, {high or '∞'}]"


def _ends(figure: Figure) -> tuple[float | None, float | None, float | None]:
    return figure.estimate, figure.low, figure.high


def percent_change(times: float) -> str:
    change = (times - 1) * 100
    digits = 1 if abs(change) < 10 else 0
    return f"{change:+.{digits}f}"


def counted(num: int, noun: str) -> str:
    """`1 run`, `1,296 runs`."""
    return f"{num:,} {noun}" + "s" * (num != 1)


def milliseconds(ns: float) -> str:
    return f"{number(ns / _MS)} ms"


def lever_value(name: str, setting: Any) -> str:
    """A lever's value: durations in ms, None and booleans as words."""
    if name.endswith("_ns") and isinstance(setting, int | float) and not isinstance(setting, bool):
        return milliseconds(setting)
    if setting is None:
        return "none"
    if isinstance(setting, bool):
        return "on" if setting else "off"
    return number(setting) if isinstance(setting, float) else str(setting)


def lever_word(name: str) -> str:
    """`model.max_batch_size` is "model: max batch size"; `deferral_ns` is "deferral"."""
    model, dot, lever = name.rpartition(".")
    words = lever.removesuffix("_ns").replace("_", " ")
    return f"{model}: {words}" if dot else words


def _digits(figure: Figure) -> tuple[str, str, str]:
    """Estimate and bounds, rounded alike: two digits of the half-width stand, the rest is noise."""
    scale = 100 if figure.unit in _SHARES else 1
    width = 0.0 if figure.low is None or figure.high is None else (figure.high - figure.low) / 2 * scale
    digits = None
    if width > _LEAST_WIDTH * abs(figure.estimate * scale):
        digits = min(_MAX_DIGITS, max(0, 1 - math.floor(math.log10(width))))

    def text(end: float | None, infinite: str) -> str:
        if end is None:
            return infinite
        if digits is not None:
            return f"{end * scale:,.{digits}f}"
        return f"{end * scale:.1f}" if scale == 100 else number(end)

    return text(figure.estimate, ""), text(figure.low, "-∞"), text(figure.high, "∞")


def _with_unit(text: str, unit: str) -> str:
    word = unit_word(unit)
    return f"{text} %" if word == "%" else f"{text}{word}"
