"""Studies and runs made by hand, as full as real ones: what pages are drawn from in tests."""

import math
from typing import Any

import msgspec
import numpy as np

from trivet.catalog.catalog import Catalog
from trivet.catalog.environment import Environment
from trivet.catalog.machine import Processor
from trivet.catalog.records import Figure, RunDraft, RunState
from trivet.catalog.study import (
    Goal,
    LeftOut,
    LeverEffect,
    LeverRecord,
    Recommendation,
    Study,
    Trial,
    TrialStage,
)
from trivet.experiment.figures import figures
from trivet.experiment.measured import BlockRecord, Measured, pack
from trivet.experiment.variants.judged_variants import JudgedVariant, VariantVerdict
from trivet.load.result import Generator
from trivet.spec.row import RowColumns, RowsHeader
from trivet.variants.variant import Variant

MS, S = 1_000_000, 1_000_000_000
VARIANTS = {"original": (1.0, 0.924), "int8-dynamic": (1.6, 0.917), "distilled": (4.1, 0.871)}
COHORTS = ("code", "text", "image", "archive")
ENVIRONMENT = Environment(
    trivet="0.1.0",
    python="CPython 3.12.1",
    packages={"numpy": "2.2", "onnxruntime": "1.20", "other": "1"},
    processor=Processor(model="A processor of tests", flags=("avx2",)),
    cores=(0, 1),
    host="elsewhere",
)


def figure(estimate: float, unit: str, spread: float = 0.05, verdict: str = "") -> Figure:
    return Figure(
        estimate=estimate,
        low=estimate * (1 - spread),
        high=estimate * (1 + spread),
        unit=unit,
        verdict=verdict,
    )


def trial(number: int, variant: str, threads: int, batch: int, stage: TrialStage, runs: list[str]) -> Trial:
    """A configuration whose figures follow from its levers."""
    speed, accuracy = VARIANTS[variant]
    rate = 120 * speed * threads**0.7 * (1 + 0.12 * math.log2(batch))
    latency = 22 / speed / threads**0.5 * (1 + 0.05 * math.log2(batch))
    predicted = {
        "max_rate_rps": figure(rate * 1.03, "requests/s", 0.08),
        "latency_p50_ms": figure(latency * 0.4, "ms", 0.08),
        "latency_p99_ms": figure(latency * 0.98, "ms", 0.1),
        "cpu_ms_per_request": figure(9 / speed, "ms"),
    }
    measured = {} if stage in ("screened", "failed") else {
        "max_rate_rps": figure(rate, "requests/s", 0.03),
        "latency_p50_ms": figure(latency * 0.4, "ms", 0.03),
        "latency_p99_ms": figure(latency, "ms", 0.06),
        "cpu_ms_per_request": figure(9 / speed, "ms", 0.01),
        "memory_mib": figure(96.0, "MiB", 0.01),
    }  # fmt: skip
    known = {"accuracy": figure(accuracy, "accuracy", 0.012)}
    return Trial(
        id=number,
        levers={"variant": variant, "threads": threads, "max_batch_size": batch, "deferral": "0ms"},
        variant=variant,
        configuration_hash=f"{number:02d}" * 32,
        workers=1,
        stage=stage,
        predicted=predicted | ({} if measured else known),
        measured=measured | (known if measured else {}),
        runs=runs,
        reason="out of memory" if stage == "failed" else "",
    )


def trials(runs: tuple[str, ...] = ("k0000000aa", "k0000000ab")) -> list[Trial]:
    found = [trial(0, "original", 1, 1, "default", list(runs[:1]))]
    for variant in VARIANTS:
        for threads in (1, 2):
            for batch in (1, 8, 32):
                number = len(found)
                stage: TrialStage = "verified" if number in (4, 7, 9, 12, 16, 18) else "screened"
                stage = "failed" if number == 17 else stage
                found.append(
                    trial(number, variant, threads, batch, stage, list(runs[1:]) if number == 12 else [])
                )
    return found


