"""What a capacity plan says: plain values, ready for JSON."""

from typing import Literal

import msgspec

from trivet.simulate.windows import How


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of the trace that decides. `dispersion`: variance over mean of its counts; 1: Poisson.

    chosen_for: the rate, or how unevenly requests come.
    """

    begin_s: float
    length_s: float
    rate_rps: float
    dispersion: float
    chosen_for: Literal["rate", "dispersion"]


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """One load and what it takes. Rates are of all replicas together.

    scale: of the trace.  replicas: that keep the SLO with the headroom; _low, _high: as the forecast is uncertain.
    latency_ms: at the SLO's percentile in the worst window, without the headroom's load; None: not all are answered.
    busy: share of the cores' time at the peak, without the headroom.
    cost_provisioned: of a million requests, where all replicas run all the time; cost_followed: where their number
    follows the load.
    """

    scale: float
    how: How
    mean_rps: float
    peak_rps: float
    replicas: int
    replicas_low: int
    replicas_high: int
    cores: int
    latency_ms: float | None
    busy: float
    cost_provisioned: float | None = None
    cost_followed: float | None = None


class LeverGain(msgspec.Struct, frozen=True, kw_only=True):
    """One lever at another value. `gain`: of the rate that one core bears within the SLO, 1: none; None: not known, and
    `reason` says why."""

    lever: str
    gain: float | None = None
    rate_rps: float | None = None
    replicas: int | None = None
    reason: str = ""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """`answer`: one line.  replica_rps, _low, _high: what one replica bears within the SLO under Poisson arrivals.

    cost_processor: of a million requests, were only busy cores paid.  scenarios: the first is the one asked for.
    line_s, line_rps: the asked load over time, for a picture; capacity_rps: of the replicas that it takes.
    """

    service: str
    answer: str
    slo_percentile: float
    slo_latency_ms: float
    headroom: float
    replica_cores: int
    replica_rps: float
    replica_rps_low: float
    replica_rps_high: float
    cpu_ms_per_request: float
    windows: list[Window]
    scenarios: list[Scenario]
    levers: list[LeverGain]
    currency: str = ""
    cost_processor: float | None = None
    line_s: list[float] = []
    line_rps: list[float] = []
    capacity_rps: float = 0.0
    notes: list[str] = []
