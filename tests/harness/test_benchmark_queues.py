"""The queues of `python -m benchmarks coverage`, against slow loops and theory."""

import math

import numpy as np
import pytest

from benchmarks import _queues
from benchmarks._queues import (
    JUDGED,
    UNSEEN,
    Mmpp,
    Queue,
    batches,
    exponential,
    mm1_percentile,
    one_server,
    poisson,
)

NUM = 300


@pytest.fixture(autouse=True)
def _from_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left out, so that a loop can follow every request."""
    monkeypatch.setattr(_queues, "WARM_UP", 0)


def drawn(load: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """What `one_server` draws, in its order."""
    rng = np.random.default_rng(seed)
    return poisson(load, (2, NUM), rng), exponential(rng, (2, NUM))


@pytest.mark.parametrize("load", [0.3, 0.9])
def test_one_server_serves_in_order(load: float) -> None:
    sent, latencies = one_server(poisson, exponential)(load, 2, NUM, np.random.default_rng(1))
    arrivals, services = drawn(load, 1)
    for run in range(2):
        free = 0.0
        for i in range(NUM):
            free = max(free, arrivals[run, i]) + services[run, i]
            assert sent[run, i] == arrivals[run, i]
            assert latencies[run, i] == pytest.approx(free - arrivals[run, i])


def test_two_servers_take_the_first_in_line() -> None:
    queue = next(queue for queue in UNSEEN if queue.name == "M/M/2")
    sent, latencies = queue.simulate(0.8, 2, NUM, np.random.default_rng(2))
    rng = np.random.default_rng(2)
    arrivals, services = poisson(1.6, (2, NUM), rng), exponential(rng, (2, NUM))
    for run in range(2):
        free = [0.0, 0.0]
        for i in range(NUM):
            free.sort()
            free[0] = max(free[0], arrivals[run, i]) + services[run, i]
            assert latencies[run, i] == pytest.approx(free[0] - sent[run, i])


@pytest.mark.parametrize("load", [0.3, 0.9])
def test_a_batch_takes_all_that_wait_up_to_its_limit(load: float) -> None:
    sent, latencies = batches(load, 3, NUM, np.random.default_rng(3))
    done = sent + latencies
    for run in range(3):
        ends, sizes = np.unique(np.round(done[run], 9), return_counts=True)
        assert sizes.max() <= 16
        firsts = np.cumsum(sizes) - sizes
        starts = np.maximum(np.append(0.0, ends[:-1]), sent[run, firsts])
        cost = ends - starts
        assert np.all((cost >= 0.95 * (1 + 0.1 * sizes) - 1e-6) & (cost <= 1.05 * (1 + 0.1 * sizes) + 1e-6))
        for size, first, start in zip(sizes, firsts, starts, strict=True):
            waiting = np.count_nonzero(sent[run, first:] <= start + 1e-9)
            assert size == min(16, max(1, waiting)) or first + size == NUM


@pytest.mark.parametrize("queue", [*JUDGED, *UNSEEN], ids=lambda queue: queue.name)
def test_every_queue_answers_after_it_was_asked(queue: Queue) -> None:
    sent, latencies = queue.simulate(0.8, 2, NUM, np.random.default_rng(4))
    assert sent.shape == latencies.shape == (2, NUM)
    assert np.all(np.diff(sent, axis=1) >= 0)
    assert np.all(latencies > 0)


def test_bursts_keep_the_mean_rate_and_clump() -> None:
    sent = Mmpp(factor=4.0, share=0.2, mean_burst=5.0)(0.5, (1, 200_000), np.random.default_rng(5))[0]
    assert len(sent) / sent[-1] == pytest.approx(0.5, rel=0.03)
    counts = np.bincount((sent / 100).astype(np.int64))[:-1]
    # 1 + 2 (difference of rates)^2 share (1 - share) / (rate (sum of switching rates)), for windows far longer than a
    # burst: the rates are 0.3125 and 1.25, the switching rates 1/5 and 1/20.
    assert counts.var() / counts.mean() == pytest.approx(1 + 2 * 0.9375**2 * 0.16 / (0.5 * 0.25), rel=0.15)


def test_the_latency_of_an_mm1_queue_is_exponential(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_queues, "WARM_UP", 1000)
    _, latencies = one_server(poisson, exponential)(0.5, 4, 100_000, np.random.default_rng(6))
    assert mm1_percentile(0.5, 0.99) == pytest.approx(2 * math.log(100))
    assert np.quantile(latencies, 0.99) == pytest.approx(mm1_percentile(0.5, 0.99), rel=0.03)