def judged(name: str, verdict: VariantVerdict, *, in_search: bool = True) -> JudgedVariant:
    speed, accuracy = VARIANTS[name]
    return JudgedVariant(
        variant=Variant(
            name=name, model="m", digest="d" * 64, files=("model.onnx",), size_bytes=int(4e6 / speed), built_from="o" * 64
        ),
        accuracy=figure(accuracy, "accuracy", 0.012),
        cohorts={one: figure(accuracy - 0.02 * i, "accuracy", 0.03) for i, one in enumerate(COHORTS)},
        difference=None if name == "original" else Figure(
            estimate=accuracy - 0.924, low=accuracy - 0.93, high=accuracy - 0.918, unit="accuracy"
        ),
        calibration_error=figure(0.03, "share", 0.2),
        times_ns={0: {1: [int(2e6 / speed)] * 5}},
        verdict=verdict,
        reason="as it was declared" if name == "original" else f"{speed:g} times as fast",
        in_search=in_search,
        speedup=None if name == "original" else figure(speed, "times"),
    )  # fmt: skip


def effect(lever: str, ends: list[Any], times: float, matters: Any, spread: float = 0.04) -> LeverEffect:
    return LeverEffect(
        levers=(lever,),
        from_to=[ends],
        figure="max_rate_rps",
        effect=figure(times, "times", spread),
        matters=matters,
    )


RECOMMENDATION = Recommendation(
    trial=12,
    meets=True,
    binding="accuracy",
    reasons=[
        "It answers 330 requests a second within the SLO, 2.7 times the default.",
        "Accuracy is 91.7 %, above the floor of 90 % with its whole interval.",
        "int8-dynamic gives most of the gain; two threads give the rest.",
        "A larger batch limit helps only under load beyond the SLO.",
        "Of those that meet the goal no other was better in 12 pairs of blocks.",
    ],
    uncertainty="The largest rate is between 320 and 340 requests a second, with 95 % confidence.",
    runner_up=9,
    would_change=["an accuracy floor of 87 % or less: then the distilled student", "an SLO under 9 ms"],
    not_tried=["OpenVINO: not installed", "more than two cores"],
    yaml="name: m\nmodels:\n  m:\n    threads: 2\n",
)
STUDY = Study(
    id="s0tudy0aaa",
    service="file-type",
    state="complete",
    begun="2026-11-22T09:00:00.000+00:00",
    ended="2026-11-22T09:02:00.000+00:00",
    seed=7,
    budget_ns=120 * S,
    spent_ns={"profile": 20 * S, "screen": 10 * S, "verify": 80 * S},
    goal=Goal(slo_latency_ns=20 * MS, accuracy_floor=0.9, metric="accuracy"),
    reference_rate_rps=60.0,
    environment=ENVIRONMENT,
    dataset={"rows": 2000, "digest": "sha256:" + "0" * 64},
    base_hash="00" * 32,
    levers=[
        LeverRecord(name="variant", values=list(VARIANTS), default="original", kind="answers", why="built and judged"),
        LeverRecord(name="threads", values=[1, 2], default=1, kind="serving", why="two cores"),
        LeverRecord(name="max_batch_size", values=[1, 8, 32], default=1, kind="serving"),
    ],
    left_out=[LeftOut(name="engine", why="OpenVINO is not installed: pip install 'trivet[openvino]'")],
    trials=trials(),
    num_screened=1296,
    front=[4, 12, 16, 18],
    hypervolume=figure(0.83, "share"),
    effects=[
        effect("variant", ["original", "int8-dynamic"], 1.62, "yes"),
        effect("threads", [1, 2], 1.58, "yes"),
        effect("max_batch_size", [1, 32], 1.04, "cannot tell", 0.09),
        effect("deferral", ["0ms", "2ms"], 0.99, "no", 0.01),
        LeverEffect(
            levers=("threads", "max_batch_size"), from_to=[[1, 2], [1, 32]], figure="max_rate_rps",
            effect=figure(1.12, "times"), matters="yes",
        ),
    ],
    recommendation=RECOMMENDATION,
    variants=[
        msgspec.to_builtins(one, str_keys=True)
        for one in (
            judged("original", "original"),
            judged("int8-dynamic", "faster"),
            judged("distilled", "worse", in_search=False),
        )
    ],
    notes=["Two hiccups of the machine were left out."],
    command=["trivet", "tune", "service.yaml", "--budget", "2m"],
)  # fmt: skip


