from pathlib import Path

import pytest

from trivet.errors import SpecError
from trivet.spec.cost import Cost
from trivet.spec.service_file import load_service

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


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("cost: {core_hour: -1}\n", "core_hour"),
        ("cost: {currency: EUR}\n", "'core_hour' is missing"),
        ("cost: {core_hours: 1}\n", "did you mean 'core_hour'"),
        ("cost: {core_hour: 1, currency: ''}\n", "currency"),
    ],
)
def test_a_price_that_is_none_is_refused(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(SpecError, match=told):
        load_service(written(tmp_path, text))
