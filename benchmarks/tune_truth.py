"""The live truth of many configurations of one real model, in slices that can be stopped and gone on with."""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from benchmarks._kept_rows import Block, Head, Rows, crossing, lines_of, read
from benchmarks._live_services import Prepared, live_study, prepared, real_services
from benchmarks._records import OUT
from trivet.catalog.records import Figure
from trivet.host import processor
from trivet.load.arrivals import NS
from trivet.simulate.profile import ServiceProfile
from trivet.simulate.setup import Setup
from trivet.spec.tuning import Tuning
from trivet.tune.bench import BlockResult
from trivet.tune.choice import Choice
from trivet.tune.live import LiveBench
from trivet.tune.narrowing import profiled_choices
from trivet.tune.screen import engine_bound_rps, largest_rate
from trivet.tune.simulated_load import SimulatedLoad
from trivet.tune.space import Space

QUESTION = "What do 48 and more configurations of one real model do, live?"
SHORT = False
FOLDER = OUT / "tuning"
LADDER = (0.8, 0.9, 1.0, 1.1, 1.25)  # of where the limit is thought to be
MOST_STEPS = 6  # up or down, where the limit lies outside of the ladder
CALIBRATE_EVERY = 6
BEST, ROUNDS = 10, 3
# What may be told apart on two cores (`told` counts what runs differently);
# the space is the whole product, so that a search finds all of it measured.
MEASURED = Tuning(
    levers={
        "engine": "default",
        "queue": "default",
        "graph_optimization": "default",
        "spinning": "default",
        "max_batch_size": (1, 4, 8, 16),
        "deferral": ("0ms", "1ms", "3ms"),
        "execution": ("inline", "thread"),
    }
)


def main(args: Sequence[str] = ()) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks tune_truth --", description=QUESTION)
    parser.add_argument("--model", default="file-type", help="as tune_gains names them [file-type]")
    parser.add_argument("--packages", type=Path, help="folder with the sentence encoder's package")
    parser.add_argument("--minutes", type=float, default=30.0, help="of this slice [30]; the next goes on")
    parser.add_argument("--seconds", type=float, default=4.0, help="of one block [4]")
    parser.add_argument("--most", type=int, default=60, help="configurations in all [60]")
    parser.add_argument(
        "--again",
        action="store_true",
        help="the best 10, and those given by --also, once more and interleaved",
    )
    parser.add_argument("--also", type=Path, help="a study's record (--tune): its choice is among them")
    parser.add_argument(
        "--tune", type=float, help="one tune of the same space, of so many seconds: for --also"
    )
    parser.add_argument("--told", action="store_true", help="only say what the rows on disk have")
    options = parser.parse_args(args)
    path = FOLDER / f"truth-{options.model}.jsonl"
    also = None if options.also is None else _choice_of(options.also)
    if options.told:
        print(told(read(path), also))
        return 0
    found = prepared(options.model, real_services(options.packages)[options.model], FOLDER / "services")
    if options.tune:
        study = live_study(found, MEASURED, options.tune, 1, FOLDER / f"profile-{options.model}-tune.json")
        kept = FOLDER / f"study-{options.model}.json"
        kept.write_bytes(msgspec.json.encode(study))
        print(f"{kept}: {_choice_of(kept).told()}")
        return 0
    end_s = time.monotonic() + 60 * options.minutes
    with _bench(found, options.model) as bench:
        truth = _Truth(found, bench, path, options, lambda: time.monotonic() >= end_s)
        if options.again:
            truth.again(also)
        else:
            truth.slice()
    print(told(truth.rows(), also))
    return 0


def told(rows: Rows, chosen: Choice | None = None) -> str:
    """What runs differently, the best first; over all blocks, and over those in turn. Args: chosen: its regret, too."""
    truth = rows.truth()
    kinds: dict[object, Choice] = {}
    for choice in truth.figures:
        kinds.setdefault(rows.kind(choice), choice)
    speeds = list(rows.speeds().values()) or [1.0]
    lines = [
        f"{len(truth.figures)} configurations of {rows.head.name}, of which {len(kinds)} run differently; "
        f"{len(rows.blocks)} blocks in slices in which the machine took {min(speeds):.2f} to {max(speeds):.2f} times as "
        "long as usual",
    ]
    for choice in sorted(kinds.values(), key=lambda one: -truth.figures[one][0]):
        every, in_turn = (_rate_told(rows, choice, *parts) for parts in (("limit", "again"), ("again",)))
        clears = "clears the floor" if truth.is_allowed(choice, rows.goal) else "not known to clear the floor"
        lines.append(f"{every}, in turn {in_turn}, {clears}: {choice.told()}")
    if chosen is not None:
        every, in_turn = (_regret_told(rows, chosen, *parts) for parts in (("limit", "again"), ("again",)))
        lines.append(f"regret {every}, in turn {in_turn}: {chosen.told()}")
    return "\n".join(lines)


