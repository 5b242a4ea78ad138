"""Studies put together by hand: trials with the figures that a test needs."""

from typing import Any

from trivet.catalog.records import Figure
from trivet.catalog.study import Goal, LeverRecord, Study, Trial, TrialStage

MS = 1_000_000
LEVERS = [
    LeverRecord(name="variant", values=["original", "int8", "student"], default="original", kind="answers"),
    LeverRecord(name="threads", values=["auto", 1, 2], default="auto", kind="serving"),
    LeverRecord(name="max_batch_size", values=[1, 2, 4, 8], default=1, kind="serving"),
]
DEFAULTS: dict[str, Any] = {lever.name: lever.default for lever in LEVERS}


def figure(estimate: float, reach: float = 0.02, unit: str = "") -> Figure:
    """With an interval that reaches so far on both sides, relative to the estimate."""
    return Figure(estimate=estimate, low=estimate / (1 + reach), high=estimate * (1 + reach), unit=unit)


def share(right: float, reach: float = 0.01) -> Figure:
    return Figure(estimate=right, low=right - reach, high=min(1.0, right + reach), unit="")


def trial(
    number: int,
    rate: float | Figure | None = None,
    latency: float | Figure | None = None,
    accuracy: Figure | None = None,
    *,
    stage: TrialStage = "verified",
    cost: float | None = None,
    reason: str = "",
    **levers: Any,
) -> Trial:
    """Measured, where its stage says so; else predicted."""
    told = {
        "max_rate_rps": rate,
        "latency_p99_ms": latency,
        "accuracy": accuracy,
        "cpu_ms_per_request": cost,
    }
    figures = {
        name: value if isinstance(value, Figure) else figure(value)
        for name, value in told.items()
        if value is not None
    }
    values = {**DEFAULTS, **levers}
    is_measured = stage in ("default", "verified")
    return Trial(
        id=number,
        levers=values,
        variant=values["variant"],
        configuration_hash=f"{number:064x}",
        workers=1,
        stage=stage,
        measured=figures if is_measured else {},
        predicted={} if is_measured else figures,
        runs=[f"run-{number}"] if is_measured else [],
        reason=reason,
    )


def goal(**changed: Any) -> Goal:
    return Goal(**({"slo_latency_ns": 50 * MS, "safety_margin": 0.1} | changed))


def study(trials: list[Trial], aim: Goal | None = None, **changed: Any) -> Study:
    return Study(
        **(
            {
                "service": "s",
                "budget_ns": 300_000 * MS,
                "goal": aim or goal(),
                "levers": LEVERS,
                "trials": trials,
                "num_screened": 240,
                "variants": [
                    {"variant": {"name": "original", "answers_change": False}},
                    {"variant": {"name": "optimized", "answers_change": False}},
                    {
                        "variant": {"name": "int8", "answers_change": True},
                        "difference": {"estimate": -0.006, "low": -0.011, "high": -0.001, "unit": ""},
                    },
                    {"variant": {"name": "student", "answers_change": True}},
                ],
                "dataset": {"rows": 2_000},
            }
            | changed
        )
    )
