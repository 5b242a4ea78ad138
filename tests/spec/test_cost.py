from pathlib import Path

import onnx
import pytest

from benchmarks import models
from trivet.errors import SpecError
from trivet.spec.cost import CallPrice, Cost
from trivet.spec.service_file import load_configuration, load_service

SERVICE = "name: m\nmodels: {m: {file: m.onnx}}\n"


def written(folder: Path, text: str) -> Path:
    (folder / "service.yaml").write_text(SERVICE + text)
    return folder / "service.yaml"


def test_a_million_requests_of_36_ms_are_ten_core_hours() -> None:
    assert Cost(core_hour=0.04).of_processor_time(36e6) == pytest.approx(0.4)


def test_provisioned_cores_are_paid_while_they_wait() -> None:
    """100 requests a second make a million in 10,000 s: 2.78 hours of 8 cores."""
    assert Cost(core_hour=0.05).of_cores(8, 100.0) == pytest.approx(8 * 0.05 * 10_000 / 3600)


def test_a_service_declares_what_its_cores_cost(tmp_path: Path) -> None:
    service = load_service(written(tmp_path, "cost: {core_hour: 0.04, currency: EUR}\n"))
    assert service.cost == Cost(core_hour=0.04, currency="EUR")
    assert load_service(written(tmp_path, "")).cost is None


def test_what_cores_cost_is_no_part_of_the_hash(tmp_path: Path) -> None:
    onnx.save(models.matmul(), tmp_path / "m.onnx")
    dear = load_configuration(written(tmp_path, "cost: {core_hour: 9.5}\n"))
    assert dear.hash == load_configuration(written(tmp_path, "")).hash
    assert dear.service.cost is not None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("cost: {core_hour: -1}\n", "core_hour"),
        ("cost: {currency: EUR}\n", "nothing has a price; write core_hour"),
        ("cost: {core_hours: 1}\n", "did you mean 'core_hour'"),
        ("cost: {core_hour: 1, currency: ''}\n", "currency"),
    ],
)
def test_a_price_that_is_none_is_refused(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(SpecError, match=told):
        load_service(written(tmp_path, text))


def test_a_call_costs_by_itself_and_by_its_tokens() -> None:
    cost = Cost(per_call=0.001, per_1k_tokens=0.5, per_1k_output_tokens=1.5)
    assert cost.call_nano("any", 2_000, 100) == 1_000_000 + 1_000_000_000 + 150_000_000
    assert Cost(per_1k_tokens=0.5).call_nano("any", 10, 10) == 10_000_000


def test_a_model_may_have_prices_of_its_own() -> None:
    cost = Cost(per_call=1.0, models={"small": CallPrice(per_1k_tokens=0.1)})
    assert (cost.call_nano("small", 1_000), cost.call_nano("large", 1_000)) == (100_000_000, 1_000_000_000)


def test_a_core_that_costs_36_an_hour_costs_ten_millionths_a_millisecond() -> None:
    assert Cost(core_hour=36.0).nano_per_core_ns() * 1_000_000 == pytest.approx(10_000)