def _rate_told(rows: Rows, choice: Choice, *parts: str) -> str:
    rate, error = rows.rate(choice, *parts)
    return (
        f"{rate:,.1f}/s ± {1.96 * error:.1%} ({len(rows.of(choice, *parts))} blocks)" if rate else "not known"
    )


def _regret_told(rows: Rows, chosen: Choice, *parts: str) -> str:
    if not rows.of(chosen, *parts):
        return "not known"
    share, error = rows.regret(chosen, *parts)
    return f"{share:.1%} ± {1.96 * error:.1%}"


def space_for(name: str, packages: Path | None = None) -> tuple[Space, Mapping[Choice, Figure]]:
    """The space that is measured, and the accuracy of each of its choices; nothing is measured."""
    found = prepared(name, real_services(packages)[name], FOLDER / "services")
    space = found.space(MEASURED)
    accuracies = {
        choice: judged.accuracy
        for choice in space.choices()
        for judged in space.judged(choice).values()
        if judged.accuracy is not None
    }
    return space, accuracies


def forecast_rps(profile: ServiceProfile, setup: Setup) -> float:
    """Where to begin to look for a limit, roughly; half of what the engines alone could do where no rate seems to hold."""
    load = SimulatedLoad(profile, 2_000, 1)
    found, _ = largest_rate(profile, setup, load, setup.slo_latency_ns or NS, 0.04)
    return found or engine_bound_rps(profile, setup) / 2


