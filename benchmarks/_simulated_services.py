"""Services whose truth is known: hidden service times, noise, hiccups and accuracies, drawn from a number."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from benchmarks import models
from trivet.catalog.records import Figure
from trivet.experiment.simulating.simulated import stage_key
from trivet.experiment.variants.judged_variants import JudgedVariant
from trivet.simulate.profile import HostCosts, ModelTimes, ServiceProfile
from trivet.spec.configuration import Configuration, configuration
from trivet.spec.levers import Slo
from trivet.spec.service import Model, Service
from trivet.stats.proportion import proportion_interval
from trivet.variants.variant import ORIGINAL, Variant

MODEL = "m"
BATCHES = (1, 2, 4, 8, 16, 32, 64)
_MS, _S = 1e6, 1_000_000_000
_TRUE_SAMPLES = 240  # of each batch size


@dataclass(frozen=True, slots=True)
class Form:
    """One variant as it really is. A batch of b rows takes fixed + b * row ns on one core; right: share of true answers."""

    name: str
    fixed_ns: float
    row_ns: float
    right: float


@dataclass(frozen=True, slots=True)
class Hidden:
    """A service as it really is, and what is asked of it.

    parallel: the share of a batch's work that threads divide among them.  noise: standard deviation of a log service
    time.  mood: of a whole block's.  bias: of what a profile gets wrong about one form, for good.
    """

    name: str
    forms: tuple[Form, ...]
    cores: int
    slo_ns: int
    accuracy_floor: float
    num_rows: int
    parallel: float
    noise: float
    mood: float
    bias: float
    request_ns: float
    hiccup_ns: float
    hiccups_a_second: float


def hidden(number: int) -> Hidden:
    """The service of a number: a batch of one takes 0.1 to 8 ms, batching and threads help much or not at all."""
    rng = np.random.default_rng((20_260, number))
    one_ns = float(np.exp(rng.uniform(np.log(0.1), np.log(8)))) * _MS
    fixed = rng.uniform(0.05, 0.8)  # the share of it that a batch shares
    right = rng.uniform(0.85, 0.96)
    speeds, losses = (
        (1.0, rng.uniform(1.2, 3), rng.uniform(3, 8)),
        (0.0, rng.uniform(0, 0.012), rng.uniform(0.01, 0.05)),
    )
    forms = tuple(
        Form(name, fixed * one_ns / speed, (1 - fixed) * one_ns / speed, right - loss)
        for name, speed, loss in zip((ORIGINAL, "int8-dynamic", "distilled"), speeds, losses, strict=True)
    )
    return Hidden(
        name=f"service-{number}",
        forms=forms,
        cores=int(rng.integers(2, 5)),
        slo_ns=round(max(4 * _MS, one_ns * rng.uniform(4, 20))),
        accuracy_floor=round(right - 0.02, 3),
        num_rows=int(rng.choice([1_000, 3_000])),
        parallel=rng.uniform(0.3, 0.95),
        noise=rng.uniform(0.02, 0.2),
        mood=rng.uniform(0.005, 0.02),
        bias=rng.uniform(0.01, 0.05),
        request_ns=rng.uniform(20_000, 60_000),
        hiccup_ns=rng.uniform(0.2, 2) * _MS,
        hiccups_a_second=rng.uniform(0.2, 3),
    )


def base_configuration(service: Hidden, folder: Path) -> Configuration:
    """A service with a model file for each form: their bytes differ, and nothing else of them is used."""
    for index, form in enumerate(service.forms):
        models.write(models.matmul(seed=index), folder / f"{form.name}.onnx")
    declared = Service(
        name=service.name,
        models={MODEL: Model(file=f"{ORIGINAL}.onnx")},
        slo=Slo(latency_ns=service.slo_ns, accuracy=service.accuracy_floor),
        metric="accuracy",
    )
    return configuration(declared, folder)


def with_form(base: Configuration, variant: Variant) -> Configuration:
    """The base with another form of its model."""
    model = msgspec.structs.replace(base.service.models[MODEL], file=variant.files[0])
    return configuration(msgspec.structs.replace(base.service, models={MODEL: model}), Path(base.root))


def judged(service: Hidden, base: Configuration, seed: int) -> list[JudgedVariant]:
    """Each form on the same labelled rows: a row is answered right by those whose share is above its difficulty."""
    rng = np.random.default_rng((seed, 1))
    difficulty = rng.random(service.num_rows)
    digest = base.files[0].digest
    found = []
    for form in service.forms:
        share = proportion_interval(int((difficulty < form.right).sum()), service.num_rows)
        file = f"{form.name}.onnx"
        variant = Variant(
            name=form.name,
            model=MODEL,
            digest=digest if form.name == ORIGINAL else form.name,
            files=(file,),
            size_bytes=Path(base.root, file).stat().st_size,
            built_from=digest,
            answers_change=form.name != ORIGINAL,
        )
        found.append(
            JudgedVariant(
                variant=variant,
                accuracy=Figure(estimate=share.estimate, low=share.low, high=share.high, unit=""),
                times_ns={0: {1: [round(form.fixed_ns + form.row_ns)] * 5}},
                verdict="original" if form.name == ORIGINAL else "faster",
                reason="",
                in_search=True,
            )
        )
    return found


def times_of(
    service: Hidden, found: Configuration, rng: np.random.Generator, num: int, factor: float
) -> ModelTimes:
    """Service times of the form and threads that a configuration names, `num` of each batch size."""
    model = found.service.models[MODEL]
    form = next(one for one in service.forms if model.file == f"{one.name}.onnx")
    threads = model.levers.threads if isinstance(model.levers.threads, int) else 1
    divided = 1 - service.parallel + service.parallel / threads
    extra = (0.98 if model.levers.spinning else 1.0) * (
        1.05 if model.levers.graph_optimization == "basic" else 1.0
    )
    samples = {
        rows: (
            (form.fixed_ns + rows * form.row_ns)
            * (divided * extra * factor)
            * np.exp(rng.normal(-(service.noise**2) / 2, service.noise, num))
        )
        .astype(np.int64)
        .tolist()
        for rows in BATCHES
    }
    return ModelTimes(samples={0: samples})


def true_host(service: Hidden, speed: float = 1.0) -> HostCosts:
    """What the host costs; hiccups as a Poisson process of 20 s that starts again at its end."""
    rng = np.random.default_rng((20_261, round(service.request_ns)))
    observed_ns = 20 * _S
    num = int(rng.poisson(service.hiccups_a_second * observed_ns / _S))
    starts = np.sort(rng.integers(0, observed_ns, num))
    lengths = rng.exponential(service.hiccup_ns, num)
    hiccups = [(int(start), max(1, int(length))) for start, length in zip(starts, lengths, strict=True)]
    apart = [one for i, one in enumerate(hiccups) if i == 0 or one[0] > sum(hiccups[i - 1])]

    def drawn(mean_ns: float) -> list[int]:
        return (mean_ns * np.exp(rng.normal(0, 0.15, 100))).astype(np.int64).tolist()

    return HostCosts(
        per_request_ns=drawn(service.request_ns),
        per_batch_ns=drawn(10_000),
        per_wake_ns=drawn(60_000),
        travel_ns=30_000,
        hand_over_ns=drawn(25_000),
        hand_back_ns=drawn(20_000),
        process_hand_over_ns=drawn(80_000),
        interference={busy: 1 + 0.04 * (busy - 1) for busy in range(1, service.cores + 1)},
        speeds=[speed],
        hiccups=apart,
        observed_ns=observed_ns,
    )


def truth(service: Hidden, found: Configuration, *, speed: float = 1.0) -> ServiceProfile:
    """The hidden truth about one configuration."""
    key = stage_key(found, 0)
    rng = np.random.default_rng([20_262, *key.encode()])
    times = times_of(service, found, rng, _TRUE_SAMPLES, 1.0)
    return ServiceProfile(
        service=service.name, models={key: times}, host=true_host(service, speed), cores=service.cores
    )
