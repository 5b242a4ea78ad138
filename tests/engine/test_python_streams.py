"""Streams of python engines: chunks, back-pressure by credits, cancellation, several at once."""

from contextlib import closing

import numpy as np
import pytest
from python_support import running, spec, wait_events

from trivet.engine.python.engine import PythonEngine
from trivet.engine.python.events import Chunk, Event, Failed, StreamEnded
from trivet.engine.python.process import PythonProcess
from trivet.errors import EngineError

BOTH = pytest.mark.parametrize("counter", ["count", "async_count"])


def n(value: int) -> dict[str, np.ndarray]:
    return {"n": np.array([value])}


def numbers(events: list[Event]) -> list[tuple[int, int]]:
    """(stream, number) of each chunk."""
    return [(event.stream_id, int(event.outputs["y"][0])) for event in events if isinstance(event, Chunk)]


def wait_chunks(process: PythonProcess, count: int) -> list[Event]:
    events: list[Event] = []
    while len(events) < count:
        events += wait_events(process)
    assert len(events) == count
    return events


@BOTH
def test_chunks_come_in_order_and_then_the_end(counter: str) -> None:
    with running(counter) as process:
        process.open_stream(7, n(3), 10)
        events = wait_chunks(process, 4)
    assert numbers(events) == [(7, 1), (7, 2), (7, 3)]
    assert events[3] == StreamEnded(7, None)


@BOTH
def test_no_chunk_is_made_without_credit(counter: str, capfd: pytest.CaptureFixture[str]) -> None:
    with running(counter) as process:
        process.open_stream(1, n(100), 2)
        assert numbers(wait_chunks(process, 2)) == [(1, 1), (1, 2)]
        # A second stream runs to its end meanwhile: had the first made more, it would have come before.
        process.open_stream(2, n(1), 2)
        assert numbers(wait_chunks(process, 2)) == [(2, 1)]
        process.grant(1, 1)
        assert numbers(wait_chunks(process, 1)) == [(1, 3)]
        process.cancel(1)
        assert wait_events(process) == [StreamEnded(1, None)]
    assert capfd.readouterr().err.split("\n")[:2] == ["made 1", "made 3"]


@BOTH
def test_streams_take_turns(counter: str) -> None:
    with running(counter) as process:
        process.open_stream(1, n(3), 0)
        process.open_stream(2, n(3), 0)
        got = []
        for _ in range(3):
            for stream_id in (1, 2):
                process.grant(stream_id, 1)
                got += numbers(wait_chunks(process, 1))
        assert got == [(1, 1), (2, 1), (1, 2), (2, 2), (1, 3), (2, 3)]
        for stream_id in (1, 2):
            process.grant(stream_id, 1)
            assert wait_events(process) == [StreamEnded(stream_id, None)]


def test_a_stream_with_endless_credit_leaves_others_their_turn() -> None:
    with running("count") as process:
        process.open_stream(1, n(1_000_000), 1_000_000)
        process.open_stream(2, n(3), 4)
        ended = False
        while not ended:
            events = wait_events(process)
            assert len(events) <= 64  # the event loop has others to serve
            ended = StreamEnded(2, None) in events
        process.cancel(1)
        assert 2 not in {event.stream_id for event in wait_events(process)}


@BOTH
def test_a_cancelled_stream_gives_no_chunk_more_and_ends_once(counter: str) -> None:
    with running(counter) as process:
        process.open_stream(1, n(1_000), 500)
        process.cancel(1)
        process.cancel(1)
        assert wait_events(process) == [StreamEnded(1, None)]
        process.open_stream(1, n(1), 2)  # its id is free again
        assert numbers(wait_chunks(process, 2)) == [(1, 1)]


@pytest.mark.parametrize("counter", ["count_then_raise", "async_count_then_raise"])
def test_chunks_already_given_stand_when_the_code_raises(counter: str) -> None:
    with running(counter) as process:
        process.open_stream(1, n(2), 10)
        events = wait_chunks(process, 3)
        assert numbers(events) == [(1, 1), (1, 2)]
        ended = events[2]
        assert isinstance(ended, StreamEnded)
        assert str(ended.error) == f"python_models.py:{counter}: ValueError: no more"
        process.open_stream(2, n(0), 1)
        assert isinstance(wait_events(process)[0], StreamEnded)


def test_a_chunk_of_another_shape_ends_the_stream() -> None:
    with running("count_wrongly") as process:
        process.open_stream(1, n(2), 10)
        (ended,) = wait_events(process)
    assert isinstance(ended, StreamEnded)
    assert "output 'y': expected INT64 [-1], got shape [1, 1]" in str(ended.error)


def test_chunks_may_outgrow_the_shared_memory_while_others_are_unread() -> None:
    with running("growing") as process:
        process.open_stream(1, n(12), 13)
        chunks = [event for event in wait_chunks(process, 13) if isinstance(event, Chunk)]
    for number, chunk in enumerate(chunks, start=1):
        assert chunk.outputs["y"].shape == (number * 100_000,)
        assert (chunk.outputs["y"] == number).all()


@BOTH
def test_a_generator_has_no_single_answer(counter: str) -> None:
    with running(counter) as process:
        process.send(1, n(1))
        (failed,) = wait_events(process)
    assert isinstance(failed, Failed)
    assert "it is a generator, which answers as a stream only" in str(failed.error)


@pytest.mark.parametrize("model", ["Gather", "AsyncGather"])
def test_code_that_is_no_generator_streams_its_answer_as_one_chunk(model: str) -> None:
    with closing(PythonEngine(spec(model))) as engine:
        assert not engine.streams
        assert [chunk["y"].tolist() for chunk in engine.stream({"x": np.array([3])})] == [[[3, 9]]]
        with pytest.raises(EngineError, match="IndexError"):
            list(engine.stream({"x": np.array([10])}))


@BOTH
def test_stopping_breaks_streams_off_with_an_error(counter: str) -> None:
    with running(counter) as process:
        process.open_stream(1, n(5), 1)
        wait_chunks(process, 1)
        ended, exited = process.close(grace_ns=60_000_000_000)
    assert isinstance(ended, StreamEnded)
    assert "the engine was stopped before the stream's end" in str(ended.error)
    assert exited.returncode == 0


@BOTH
def test_the_engine_gives_chunks_as_they_come_and_cancels_when_it_is_closed(
    counter: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with closing(PythonEngine(spec(counter))) as engine:
        assert engine.streams
        assert [int(chunk["y"][0]) for chunk in engine.stream(n(5))] == [1, 2, 3, 4, 5]
        first, second = engine.stream(n(100)), engine.stream(n(100))
        assert [int(next(stream)["y"][0]) for stream in (first, second, first)] == [1, 1, 2]
        first.close()
        assert int(next(second)["y"][0]) == 2
        second.close()
    made = [int(line.split()[1]) for line in capfd.readouterr().err.splitlines()]
    assert made[0] == 5
    assert max(made[1:]) <= 4  # two asked for, at most two made ahead