class _Truth:
    """Measures what is not on disk yet, one configuration after the other; each block is a line at once."""

    def __init__(
        self,
        found: Prepared,
        bench: LiveBench,
        path: Path,
        options: argparse.Namespace,
        is_over: Callable[[], bool],
    ) -> None:
        self._found, self._bench, self._path, self._is_over = found, bench, path, is_over
        self._space = found.space(MEASURED)
        self._seconds, self._most = options.seconds, options.most
        profile = bench.profile(profiled_choices(self._space), budget_ns=90 * NS)
        if not path.is_file():
            self._begin(options.model, profile)
        self.head, self.blocks = lines_of(path)
        if options.again:
            self._renew(profile)
        self._slice = 1 + max((block.slice_ for block in self.blocks), default=-1)

    def slice(self) -> None:
        """As many configurations as fit, a calibration first, last, and between."""
        self._calibrate()
        for number, (choice, guess) in enumerate(self._wanted(), start=1):
            if self._is_over():
                break
            self._one(choice, guess)
            if number % CALIBRATE_EVERY == 0:
                self._calibrate()
        self._calibrate()

    def again(self, also: Choice | None) -> None:
        """The best that are accurate enough, and the tuner's choice, in turn, around where each one's limit was found."""
        rows = self.rows()
        truth = rows.truth("limit")
        rates = {choice: found[0] for choice, found in truth.figures.items()}
        best = sorted(rates, key=lambda choice: -truth.worth(choice, rows.goal))[:BEST]
        sides = list(dict.fromkeys([*best, *([also] if also is not None else [])]))
        self._calibrate()
        for round_ in range(ROUNDS):
            for share in (0.95, 1.0, 1.05):
                if self._is_over():
                    return
                offered = {choice: share * (rates.get(choice) or self.head.reference_rps) for choice in sides}
                for choice in sides[:: 1 if round_ % 2 == 0 else -1]:
                    self._block(choice, offered[choice], "again")
        self._calibrate()

    def rows(self) -> Rows:
        return Rows(self.head, self.blocks, self._space, space_for(self.head.name)[1])

    def _begin(self, name: str, profile: ServiceProfile) -> None:
        default = self._space.default
        limit = forecast_rps(profile, self._bench.setup(default))
        head = Head(
            name=name,
            goal=self._found.goal,
            reference_rps=float(f"{limit / 2:.2g}"),
            default=dict(default),
            profile=profile,
            machine=processor(),
            seconds=self._seconds,
        )
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_bytes(msgspec.json.encode(head) + b"\n")

    def _renew(self, profile: ServiceProfile) -> None:
        """Who tunes on these rows forecasts by a profile of the day of the choice, and of variants as built then."""
        self.head = msgspec.structs.replace(self.head, profile=profile)
        _, _, blocks = self._path.read_bytes().partition(b"\n")
        whole = self._path.with_suffix(".new")
        whole.write_bytes(msgspec.json.encode(self.head) + b"\n" + blocks)
        whole.replace(self._path)

    def _wanted(self) -> Iterator[tuple[Choice, float]]:
        """What runs differently and is not measured yet, with where its limit is thought to be; in one order always."""
        done = {
            Choice(block.levers)
            for block in self.blocks
            if block.failure or (block.part == "limit" and not block.invalid)
        }
        known: set[Setup] = set()
        for choice in self._space.choices():
            setup = self._bench.setup(choice)
            if setup in known:
                continue
            known.add(setup)
            if len(known) > self._most:
                return
            if choice not in done:
                yield choice, self._guess_rps(choice)

    def _guess_rps(self, choice: Choice) -> float:
        """Batches that gain nothing are not profiled, but are measured: whether a tuner may leave them out is asked, too."""
        single = Choice({**choice, "max_batch_size": 1, "deferral": "0ms"})
        setup = self._bench.setup(choice)
        if self.head.profile.covers(setup):
            setup = self._bench.setup(single)
        return forecast_rps(self.head.profile, setup)

    def _one(self, choice: Choice, guess: float) -> None:
        """A ladder around the guess, gone on with until the limit lies within, and the reference rate."""
        points: list[tuple[float, float]] = []
        budget = math.log(self._found.goal.slo_latency_ns / 1e6)
        for share in LADDER:
            if not self._point(choice, guess * share, points):
                return
        for _ in range(MOST_STEPS if points else 0):  # no point at all: every block was invalid
            rates = [math.exp(rate) for rate, _ in points]
            within = [latency <= budget for _, latency in points]
            if all(within):
                following = 1.25 * max(rates)
            elif not any(within):
                following = 0.75 * min(rates)
            else:
                break
            if not self._point(choice, following, points):
                return
        limit = crossing(points, budget)[0]
        if limit:
            self._point(choice, 0.97 * limit, points)
            self._point(choice, 1.03 * limit, points)
        self._block(choice, self.head.reference_rps, "reference")

    def _point(self, choice: Choice, rate_rps: float, points: list[tuple[float, float]]) -> bool:
        result = self._block(choice, rate_rps, "limit")
        if result.failure:
            return False
        if not result.invalid:
            latency = result.figures.get("slo_latency_ms")
            points.append((math.log(rate_rps), math.log(latency) if latency else math.inf))
        return True

    def _calibrate(self) -> None:
        self._block(Choice(self.head.default), self.head.reference_rps, "calibration")

    def _block(self, choice: Choice, rate_rps: float, part: str) -> BlockResult:
        number = len(self.blocks)
        result = self._bench.measure([choice], {choice: rate_rps}, self._seconds, number)[choice]
        block = Block(
            slice_=self._slice,
            part=part,
            levers=dict(choice),
            rate_rps=rate_rps,
            figures={name: value for name, value in result.figures.items() if math.isfinite(value)},
            invalid=result.invalid,
            failure=result.failure,
        )
        self.blocks.append(block)
        with self._path.open("ab") as file:
            file.write(msgspec.json.encode(block) + b"\n")
        sys.stderr.write(
            f"{time.strftime('%H:%M:%S')} {number} {part} {rate_rps:,.1f}/s: "
            f"{result.figures.get('slo_latency_ms', math.inf):.4g} ms {result.invalid or result.failure} {choice.told()}\n"
        )
        return result


def _bench(found: Prepared, name: str) -> LiveBench:
    return LiveBench(
        found.space(MEASURED),
        found.goal,
        found.placement,
        seed=1,
        profile_path=FOLDER / f"profile-{name}.json",
        say=lambda text: None,
    )


def _choice_of(path: Path) -> Choice:
    """The recommended levers of a study's record."""
    record = msgspec.json.decode(path.read_bytes())
    chosen = record["recommendation"]["trial"]
    return Choice(next(trial["levers"] for trial in record["trials"] if trial["id"] == chosen))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
