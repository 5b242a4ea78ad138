"""What tune_truth measured live, as it lies on disk, and a bench for the tuner that is made of nothing else.

A slice begins and ends with a calibration block: the default at the reference rate. How fast the machine was in a slice,
by the median latency of those against all, moves the rates of that slice, so that slices can be compared.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks._other_searches import Truth
from trivet.catalog.records import Figure
from trivet.catalog.study import Goal
from trivet.errors import UserError
from trivet.experiment.simulating.simulated import setup_of, stage_key
from trivet.schedule.deferral import MIN_GAIN
from trivet.simulate.profile import ServiceProfile
from trivet.simulate.setup import Setup
from trivet.tune.bench import Bench, BlockResult
from trivet.tune.choice import Choice
from trivet.tune.narrowing import gains_of, profiled_choices
from trivet.tune.space import Space

_S = 1_000_000_000
_START_NS = 2 * _S
_POINT_NS = 3 * _S // 2


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """One live block. part: of the measurement: "limit", "reference", "calibration", or "again" for the best once more."""

    slice_: int = msgspec.field(name="slice")
    part: str
    levers: dict[str, Any]
    rate_rps: float
    figures: dict[str, float]
    invalid: str = ""
    failure: str = ""


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The first line of the file."""

    name: str
    goal: Goal
    reference_rps: float
    default: dict[str, Any]
    profile: ServiceProfile
    machine: str
    seconds: float


@dataclass(slots=True)
class Rows:
    """A file of live rows. accuracies: as judged, by choice. space: of exactly the configurations that were measured.

    What runs the same is one configuration, whatever was declared: its blocks are taken together.
    """

    head: Head
    blocks: Sequence[Block]
    space: Space
    accuracies: Mapping[Choice, Figure]
    _kinds: dict[Choice, object] = field(default_factory=dict)
    _by_kind: dict[object, list[Block]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.head.name}, live"

    @property
    def goal(self) -> Goal:
        return self.head.goal

    def speeds(self) -> dict[int, float]:
        """How many times as slow as usual the machine was in each slice."""
        by_slice: dict[int, list[float]] = {}
        for block in self.blocks:
            if block.part == "calibration" and block.figures.get("latency_p50_ms"):
                by_slice.setdefault(block.slice_, []).append(block.figures["latency_p50_ms"])
        if not by_slice:
            return {}
        usual = float(np.median([one for found in by_slice.values() for one in found]))
        return {number: float(np.median(found)) / usual for number, found in by_slice.items()}

    def regret(self, choice: Choice, *parts: str) -> tuple[float, float]:
        """How much less a choice holds than the best that clears the floor, of what those parts measured, as a share of it;
        and its standard error. The best of several looks better than it is: so does the regret.
        """
        truth = self.truth()
        rates = {one: self.rate(one, *parts) for one in truth.figures if truth.is_allowed(one, self.goal)}
        best, error = max(rates.values())
        rate, own = self.rate(choice, *parts)
        return 1 - rate / best, rate / best * math.hypot(own, error)

    def of(self, choice: Choice, *parts: str) -> list[Block]:
        if not self._by_kind:
            for block in self.blocks:
                self._by_kind.setdefault(self.kind(Choice(block.levers)), []).append(block)
        known = self._by_kind.get(self.kind(choice), [])
        return [block for block in known if block.part in parts and not block.invalid and not block.failure]

    def kind(self, choice: Choice) -> object:
        """The same of choices that run the same: a limit of rows, or waiting, that this model makes nothing of."""
        if choice not in self._kinds:
            self._kinds[choice] = self._kind(choice)
        return self._kinds[choice]

    def _kind(self, choice: Choice) -> object:
        configuration, workers = self.space.configuration(choice)
        profile = self.head.profile
        times = profile.models.get(stage_key(configuration, 0))
        if times is None:
            return choice
        setup = setup_of(configuration, profile, workers=workers, num_cores=self.space.num_cores)
        if max((best for _, best in gains_of(times)), default=MIN_GAIN) >= MIN_GAIN:
            return setup
        return replace(setup, stages=tuple(replace(stage, deferral_ns=0) for stage in setup.stages))

    def rate(self, choice: Choice, *parts: str) -> tuple[float, float]:
        """The largest rate and its standard error, from blocks on both sides of the budget; 0 where none was within it."""
        speeds = self.speeds()
        points = [
            (math.log(block.rate_rps * speeds.get(block.slice_, 1.0)), _log_latency(block))
            for block in self.of(choice, *parts)
        ]
        return crossing(points, math.log(self.goal.slo_latency_ns / 1e6))

    def truth(self, *parts: str) -> Truth:
        """Rates, latencies and accuracies of all that was measured."""
        figures = {}
        for choice in dict.fromkeys(Choice(block.levers) for block in self.blocks if block.part == "limit"):
            at_reference = [
                block.figures.get("latency_p99_ms", math.inf) for block in self.of(choice, "reference")
            ]
            accuracy = self.accuracies.get(choice)
            figures[choice] = (
                self.rate(choice, *(parts or ("limit", "again")))[0],
                float(np.median(at_reference)) if at_reference else math.inf,
                1.0 if accuracy is None else accuracy.estimate,
            )
        return Truth(self.space, figures, self.accuracies, Choice(self.head.default))

    def bench(self, seed: int) -> tuple[Bench, Space]:
        return KeptBench(self, seed), self.space


