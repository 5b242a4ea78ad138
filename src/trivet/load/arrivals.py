"""When each request is meant to be sent: decided from a seed, before the run, whatever the server does later.

Every process is a value with `instants_ns(rng)`: int64, ascending, from 0 up to the duration (not included).
"""

from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from trivet.errors import SpecError

MAX_ARRIVALS = 20_000_000  # a schedule is held in memory, at about 200 bytes a request once it runs
NS = 1_000_000_000

Instants = NDArray[np.int64]
Rate = Annotated[float, Meta(gt=0)]  # requests a second
DurationNs = Annotated[int, Meta(gt=0)]


class Constant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="constant"):
    """Evenly spaced, the first at 0."""

    rate_rps: Rate
    duration_ns: DurationNs

    def instants_ns(self, rng: np.random.Generator) -> Instants:
        num = _bounded(self.rate_rps, self.duration_ns)
        instants = (np.arange(num + 1) * (NS / self.rate_rps)).astype(np.int64)
        return instants[instants < self.duration_ns]


class Poisson(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="poisson"):
    """Independent users: exponential gaps."""

    rate_rps: Rate
    duration_ns: DurationNs

    def instants_ns(self, rng: np.random.Generator) -> Instants:
        return _poisson(np.array([self.rate_rps]), np.array([self.duration_ns]), rng)


class Steps(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="steps"):
    """Poisson arrivals whose rate changes at given times: ramps and spikes. Rate 0 is a pause."""

    rates_rps: tuple[Annotated[float, Meta(ge=0)], ...]
    durations_ns: tuple[DurationNs, ...]

    def __post_init__(self) -> None:
        if len(self.rates_rps) != len(self.durations_ns) or not self.rates_rps:
            raise SpecError(
                f"steps need one duration for each rate, at least one: got {len(self.rates_rps)} rates and "
                f"{len(self.durations_ns)} durations"
            )

    @property
    def duration_ns(self) -> int:
        return sum(self.durations_ns)

    def instants_ns(self, rng: np.random.Generator) -> Instants:
        return _poisson(np.array(self.rates_rps), np.array(self.durations_ns), rng)


class Gamma(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="gamma"):
    """Independent gamma gaps of a given coefficient of variation: 1 is Poisson, above it arrivals clump."""

    rate_rps: Rate
    duration_ns: DurationNs
    gap_cv: Annotated[float, Meta(gt=0, le=20)]  # beyond it, gaps underflow to 0

    def instants_ns(self, rng: np.random.Generator) -> Instants:
        expected = _bounded(self.rate_rps, self.duration_ns)
        shape = self.gap_cv**-2
        chunk = expected + 4 * round(self.gap_cv * expected**0.5) + 16  # rarely needs a second one
        instants, end = [], 0.0
        while end < self.duration_ns:
            gaps = rng.gamma(shape, NS / (self.rate_rps * shape), chunk)
            instants.append(end + np.cumsum(gaps))
            end = float(instants[-1][-1])
        merged = np.concatenate(instants).astype(np.int64)
        return merged[merged < self.duration_ns]


class Mmpp(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="mmpp"):
    """A Markov-modulated Poisson process of two states, calm and `burst_factor` times the calm rate.

    `rate_rps` is the long-run mean. Bursts last `mean_burst_ns` on average, `burst_share` of the time.
    """

    rate_rps: Rate
    duration_ns: DurationNs
    burst_factor: Annotated[float, Meta(ge=1)] = 4.0
    burst_share: Annotated[float, Meta(gt=0, lt=1)] = 0.2
    mean_burst_ns: DurationNs = NS // 2

    def instants_ns(self, rng: np.random.Generator) -> Instants:
        durations, bursting = self._sojourns(rng)
        calm_rps = self.rate_rps / (1 + self.burst_share * (self.burst_factor - 1))
        return _poisson(np.where(bursting, self.burst_factor * calm_rps, calm_rps), durations, rng)

    def _sojourns(self, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Lengths of the alternating states, cut at the end; the first state follows the stationary law."""
        mean_calm_ns = self.mean_burst_ns * (1 - self.burst_share) / self.burst_share
        bursting = bool(rng.random() < self.burst_share)
        durations, states, left = [], [], self.duration_ns
        while left > 0:
            mean_ns = self.mean_burst_ns if bursting else mean_calm_ns
            durations.append(min(left, 1 + int(rng.exponential(mean_ns))))
            states.append(bursting)
            left -= durations[-1]
            bursting = not bursting
        return np.array(durations, np.int64), np.array(states)


class Recorded(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="recorded"):
    """A trace: the instants themselves, ascending."""

    at_ns: tuple[Annotated[int, Meta(ge=0)], ...]

    @property
    def duration_ns(self) -> int:
        return self.at_ns[-1] + 1 if self.at_ns else 0

    def instants_ns(self, rng: np.random.Generator) -> Instants:
        instants = np.array(self.at_ns, np.int64)
        backwards = np.flatnonzero(np.diff(instants) < 0)
        if len(backwards):
            i = int(backwards[0]) + 1
            raise SpecError(
                f"recorded arrivals go back in time at index {i}: {instants[i]} after {instants[i - 1]}"
            )
        return instants


Arrivals = Constant | Poisson | Steps | Gamma | Mmpp | Recorded


def _poisson(
    rates_rps: NDArray[np.float64], durations_ns: NDArray[np.int64], rng: np.random.Generator
) -> Instants:
    """Piecewise constant rates: a Poisson count for each piece, its instants uniform and sorted."""
    means = rates_rps * durations_ns / NS
    _check_count(float(means.sum()))
    counts = rng.poisson(means)
    starts = np.cumsum(durations_ns) - durations_ns
    offsets = rng.random(int(counts.sum())) * np.repeat(durations_ns, counts)
    instants = np.repeat(starts, counts) + offsets.astype(np.int64)
    instants.sort()
    return instants


def _bounded(rate_rps: float, duration_ns: int) -> int:
    """The expected number of arrivals, rounded up."""
    expected = rate_rps * duration_ns / NS
    _check_count(expected)
    return int(np.ceil(expected))


def _check_count(expected: float) -> None:
    if expected > MAX_ARRIVALS:
        raise SpecError(
            f"{expected:.3g} arrivals expected, at most {MAX_ARRIVALS:,} fit one run; "
            "shorten the duration or lower the rate"
        )