def study(**changed: Any) -> Study:
    return msgspec.structs.replace(STUDY, **changed)


def measured(
    num: int = 3000,
    *,
    rate_rps: float = 400.0,
    number: int = 0,
    seed: int = 1,
    factor: float = 1.0,
    invalid: str = "",
    tells_phases: bool = True,
) -> Measured:
    """Poisson arrivals at a server with phases, batches and a tail; `factor` makes it slower."""
    rng = np.random.default_rng(seed)
    intended = S * (1 + number * 20) + np.cumsum(rng.exponential(S / rate_rps, num)).astype(np.int64)
    compute = (factor * 2 * MS * (1 + 0.1 * rng.standard_exponential(num))).astype(np.int64)
    queue = (factor * MS * rng.standard_exponential(num) ** 2).astype(np.int64)
    batch_wait = np.where(rng.random(num) < 0.3, 300_000, 0)
    outside = rng.integers(100_000, 200_000, num)
    done = intended + compute + queue + batch_wait + outside + 50_000
    phases = {
        "parse_ns": 30_000,
        "queue_ns": queue,
        "batch_wait_ns": batch_wait,
        "compute_ns": compute,
        "encode_ns": 20_000,
        "batch_size": rng.geometric(0.3, num).clip(1, 8),
    }
    rows = RowColumns.of(
        RowsHeader(writer="load"),
        num,
        intended_ns=intended,
        sent_ns=intended,
        done_ns=done,
        status=200,
        outcome="ok",
        **(phases if tells_phases else {}),
    )
    record = BlockRecord(
        block=number,
        seed=seed,
        measured_from_ns=int(intended[num // 20]),
        end_ns=int(done.max()),
        generator=Generator(
            num_sent=num, num_waited=0, send_lag_p50_ns=20_000, send_lag_p99_ns=90_000, send_lag_max_ns=200_000,
            busy_share=0.2, cpu_share=0.99, invalid=invalid,
        ),
        num_rows=num,
        cpu_ns=num * 2 * MS,
        pss_bytes=90 << 20,
    )  # fmt: skip
    return Measured(record, rows)


def record_run(
    catalog: Catalog,
    blocks: list[Measured],
    *,
    state: RunState = "complete",
    reason: str = "",
    extra: dict[str, Figure] | None = None,
    found: dict[str, Figure] | None = None,
    kind: Any = "bench",
    service: str = "file-type",
    **workload: Any,
) -> str:
    """A run in the catalog; its figures are those of its blocks, unless they are given. Returns its id."""
    draft = RunDraft(
        kind=kind,
        service=service,
        configuration_hash="c" * 64,
        configuration={},
        workload={
            "rate_rps": 400.0,
            "duration_ns": 8 * S,
            "slo_latency_ns": 20 * MS,
            "slo_percentile": 99.0,
            **workload,
        },
        seeds={"workload": 7},
        dataset={"source": "data.csv", "requests": 256},
        environment=ENVIRONMENT,
        command=["trivet", "bench", "service.yaml", "--rate", "400"],
    )
    run_id = catalog.begin(draft)
    artifacts = {}
    if blocks:
        rows, records = pack(blocks)
        artifacts = {"rows": catalog.put_rows(rows), "blocks": catalog.put(records)}
    if found is None:
        found = figures(blocks, slo_latency_ns=20 * MS) if blocks else {}
    catalog.finish(run_id, state, figures={**found, **(extra or {})}, reason=reason, artifacts=artifacts)
    return run_id


RUN_EXTRA = {
    "accuracy": figure(0.917, "accuracy", 0.012, "1,000 rows"),
    **{f"accuracy[{one}]": figure(0.93 - 0.02 * i, "accuracy", 0.03) for i, one in enumerate(COHORTS)},
    "calibration_error": figure(0.03, "share", 0.2),
    "floor_p50_ms": Figure(estimate=0.11, unit="ms", verdict="null target at 400/s"),
    "floor_p99_ms": Figure(estimate=0.21, unit="ms", verdict="null target at 400/s"),
}
