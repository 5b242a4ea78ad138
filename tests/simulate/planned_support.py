"""A service whose every time is known: one model, constant service times, a host that costs nothing."""

from trivet.simulate.profile import ModelTimes, ServiceProfile
from trivet.simulate.setup import Setup, StageSetup

MS = 1_000_000
SERVICE_MS = 10
SLOW, FAST = f"{'a' * 16}/onnxruntime/1", f"{'b' * 16}/onnxruntime/1"
KEY = SLOW


def constant_times(ms_of_one: float, limit: int = 4) -> ModelTimes:
    """A batch takes as long as its rows one after the other."""
    return ModelTimes(samples={0: {rows: [round(rows * ms_of_one * MS)] * 8 for rows in range(1, limit + 1)}})


def known_profile(**models: ModelTimes) -> ServiceProfile:
    times = {KEY: constant_times(SERVICE_MS), FAST: constant_times(SERVICE_MS / 2)}
    return ServiceProfile(service="known", models={**times, **models})


def known_setup(slo_ms: float | None = 50.0, key: str = KEY, max_batch_size: int = 1) -> Setup:
    return Setup(
        service="known",
        stages=(StageSetup(key=key, max_batch_size=max_batch_size),),
        workers=1,
        cores=1,
        deadline_ns=10_000 * MS,
        slo_latency_ns=None if slo_ms is None else round(slo_ms * MS),
    )
