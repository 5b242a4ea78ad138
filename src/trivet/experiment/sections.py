"""Rates and shares over a run's window, with their spread from parts of it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trivet.catalog.records import Figure
from trivet.experiment.making_figures import MIN_PARTS, mean_figure
from trivet.experiment.measured import Measured
from trivet.stats.mean import mean_of_blocks
from trivet.stats.proportion import proportion_interval

NUM_SECTIONS = 20  # of one run's window; several blocks share them
NS_PER_S = 1e9


class Section:
    """Counts of one part of a block's window."""

    __slots__ = ("num_answered", "num_good", "num_in_time", "num_offered", "num_within", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        # by intended time
        self.num_offered = self.num_answered = self.num_within = 0
        # by time of the answer
        self.num_in_time = self.num_good = 0


def sections_of(measured: Measured, num_blocks: int, slo_latency_ns: int | None) -> list[Section]:
    """A block as one section, or, where there are few blocks, cut into several of equal length."""
    window = measured.window
    if not window.num_rows:
        return []
    num = max(1, NUM_SECTIONS // num_blocks)
    begin = measured.record.measured_from_ns
    end = int(window["intended_ns"].max()) + 1
    edges = np.linspace(begin, end, num + 1)
    answered = window.words["outcome"].equal("ok", "late")
    within = answered if slo_latency_ns is None else answered & (window.latency_ns() <= slo_latency_ns)

    def count(instants: NDArray[np.int64], chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.histogram(instants[chosen], edges)[0]

    intended, done = window["intended_ns"], window["done_ns"]
    sections = []
    columns = zip(
        count(intended, np.ones_like(answered)),
        count(intended, answered),
        count(intended, within),
        count(done, answered),
        count(done, within),
        strict=True,
    )
    for offered, answers, good, in_time, good_in_time in columns:
        section = Section((end - begin) / num / NS_PER_S)
        section.num_offered, section.num_answered, section.num_within = int(offered), int(answers), int(good)
        section.num_in_time, section.num_good = int(in_time), int(good_in_time)
        sections.append(section)
    return sections


def rates(sections: Sequence[Section], confidence: float) -> dict[str, Figure]:
    """Results a second while load was offered, and those of them within the SLO."""
    throughput = [section.num_in_time / section.seconds for section in sections]
    goodput = [section.num_good / section.seconds for section in sections]
    return {
        "throughput_rps": mean_figure(throughput, "requests/s", confidence, low=0.0),
        "goodput_rps": mean_figure(goodput, "requests/s", confidence, low=0.0),
    }


def shares(sections: Sequence[Section], confidence: float) -> dict[str, Figure]:
    """Of the requests offered: those answered within the SLO, and those without a result."""
    offered = np.array([section.num_offered for section in sections])
    within = np.array([section.num_within for section in sections])
    failed = offered - np.array([section.num_answered for section in sections])
    return {
        "slo_attainment": _share(within, offered, confidence),
        "error_share": _share(failed, offered, confidence),
    }


def _share(hits: NDArray[np.int64], counts: NDArray[np.int64], confidence: float) -> Figure:
    """A share with the wider of two intervals: exact for independent requests, and over sections, which depend less.

    Neither alone will do: errors come in bursts, and sections without any error have no spread.
    """
    exact = proportion_interval(int(hits.sum()), int(counts.sum()), confidence)
    used = counts > 0
    low, high = exact.low, exact.high
    if used.sum() >= MIN_PARTS:
        spread = mean_of_blocks(hits[used] / counts[used], confidence)
        low, high = min(low, max(0.0, spread.low)), max(high, min(1.0, spread.high))
    return Figure(estimate=exact.estimate, low=low, high=high, unit="share")
