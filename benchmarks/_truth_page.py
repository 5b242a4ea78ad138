"""What a live run and its forecast leave behind, and the page that is made of all of them."""

import math
import platform
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.stats import quantile_test

from benchmarks._tables import Goal, goal_table, markdown_table
from benchmarks._truth_cells import Cell, formula_p99_ms
from trivet import host
from trivet.experiment.simulating.checking import REPLICATIONS, Check
from trivet.experiment.simulating.simulator_errors import Errors
from trivet.simulate.profile import ServiceProfile
from trivet.simulate.setup import Setup
from trivet.spec.row import RowColumns
from trivet.stats import student_t
from trivet.stats.interval import Interval
from trivet.stats.proportion import proportion_interval

_NO_LEVEL = "cannot tell: not known"
_NO_RATE = "not measured: `--rates`"
_NO_FORMULA = "cannot tell: Poisson arrivals only"
P50, P99, ATTAINMENT = "latency_p50_ms", "latency_p99_ms", "slo_attainment"


class CellRecord(msgspec.Struct, frozen=True, kw_only=True):
    """As Cell; a record of its own, so that the file can be read again."""

    model: str
    max_batch_size: int
    threads: int
    instances: int
    load: float
    arrivals: str

    def __str__(self) -> str:
        return str(Cell(**msgspec.structs.asdict(self)))


class TruthRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One run. mean_rows: of the live run's batches.  formula_p99_ms: of M/G/k, for Poisson arrivals."""

    cell: CellRecord
    repeat: int
    rate_rps: float
    capacity_rps: float
    check: Check
    mean_rows: float
    formula_p99_ms: float | None
    machine: str
    kernel: str

    @classmethod
    def of(
        cls,
        cell: Cell,
        repeat: int,
        rate_rps: float,
        capacity_rps: float,
        check: Check,
        profile: ServiceProfile,
        setup: Setup,
        rows: RowColumns,
        warmup_ns: int,
    ) -> "TruthRecord":
        ran = (rows["batch_size"] > 0) & (rows["intended_ns"] >= rows["intended_ns"].min() + warmup_ns)
        sizes = rows["batch_size"][ran]
        return cls(
            cell=CellRecord(**{name: getattr(cell, name) for name in CellRecord.__struct_fields__}),
            repeat=repeat,
            rate_rps=rate_rps,
            capacity_rps=capacity_rps,
            check=check,
            mean_rows=float(1 / (1 / sizes).mean()) if len(sizes) else 0.0,
            formula_p99_ms=formula_p99_ms(profile, setup, rate_rps) if cell.arrivals == "poisson" else None,
            machine=host.processor(),
            kernel=platform.release(),
        )

    def words(self) -> str:
        found = self.check
        low, high = found.predicted[P99][1:]
        return (
            f"p99 {found.live[P99]:.3g} ms live, {found.predicted[P99][0]:.3g} [{low:.3g}, {high:.3g}] forecast "
            f"({found.error():+.1%}); engines at {_level(found)} of the profile: {_left(found)}"
            + (f"; INVALID: {found.invalid}" if found.invalid else "")
        )


class RateRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The largest rate within an SLO: found live, and forecast; each estimate, low, high in requests/s."""

    model: str
    slo_ms: float
    live: tuple[float, float, float]
    forecast: tuple[float, float, float]
    invalid: str = ""


def rate_table(rates: Sequence[RateRecord]) -> str:
    rows = [
        [
            f"{one.model}, p99 within {one.slo_ms:g} ms",
            "{:.0f} [{:.0f}, {:.0f}]".format(*one.live),
            "{:.0f} [{:.0f}, {:.0f}]".format(*one.forecast),
            one.invalid or f"{one.forecast[0] / one.live[0] - 1:+.1%}",
        ]
        for one in rates
    ]
    return markdown_table(["largest rate, requests/s", "live [95 %]", "forecast [95 %]", "error"], rows)


def page(records: Sequence[TruthRecord], rates: Sequence[RateRecord] = ()) -> str:
    """Markdown: the goals, each cell, and how well the machine repeats itself."""
    valid = [record for record in records if not record.check.invalid]
    if not valid:
        return "# The simulator beside live runs\n\nNothing was measured yet."
    lines = [
        "# The simulator beside live runs",
        "",
        "Made by `BENCH_SHARED=FOLDER python -m benchmarks simulator_truth -- --rates` (an hour and more of a machine on "
        "which nothing else runs; it goes on where it was stopped, and its records are kept in `rows/`) and `-- --page "
        "FILE`; [simulate.md](../simulate.md) says how the simulator works.",
        "",
        f"- {valid[0].machine}, kernel {valid[0].kernel}; {len(records)} runs of {len({str(r.cell) for r in records})} "
        f"cells, {len(records) - len(valid)} of them invalid (the load generator was late) and left out",
        f"- {min(r.check.num_requests for r in valid):,} to {max(r.check.num_requests for r in valid):,} requests a run; "
        "all repeats of a cell have the same arrivals; each was profiled just before its run, in each repeat",
        "- a forecast is given a run's arrivals and inputs, and nothing else of it; *at its level*: as if the profile "
        "had known how many times as long the run's batches took (*engine*)",
        "",
        goal_table(goals(valid, rates)),
        "",
        by_model(valid),
        "",
        cell_table(valid),
        *(["", rate_table(rates)] if rates else []),
    ]
    return "\n".join(lines)


def goals(valid: Sequence[TruthRecord], rates: Sequence[RateRecord] = ()) -> list[Goal]:
    """Of all valid runs together, as if they were drawn from many such; a worst has no interval."""
    errors = np.abs([record.check.error() for record in valid])
    num_covered = sum(record.check.covers() for record in valid)
    attained = np.abs([record.check.error(ATTAINMENT) for record in valid])
    at_level, middle = _at_level(valid, P99), _at_level(valid, P50)
    formula = [
        abs(record.formula_p99_ms / record.check.live[P99] - 1)
        for record in valid
        if record.formula_p99_ms is not None
    ]
    off = [abs(one.forecast[0] / one.live[0] - 1) for one in rates if not one.invalid]
    return [
        Goal("error of p99, median", _median(errors), at_most=0.05),
        Goal("error of p99, worst", _worst(errors), at_most=0.12),
        Goal(
            "live p99 inside the 95 % interval", proportion_interval(num_covered, len(valid)), at_least=0.90
        ),
        Goal(
            "half-width of that interval, median",
            _median([half_width(record.check) for record in valid]),
            at_most=0.12,
        ),
        *_with_earlier_errors(valid),
        Goal("error of SLO attainment, median, in points", _median(100 * attained), at_most=1.0),
        Goal("error of the largest rate within the SLO, worst", _worst(off), at_most=0.05, reason=_NO_RATE),
        Goal(
            "beside it: error of p99 had the profile known how fast the engines were, median",
            _median(at_level),
            at_most=0.05,
            reason=_NO_LEVEL,
        ),
        Goal("the same, worst", _worst(at_level), at_most=0.12, reason=_NO_LEVEL),
        Goal("the same of p50, median", _median(middle), at_most=0.05, reason=_NO_LEVEL),
        Goal(
            "beside it: the same error of M/G/k, median", _median(formula), at_most=0.05, reason=_NO_FORMULA
        ),
        Goal("beside it: the same error of M/G/k, worst", _worst(formula), at_most=0.12, reason=_NO_FORMULA),
        Goal(
            "beside it: A/A, a repeat's p99 off the cell's median, median",
            _median(repeats(valid)),
            at_most=0.05,
            reason="cannot tell: one repeat",
        ),
    ]


def _with_earlier_errors(valid: Sequence[TruthRecord]) -> list[Goal]:
    """As `trivet simulate` tells it who has checked before: what earlier repeats of the same model were off by, on top."""
    widened = [
        _widened(record.check, error)
        for record in valid
        if (error := _error_before(record, valid)) is not None
    ]
    inside = sum(low <= live <= high for live, low, high in widened)
    reason = "cannot tell: one repeat"
    return [
        Goal(
            "the same, with what earlier repeats of the model were off by on top",
            proportion_interval(inside, len(widened)) if widened else None,
            at_least=0.90,
            reason=reason,
        ),
        Goal(
            "half-width of that one, median",
            _median([(high - low) / 2 / math.sqrt(low * high) for _, low, high in widened]),
            at_most=0.12,
            reason=reason,
        ),
    ]


def _error_before(record: TruthRecord, valid: Sequence[TruthRecord]) -> float | None:
    """None: the first repeat has none before it."""
    checks = [
        one.check for one in valid if one.repeat < record.repeat and one.cell.model == record.cell.model
    ]
    return Errors(machine="", checks=checks).relative() if checks else None


def _widened(check: Check, error: float) -> tuple[float, float, float]:
    """Live p99, and both ends of the interval that the forecast would have had with that error on top."""
    estimate, low, high = check.predicted[P99]
    t = student_t.quantile(0.975, REPLICATIONS - 1)
    reach = t * math.hypot(math.log(high / low) / 2 / t, error)
    return check.live[P99], estimate * math.exp(-reach), estimate * math.exp(reach)


def by_model(valid: Sequence[TruthRecord]) -> str:
    """Where the error is: of p99, with the engines' level known."""
    rows = []
    for model in sorted({record.cell.model for record in valid}):
        errors = [
            error
            for record in valid
            if record.cell.model == model and (error := record.check.error_at_level()) is not None
        ]
        if errors:
            sizes = np.abs(errors)
            rows.append(
                [
                    model,
                    str(len(errors)),
                    f"{np.median(sizes):.1%}",
                    f"{sizes.min():.1%} to {sizes.max():.1%}",
                    str(sum(error < 0 for error in errors)),
                ]
            )
    return markdown_table(["model", "runs", "error of p99 at its level, median", "of all", "too short"], rows)


