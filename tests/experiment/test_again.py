"""From a recorded workload to one that can be offered again: its blocks, its files, its data."""

import hashlib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.experiment.measured_support import block
from tests.experiment.replay_support import MemoryStore, configuration, run
from trivet.catalog.records import Run
from trivet.errors import UserError
from trivet.experiment.measured import pack
from trivet.experiment.replay.again import subject_of_run, workload_of
from trivet.experiment.workload import Asking, Workload


class Store(MemoryStore):
    """With rows that nobody asks for."""

    def rows(self, digest: str) -> Any:
        raise AssertionError("a workload needs no rows")


def recorded(store: Store, workload: Workload, num_blocks: int = 1, **artifacts: bytes) -> Run:
    _, records = pack([block([1.0] * 4, number=i) for i in range(num_blocks)])
    kept = {name: store.put(content) for name, content in artifacts.items()}
    return run(workload=msgspec.to_builtins(workload), artifacts={"blocks": store.put(records), **kept})


def test_as_many_blocks_of_the_same_length_as_were_measured(tmp_path: Path) -> None:
    store = Store()
    planned = Workload(rate_rps=100, duration_ns=160_000_000, num_blocks=16, until_decided=True, seed=7)
    found = workload_of(recorded(store, planned, num_blocks=3), store, tmp_path)
    assert (found.num_blocks, found.block_ns, found.until_decided) == (3, planned.block_ns, False)
    assert [found.block_seed(i) for i in range(3)] == [planned.block_seed(i) for i in range(3)]


def test_as_many_starts_as_were_measured_and_the_same_turns(tmp_path: Path) -> None:
    store = Store()
    planned = Workload(rate_rps=100, num_blocks=16, num_starts=16, turn_ns=50_000_000)
    _, records = pack([block([1.0] * 4, number=i, start=i // 2 + 3) for i in range(5)])
    one = run(workload=msgspec.to_builtins(planned), artifacts={"blocks": store.put(records)})
    found = workload_of(one, store, tmp_path)
    assert (found.num_blocks, found.num_starts, found.turn_ns) == (5, 3, 50_000_000)
    older = workload_of(recorded(store, Workload(rate_rps=100)), store, tmp_path)  # it knew of neither
    assert (older.num_starts, older.turn_ns) == (1, 0)


@pytest.mark.parametrize("rest", ["", ":users:2.0"])
def test_a_trace_is_put_where_it_can_be_read(tmp_path: Path, rest: str) -> None:
    store = Store()
    one = recorded(store, Workload(arrivals=f"trace:/gone/t.csv{rest}"), trace=b"time\n0\n1\n")
    found = workload_of(one, store, tmp_path / "new")
    path = tmp_path / "new" / "arrivals.csv"
    assert (found.arrivals, path.read_bytes()) == (f"trace:{path}{rest}", b"time\n0\n1\n")


def test_a_file_of_inputs_is_put_where_it_can_be_read_or_is_asked_for(tmp_path: Path) -> None:
    store = Store()
    one = recorded(store, Workload(rate_rps=1, asking=Asking(inputs="/gone/q.csv")), data=b"x\n1\n")
    found = workload_of(one, store, tmp_path)
    assert Path(found.asking.inputs).read_bytes() == b"x\n1\n"
    without = msgspec.structs.replace(one, artifacts={"blocks": one.artifacts["blocks"]})
    with pytest.raises(UserError, match=r"not kept here; give it with --data"):
        workload_of(without, store, tmp_path)


def test_given_data_must_be_the_recorded_data(tmp_path: Path) -> None:
    store = Store()
    one = recorded(store, Workload(rate_rps=1, asking=Asking(inputs="q.csv")))
    one = msgspec.structs.replace(one, dataset={"digest": hashlib.sha256(b"right").hexdigest()})
    for name in ("right", "wrong"):
        (tmp_path / name).write_bytes(name.encode())
    assert Path(workload_of(one, store, tmp_path, tmp_path / "right").asking.inputs).read_bytes() == b"right"
    with pytest.raises(UserError, match=r"--data .*wrong is not the data of the run, whose SHA-256 is"):
        workload_of(one, store, tmp_path, tmp_path / "wrong")
    with pytest.raises(UserError, match=r"--data .*none cannot be read: No such file"):
        workload_of(one, store, tmp_path, tmp_path / "none")


def test_a_workload_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the workload of run r1 cannot be read"):
        workload_of(run(workload={"rate_rps": -1}), Store(), tmp_path)


def test_a_server_that_ran_already_is_asked_again(tmp_path: Path) -> None:
    one = run(configuration_hash="", configuration={"target": "http://127.0.0.1:1"})
    assert subject_of_run(one, Store(), tmp_path, here=False).address == "127.0.0.1:1"


def test_a_model_that_nobody_kept_is_named(tmp_path: Path) -> None:
    one = run(configuration=configuration() | {"source": str(tmp_path / "gone.yaml")})
    with pytest.raises(UserError, match=r"'m.onnx'"):
        subject_of_run(one, Store(), tmp_path, here=True)
