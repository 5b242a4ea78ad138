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


class Curve(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="curve"):
    """Poisson arrivals whose rate runs in straight lines from point to point: the shape of a day.

    `at_ns` ascends from 0 to the duration; the same instant twice is a jump. Rate 0 is a pause.
    """

    at_ns: tuple[Annotated[int, Meta(ge=0)], ...]
    rates_rps: tuple[Annotated[float, Meta(ge=0)], ...]

    def __post_init__(self) -> None:
        at, rates = np.array(self.at_ns, np.int64), np.array(self.rates_rps, np.float64)
        if len(at) != len(rates) or len(at) < 2:
            raise SpecError(
                f"a curve needs one rate for each instant, at least two: got {len(at)} instants, {len(rates)} rates"
            )
        if at[0] != 0 or at[-1] == 0 or (np.diff(at) < 0).any():
            raise SpecError(f"a curve's instants ascend from 0, got {_shortened(self.at_ns)}")
        if not (np.isfinite(rates) & (rates >= 0)).all():
            raise SpecError(f"a curve's rates are finite and not negative, got {_shortened(self.rates_rps)}")

    @property
    def duration_ns(self) -> int:
        return self.at_ns[-1]

    @property
    def mean_rps(self) -> float:
        at, rates = np.array(self.at_ns), np.array(self.rates_rps)
        return float((np.diff(at) * (rates[1:] + rates[:-1])).sum() / 2 / self.duration_ns)

    def times(self, factor: float, *, duration_ns: int | None = None) -> "Curve":
        """The same shape with every rate times `factor`, stretched or squeezed to `duration_ns`."""
        at = np.array(self.at_ns, np.int64)
        if duration_ns is not None:
            at = np.round(at * (duration_ns / self.duration_ns)).astype(np.int64)
        rates = np.array(self.rates_rps) * factor
        return Curve(at_ns=tuple(at.tolist()), rates_rps=tuple(rates.tolist()))

    def instants_ns(self, rng: np.random.Generator) -> Instants:
        at, rates = np.array(self.at_ns, np.int64), np.array(self.rates_rps, np.float64)
        return _poisson_lines(at, rates, rng)


class Gamma(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="gamma"):
    """Independent gamma gaps of a given coefficient of variation: 1 is Poisson, above it arrivals clump.

    Tools that speak of a burstiness mean gap_cv ** -2, the shape of the gamma distribution: less of it, more bursts.
    """

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

    @classmethod
    def of(cls, instants_ns: Instants) -> "Recorded":
        return cls(at_ns=tuple(instants_ns.tolist()))

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


Arrivals = Constant | Poisson | Steps | Curve | Gamma | Mmpp | Recorded


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


def _poisson_lines(
    at_ns: NDArray[np.int64], rates_rps: NDArray[np.float64], rng: np.random.Generator
) -> Instants:
    """Rates in straight lines between points: a Poisson count for each piece, its instants by inversion.

    Within a piece from rate a to rate b, the share of arrivals before the share x of its length is
    (a x + (b - a) x^2 / 2) / ((a + b) / 2); solved for x in the form that needs no case for a = b.
    """
    lengths_ns, begin, end = np.diff(at_ns), rates_rps[:-1], rates_rps[1:]
    means = (begin + end) / 2 * lengths_ns / NS
    _check_count(float(means.sum()))
    counts = rng.poisson(means)
    share = rng.random(int(counts.sum()))
    a, b, length_ns = (np.repeat(values, counts) for values in (begin, end, lengths_ns))
    x = share * (a + b) / np.maximum(a + np.sqrt(a * a + share * (b * b - a * a)), np.finfo(np.float64).tiny)
    offsets = np.minimum((x * length_ns).astype(np.int64), length_ns - 1)
    instants: Instants = np.repeat(at_ns[:-1], counts) + offsets
    instants.sort()
    return instants


def _shortened(values: tuple[float, ...]) -> str:
    shown = ", ".join(f"{value:g}" for value in values[:8])
    return f"({shown}, ...)" if len(values) > 8 else f"({shown})"


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
