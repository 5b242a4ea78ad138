"""Figures of answers that come token by token: the time to the first, and the time for each after it."""

from collections.abc import Sequence

import numpy as np

from trivet.catalog.records import Figure
from trivet.experiment.figures import percentile_figure
from trivet.experiment.measured import Measured
from trivet.experiment.side import Side
from trivet.load.dialects.openai_chat import OpenAIChat
from trivet.load.http import BadAnswerError
from trivet.spec.row import ABSENT

PERCENTILES = {"p50": 0.5, "p99": 0.99}


def token_figures(side: Side, blocks: Sequence[Measured]) -> dict[str, Figure]:
    """`time_to_first_token_p50_ms`, `time_per_output_token_p50_ms` and their p99; none where nothing was streamed."""
    if not isinstance(side.dialect, OpenAIChat):
        return {}
    first_ns, gaps_ns, intended_ns = [], [], []
    for measured in blocks:
        for i in np.flatnonzero(measured.rows["intended_ns"] >= measured.record.measured_from_ns).tolist():
            intended = int(measured.rows["intended_ns"][i])
            if not measured.chunks or not measured.chunks[i]:
                continue
            body, status = measured.rows.blobs["answer"][i], int(measured.rows["status"][i])
            try:
                times = side.dialect.tokens(measured.chunks[i], body, status)
            except BadAnswerError:
                continue  # it counts as an error among the outcomes, or was looked at before
            first = times.time_to_first_token_ns(intended)
            if first != ABSENT:
                first_ns.append(first)
                intended_ns.append(intended)
            if times.time_per_output_token_ns is not None:
                gaps_ns.append(times.time_per_output_token_ns)
    found: dict[str, Figure] = {}
    for name, values in (("time_to_first_token", first_ns), ("time_per_output_token", gaps_ns)):
        if values:
            sample = np.array(values, np.int64)
            order = np.array(intended_ns, np.int64) if values is first_ns else None
            found |= {
                f"{name}_{word}_ms": percentile_figure(sample, order, p) for word, p in PERCENTILES.items()
            }
    return found
