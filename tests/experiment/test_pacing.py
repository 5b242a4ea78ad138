"""From visits to engines, and from a live server's batches, to how fast the machine was meanwhile."""

import numpy as np
import pytest

from trivet.experiment.simulating.engine_points import EngineTimes, StageTimes
from trivet.experiment.simulating.live_points import LivePoint
from trivet.experiment.simulating.pacing import PACE_NS, joined, live_stretches, speeds_of
from trivet.spec.configuration import Configuration
from trivet.spec.row import RowColumns, RowsHeader
from trivet.spec.service_file import load_configuration

MS = 1_000_000


@pytest.fixture
def configuration(tmp_path_factory: pytest.TempPathFactory) -> Configuration:
    folder = tmp_path_factory.mktemp("paced")
    folder.joinpath("work.py").write_text("def predict(inputs):\n    return inputs\n")
    folder.joinpath("service.yaml").write_text(
        "name: paced\ninputs: [{name: x, datatype: FP32, shape: [-1, 2]}]\n"
        'outputs: [{name: x, datatype: FP32, shape: [-1, 2]}]\nmodels: {work: {python: "work.py:predict"}}\n'
    )
    return load_configuration(folder / "service.yaml")


def visited(factors: list[float]) -> EngineTimes:
    """One row takes 2 ms and two take 4, in turn, for 20 ms each; the machine is so many times as slow in each visit."""
    times: dict[int, list[list[int]]] = {1: [], 2: []}
    order = [1 + number % 2 for number in range(len(factors))]
    for rows, factor in zip(order, factors, strict=True):
        times[rows].append([int(2 * MS * rows * factor)] * round(10 / rows / factor))
    return EngineTimes(stages={0: StageTimes(times={0: times}, order={0: order})})


def test_the_pace_of_a_visit_is_that_of_all_sizes(configuration: Configuration) -> None:
    models, (first, second) = joined(configuration, [visited([1, 1, 1, 1, 2, 2]), visited([1, 1])])
    (times,) = models.values()
    assert first == [1.0] * 8 + [2.0] * 4  # by ten milliseconds
    assert second == [1.0] * 4
    for rows, paces in times.paces[0].items():
        slow = np.array(times.samples[0][rows]) == 4 * MS * rows
        assert (np.array(paces) == np.where(slow, 2.0, 1.0)).all()


def test_one_long_batch_is_no_pace(configuration: Configuration) -> None:
    """Visits of one batch each, 40 ms; one that takes seven times as long is a residual, three in a row are a pace."""
    times = [[40 * MS], [40 * MS], [40 * MS], [280 * MS], [40 * MS], [40 * MS], [40 * MS]]
    once = EngineTimes(stages={0: StageTimes(times={0: {32: times}}, order={0: [32] * 7})})
    models, (stretch,) = joined(configuration, [once])
    assert set(stretch) == {1.0}
    assert next(iter(models.values())).paces == {0: {32: [1.0] * 7}}
    slow = EngineTimes(
        stages={0: StageTimes(times={0: {32: [[40 * MS]] * 6 + [[280 * MS]] * 3}}, order={0: [32] * 9})}
    )
    _, (stretch,) = joined(configuration, [slow])
    assert stretch == [1.0] * 24 + [7.0] * 84


def test_the_last_batches_belong_to_those_before(configuration: Configuration) -> None:
    times = [[40 * MS]] * 3 + [[280 * MS]]
    one = EngineTimes(stages={0: StageTimes(times={0: {32: times}}, order={0: [32] * 4})})
    assert set(joined(configuration, [one])[1][0]) == {1.0}


def test_what_was_too_short_for_a_step_is_no_stretch(configuration: Configuration) -> None:
    times = EngineTimes(stages={0: StageTimes(times={0: {1: [[1000] * 3]}}, order={0: [1]})})
    models, stretches = joined(configuration, [times])
    assert stretches == [[]]
    assert next(iter(models.values())).paces == {0: {1: [1.0] * 3}}


def point(at_ms: list[float], compute_ms: list[float], rows: list[int]) -> LivePoint:
    done = (np.array(at_ms) * MS).astype(np.int64)
    columns = RowColumns.of(
        RowsHeader(writer="load"),
        len(done),
        intended_ns=done - 20 * MS,
        sent_ns=done - 20 * MS,
        done_ns=done,
        outcome="ok",
        compute_ns=(np.array(compute_ms) * MS).astype(np.int64),
        batch_size=np.array(rows, np.int64),
    )
    return LivePoint(columns, len(done), 0, 0)


def test_a_live_servers_batches_tell_its_pace_by_their_size() -> None:
    """Batches of two take 3 ms and of one 2; the second point is half as slow again, for 20 ms with nothing to see."""
    usual = point([*range(0, 100, 2)], [2, 3] * 25, [1, 2] * 25)
    slow = point([0, 2, 4, 30, 32], [3, 4.5, 3, 3, 3], [1, 2, 1, 1, 1])
    first, second = live_stretches([usual, slow])
    assert first == [1.0] * 10
    assert second == [1.5] * 4
    stalled = point([0, 2, 4, 30, 32], [2, 3, 14, 2, 2], [1, 2, 1, 1, 1])
    assert live_stretches([usual, stalled])[1] == [1.0] * 4
    odd = point([0, 5], [2, 2], [7, 7])  # too few of that size to know what is usual
    assert live_stretches([usual, odd])[1] == []


def test_speeds_are_those_of_visits_over_all() -> None:
    assert PACE_NS == 10 * MS
    assert speeds_of([[[1.0] * 4, [2.0] * 4], [[0.5] * 8, []], [[]]]) == [1.5, 0.5]
    assert speeds_of([]) == []