def _at_level(valid: Sequence[TruthRecord], figure: str) -> NDArray[np.float64]:
    """What forecasts would have been off by, had their profiles known how fast the engines were, where that is known."""
    errors = [record.check.error_at_level(figure) for record in valid]
    return np.abs([error for error in errors if error is not None])


def _level(check: Check) -> str:
    return "-" if check.level is None else f"{check.level:.2f}"


def _left(check: Check) -> str:
    error = check.error_at_level()
    return "-" if error is None else f"{error:+.1%}"


def half_width(check: Check) -> float:
    """Of the p99's interval, relative to its estimate."""
    estimate, low, high = check.predicted[P99]
    return (high - low) / 2 / estimate


def repeats(valid: Sequence[TruthRecord]) -> list[float]:
    """How far each run's live p99 is from the median of its cell's repeats; a lone run says nothing."""
    by_cell: dict[str, list[float]] = {}
    for record in valid:
        by_cell.setdefault(str(record.cell), []).append(record.check.live[P99])
    return [
        abs(value / float(np.median(values)) - 1)
        for values in by_cell.values()
        if len(values) > 1
        for value in values
    ]


def cell_table(valid: Sequence[TruthRecord]) -> str:
    rows = []
    for record in sorted(valid, key=lambda one: (str(one.cell), one.repeat)):
        found = record.check
        estimate, low, high = found.predicted[P99]
        rows.append(
            [
                str(record.cell),
                f"{record.rate_rps:.0f}",
                f"{record.mean_rows:.1f}",
                _level(found),
                f"{found.live[P99]:.2f}",
                f"{estimate:.2f} [{low:.2f}, {high:.2f}]",
                f"{found.error():+.1%}",
                _left(found),
                "-" if record.formula_p99_ms is None else f"{record.formula_p99_ms:.2f}",
                f"{found.live[ATTAINMENT]:.4f}",
                f"{found.predicted[ATTAINMENT][0]:.4f}",
            ]
        )
    header = [
        "cell",
        "req/s",
        "rows",
        "engine",
        "p99 live, ms",
        "forecast [95 %]",
        "error",
        "at its level",
        "M/G/k",
        "attained",
        "forecast",
    ]
    return markdown_table(header, rows)


def _median(values: "Sequence[float] | NDArray[np.float64]") -> Interval | None:
    """With the interval of order statistics; of fewer than six values that has no end. None: there is no value."""
    if not len(values):
        return None
    low, high = quantile_test(values, p=0.5).confidence_interval()
    return Interval(
        float(np.median(values)), float(np.nan_to_num(low)), float(np.nan_to_num(high, nan=np.inf))
    )


def _worst(values: "Sequence[float] | NDArray[np.float64]") -> Interval | None:
    if not len(values):
        return None
    value = float(np.max(values))
    return Interval(value, value, value)