def read(path: Path) -> Rows:
    """Raises: UserError: the service that was measured is not there any more, or not the same."""
    from benchmarks.tune_truth import space_for  # which writes this file

    head, blocks = lines_of(path)
    space, accuracies = space_for(head.name)
    unknown = {
        space.variant_of(choice)
        for choice in profiled_choices(space)
        if stage_key(space.configuration(choice)[0], 0) not in head.profile.models
    }
    if unknown:
        raise UserError(
            f"{path} has no service times of {', '.join(sorted(unknown))}, built anew since: a tuner would leave it out; "
            "`python -m benchmarks tune_truth -- --again` measures them"
        )
    return Rows(head, blocks, space, accuracies)


def lines_of(path: Path) -> tuple[Head, list[Block]]:
    """A last line that was cut off is left out."""
    lines = [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
    return msgspec.json.decode(lines[0], type=Head, strict=False), [
        msgspec.json.decode(line, type=Block) for line in lines[1:]
    ]


def crossing(points: Sequence[tuple[float, float]], log_budget: float) -> tuple[float, float]:
    """Where the latency passes the budget: least squares through the points near it, latency rising with the rate.

    Args: points: log rate, log latency; infinite where too many requests got no result.
    Returns: the rate, and the standard error of its logarithm.
    """
    if not points:
        return 0.0, math.inf
    within = [rate for rate, latency in points if latency <= log_budget]
    over = [rate for rate, latency in points if latency > log_budget]
    if not within:
        return 0.0, math.inf
    if not over:
        return math.exp(max(within)), math.inf
    # The limit separates the two kinds as well as any rate can: the fewest points on its wrong side, in the middle.
    rates = sorted({rate for rate, _ in points})
    cuts = [(a + b) / 2 for a, b in pairwise(rates)]
    wrong = [sum(rate > cut for rate in within) + sum(rate <= cut for rate in over) for cut in cuts]
    best = [cut for cut, num in zip(cuts, wrong, strict=True) if num == min(wrong)]
    near = [one for one in points if abs(one[0] - float(np.mean(best))) < _NEAR]
    around = [one for one in near if math.isfinite(one[1])]
    if len(around) < _FEWEST or len({rate for rate, _ in around}) < 2:
        return math.exp(float(np.mean(best))), (max(best) - min(best)) / 2 + _STEP / 2
    x, y = np.array(around).T
    slope = max(float(np.polyfit(x, y, 1)[0]), _FLATTEST)
    moved = x + (log_budget - y) / slope
    limit, error = float(moved.mean()), float(moved.std(ddof=1)) / math.sqrt(len(moved))
    if len(around) < len(near):  # a line through what was answered alone knows nothing of what was not
        low = max(rate for rate in rates if rate <= min(best))
        high = min(rate for rate in rates if rate >= max(best))
        limit, error = min(max(limit, low), high), min(error, max(high - low, _STEP) / 2)
    return math.exp(limit), error


class KeptBench:
    """A Bench that answers from live rows: the block of the nearest rates, in straight lines between them on log scales."""

    def __init__(self, rows: Rows, seed: int) -> None:
        self._rows, self._seed, self._now_ns = rows, seed, 0
        self._started: set[Choice] = set()

    def now_ns(self) -> int:
        return self._now_ns

    def profile(self, choices: Sequence[Choice], *, budget_ns: int) -> ServiceProfile:
        self._now_ns += len(choices) * _POINT_NS
        return self._rows.head.profile

    def setup(self, choice: Choice) -> Setup:
        configuration, workers = self._rows.space.configuration(choice)
        return setup_of(
            configuration, self._rows.head.profile, workers=workers, num_cores=self._rows.space.num_cores
        )

    def measure(
        self, choices: Sequence[Choice], rates_rps: Mapping[Choice, float], seconds: float, block: int
    ) -> dict[Choice, BlockResult]:
        rng = np.random.default_rng((self._seed, block))
        found = {}
        for choice in choices:
            self._now_ns += round(seconds * _S) + (0 if choice in self._started else _START_NS)
            self._started.add(choice)
            found[choice] = self._block(choice, rates_rps[choice], rng)
        return found

    def accuracy(self, choice: Choice) -> Figure | None:
        return self._rows.accuracies.get(choice)

    def difference(self, choice: Choice) -> Figure | None:
        return next((one.difference for one in self._rows.space.judged(choice).values()), None)

    def _block(self, choice: Choice, rate_rps: float, rng: np.random.Generator) -> BlockResult:
        known = self._rows.of(choice, "limit", "reference", "again")
        if not known:
            failures = [
                one.failure for one in self._rows.blocks if one.failure and Choice(one.levers) == choice
            ]
            return BlockResult(
                rate_rps=rate_rps, failure=failures[0] if failures else "it was not measured live"
            )
        below = [one for one in known if one.rate_rps <= rate_rps] or [
            min(known, key=lambda one: one.rate_rps)
        ]
        above = [one for one in known if one.rate_rps >= rate_rps]
        low = _one_of(below, max(one.rate_rps for one in below), rng)
        if not above:
            figures = {name: value for name, value in low.figures.items() if name != "slo_latency_ms"}
            return BlockResult(rate_rps=rate_rps, figures=figures)
        high = _one_of(above, min(one.rate_rps for one in above), rng)
        return BlockResult(rate_rps=rate_rps, figures=_between(low, high, rate_rps))


def _one_of(blocks: Sequence[Block], rate_rps: float, rng: np.random.Generator) -> Block:
    """Of the blocks nearest to a rate one at random: what a live block would vary by."""
    near = [one for one in blocks if abs(math.log(one.rate_rps / rate_rps)) < _STEP / 2]
    return near[int(rng.integers(len(near)))]


def _between(low: Block, high: Block, rate_rps: float) -> dict[str, float]:
    width = math.log(high.rate_rps / low.rate_rps)
    share = min(1.0, max(0.0, math.log(rate_rps / low.rate_rps) / width)) if width > 0 else 0.0
    found = {}
    for name, value in low.figures.items():
        other = high.figures.get(name)
        if other is not None and value > 0 and other > 0:
            found[name] = math.exp((1 - share) * math.log(value) + share * math.log(other))
    return found


def _log_latency(block: Block) -> float:
    latency = block.figures.get("slo_latency_ms")
    return math.log(latency) if latency else math.inf


_NEAR = 0.2  # of the limit, on the log scale: where latency is about a straight line of the rate
_FEWEST = 3
_STEP = 0.05  # rates closer than this are one
_FLATTEST = 1.0  # d log latency / d log rate at a limit is never less
