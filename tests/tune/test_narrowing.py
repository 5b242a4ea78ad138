"""Which batches are profiled, and which are left out after it: only what was measured and gains nothing."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks import models
from trivet.experiment.simulating.simulated import setup_of, stage_key
from trivet.simulate.profile import HostCosts, ModelTimes, ServiceProfile
from trivet.simulate.setup import Setup
from trivet.spec.configuration import configuration
from trivet.spec.convert import convert
from trivet.spec.service import Model, Service
from trivet.spec.tuning import Tuning
from trivet.tune.choice import Choice
from trivet.tune.narrowing import gains_of, narrowed, profiled_choices
from trivet.tune.space import Space, space_of

MS = 1_000_000


def space(folder: Path, **levers: Any) -> Space:
    models.write(models.matmul(), folder / "m.onnx")
    base = configuration(Service(name="s", models={"m": Model(file="m.onnx")}), folder)
    return space_of(base, [], 2, convert({"levers": levers}, Tuning))


def after(found: Space, times: dict[int, int], batch_ns: int = 0) -> Space:
    """Args: times: rows -> ns, of the engine of every choice.  batch_ns: of the loop."""
    keys = {stage_key(found.configuration(choice)[0], 0) for choice in profiled_choices(found)}
    samples = ModelTimes(samples={0: {rows: [ns] * 5 for rows, ns in times.items()}})
    host = HostCosts(per_batch_ns=[batch_ns])
    profile = ServiceProfile(service="s", models=dict.fromkeys(keys, samples), host=host, cores=2)

    def setup(choice: Choice) -> Setup:
        made, workers = found.configuration(choice)
        return setup_of(made, profile, workers=workers, num_cores=2)

    return narrowed(found, profile, setup)


def limits(found: Space) -> tuple[Any, ...]:
    return next((one.values for one in found.levers if one.lever == "max_batch_size"), ())


def why(found: Space, lever: str) -> list[str]:
    return [one.why for one in found.left_out if one.name == lever]


@pytest.mark.parametrize(("rule", "rows"), [([1, 4, 16], 16), ([4, 1], 4), ({"at_most": 8}, "auto")])
def test_the_largest_batches_that_are_searched_are_profiled(tmp_path: Path, rule: Any, rows: Any) -> None:
    found = space(tmp_path, max_batch_size=rule)
    chosen = profiled_choices(found)
    assert {choice["max_batch_size"] for choice in chosen} == {rows}
    assert len(chosen) == len(set(chosen)) > 1
    assert Choice({**chosen[0], "max_batch_size": 0}) == Choice({**found.default, "max_batch_size": 0})


def test_batches_that_were_not_measured_are_not_said_to_gain_nothing(tmp_path: Path) -> None:
    found = after(space(tmp_path, max_batch_size=[1, 4, 16]), {1: MS})
    assert limits(found) == (1, 4, 16)
    assert "a batch takes no less time a row than single rows" not in why(found, "max_batch_size")


def test_measured_batches_that_are_no_faster_a_row_are_left_out(tmp_path: Path) -> None:
    asked = space(tmp_path, max_batch_size=[1, 2, 4])
    found = after(asked, {1: MS, 2: 2 * MS, 4: 4 * MS})
    assert limits(found) == ()
    assert "a batch takes no less time a row than single rows" in why(found, "max_batch_size")
    some = after(asked, {1: MS, 2: MS, 4: 2 * MS})
    assert limits(some) == (1, 2)
    assert "batches beyond 2 are no faster a row" in why(some, "max_batch_size")


def test_a_limit_between_two_values_keeps_the_one_above_it(tmp_path: Path) -> None:
    found = after(
        space(tmp_path, max_batch_size=[1, 4, 16]), {1: MS, 2: MS, 4: 2 * MS, 8: 4 * MS, 16: 8 * MS}
    )
    assert limits(found) == (1, 4)
    assert "batches beyond 4 are no faster a row" in why(found, "max_batch_size")


def test_what_the_loop_does_once_a_batch_is_a_reason_for_batches(tmp_path: Path) -> None:
    asked = space(tmp_path, max_batch_size=[1, 2, 4])
    found = after(asked, {1: MS, 2: 2 * MS, 4: 4 * MS}, batch_ns=MS // 10)
    assert limits(found) == (1, 2, 4)


def test_a_model_without_batches_gains_nothing_from_them() -> None:
    times = ModelTimes(samples={0: {1: [MS], 4: [MS]}})
    assert list(gains_of(times)) == [(4, 4.0)]
    for alone in ({"same": False}, {"batches": False}):
        assert list(gains_of(msgspec.structs.replace(times, **alone))) == [(1, 1.0)]
