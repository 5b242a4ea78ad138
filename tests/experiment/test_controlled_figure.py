"""`trivet bench --controlled`: p99 with a simulation of the same arrivals beside it; the live run is simulated as well."""

from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest

from benchmarks import models
from trivet.errors import UserError
from trivet.experiment.figures import percentile_figure
from trivet.experiment.measured import BlockRecord, Measured
from trivet.experiment.offered import arrivals
from trivet.experiment.simulating.controlled import NAME, check_controllable, controlled_figure, kept_profile
from trivet.experiment.simulating.simulated import setup_of, stage_key
from trivet.experiment.workload import Workload
from trivet.load.result import Generator
from trivet.simulate.profile import VERSION, ModelTimes, ServiceProfile, write_profile
from trivet.simulate.server import simulate_service
from trivet.spec.configuration import Configuration
from trivet.spec.service_file import load_configuration

NS = 1_000_000_000
SERVICE = "name: known\nmodels: {m: {file: m.onnx, levers: {max_batch_size: 1, execution: inline}}}\nslo: {deadline: 5s}\n"
WORKLOAD = Workload(rate_rps=70.0, duration_ns=30 * NS, workers=1, seed=3)


@pytest.fixture(scope="module")
def configuration(tmp_path_factory: pytest.TempPathFactory) -> Configuration:
    folder = tmp_path_factory.mktemp("service")
    onnx.save(models.matmul(), folder / "m.onnx")
    (folder / "service.yaml").write_text(SERVICE)
    return load_configuration(folder / "service.yaml")


def profile_of(configuration: Configuration, ms: float) -> ServiceProfile:
    rng = np.random.default_rng(int(10 * ms))
    times = (ms * 1e6 * rng.lognormal(0, 0.05, 64)).astype(int).tolist()
    return ServiceProfile(
        service="known", models={stage_key(configuration, 0): ModelTimes(samples={0: {1: times}})}
    )


def measured_on(configuration: Configuration, ms: float) -> Measured:
    profile = profile_of(configuration, ms)
    instants = arrivals(WORKLOAD, 0).instants_ns(np.random.default_rng(5))
    setup = setup_of(configuration, profile, workers=1, num_cores=1)
    rows = simulate_service(profile, setup, instants, seed=6)
    record = BlockRecord(
        block=0,
        seed=0,
        measured_from_ns=WORKLOAD.warmup_ns,
        end_ns=int(instants[-1]),
        generator=generator(len(instants)),
    )
    return Measured(record, rows)


def generator(num: int) -> Generator:
    fields = {field.name: field for field in msgspec.structs.fields(Generator)}
    given = {name: 0 for name, field in fields.items() if field.required}
    return Generator(**{**given, "num_sent": num})


def test_a_simulator_that_is_five_percent_off_narrows_the_interval(configuration: Configuration) -> None:
    measured = measured_on(configuration, 10.0)
    found = controlled_figure(measured, WORKLOAD, configuration, profile_of(configuration, 9.5))[NAME]
    plain = percentile_figure(measured.answered_ns(), None, 0.99)
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.estimate < found.high
    assert "control variate: worth" in found.verdict
    if plain.low is not None and plain.high is not None:
        assert found.high - found.low < plain.high - plain.low


def test_what_was_not_profiled_has_no_interval_and_says_why(configuration: Configuration) -> None:
    other = ServiceProfile(service="known", models={})
    found = controlled_figure(measured_on(configuration, 10.0), WORKLOAD, configuration, other)[NAME]
    assert (found.low, found.high) == (None, None)
    assert "not profiled" in found.verdict


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"users": 4}, "leave out --users"),
        ({"arrivals": "trace:day.csv"}, "and traces"),
        ({"num_blocks": 3}, "--blocks"),
        ({"workers": None}, "say --workers"),
    ],
)
def test_loads_without_expectation_are_refused(changes: dict[str, object], told: str) -> None:
    with pytest.raises(UserError, match=told):
        check_controllable(msgspec.structs.replace(WORKLOAD, **changes))


def test_a_profile_is_found_by_its_name_or_asked_for(configuration: Configuration, tmp_path: Path) -> None:
    service = Path(configuration.source)
    with pytest.raises(UserError, match="run once:  trivet simulate"):
        kept_profile(service, None, str(tmp_path))
    measured = profile_of(configuration, 10.0)
    write_profile(measured, tmp_path / "mine.json")
    with pytest.raises(UserError, match="--again"):  # of another version
        kept_profile(service, tmp_path / "mine.json", None)
    write_profile(msgspec.structs.replace(measured, version=VERSION), tmp_path / "mine.json")
    assert kept_profile(service, tmp_path / "mine.json", None).service == "known"
