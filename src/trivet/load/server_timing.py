"""The W3C `Server-Timing` header: where the server says the request's time went."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trivet.spec.row import ABSENT, PHASES

NS_PER_MS = 1_000_000


def parse(header: bytes) -> dict[str, int | str]:
    """Metrics by name: a duration in ns (`dur`, which travels in ms), else a description (`desc`).

    Durations round down, so that their sum stays within what was measured around them. What does not parse
    is left out: the header is a hint of a foreign server, not a contract.
    """
    metrics: dict[str, int | str] = {}
    for metric in header.decode("latin-1").split(","):
        name, *params = (part.strip() for part in metric.split(";"))
        values = dict(param.split("=", 1) for param in params if "=" in param)
        if "dur" in values:
            try:
                metrics[name] = max(0, int(float(values["dur"].strip('"')) * NS_PER_MS))
            except (ValueError, OverflowError):
                continue
        elif "desc" in values:
            metrics[name] = values["desc"].strip('"')
    return metrics


def phase_columns(headers: Sequence[bytes | None]) -> dict[str, NDArray[np.int64] | list[str]]:
    """Row columns from the answers' headers: phases and `batch` size as numbers, the rest as words."""
    numbers = {f"{phase}_ns": np.full(len(headers), ABSENT, np.int64) for phase in PHASES}
    numbers["batch_size"] = np.full(len(headers), ABSENT, np.int64)
    words = {name: [""] * len(headers) for name in ("configuration", "variant", "cache")}
    for i, header in enumerate(headers):
        for name, value in (parse(header) if header else {}).items():
            if isinstance(value, int) and name in PHASES:
                numbers[f"{name}_ns"][i] = value
            elif isinstance(value, str) and name == "batch" and value.isdecimal():
                numbers["batch_size"][i] = int(value)
            elif isinstance(value, str) and name in words:
                words[name][i] = value
    return {**numbers, **words}
