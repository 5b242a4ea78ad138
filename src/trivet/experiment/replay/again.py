"""The recorded load once more: from the record of runs to runs of their own, in the same workload, seeds and order."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from trivet.catalog.catalog import Catalog
from trivet.catalog.records import Run
from trivet.errors import UserError
from trivet.experiment.data_files import content_of, put_back
from trivet.experiment.measured import BlockRecord
from trivet.experiment.replay.evidence import RecordStore
from trivet.experiment.replay.service_folder import restore
from trivet.experiment.run import Settings, run
from trivet.experiment.target import Subject, subject_of
from trivet.experiment.workload import Workload

Say = Callable[[str], None]


def workload_of(recorded: Run, store: RecordStore, folder: Path, data: Path | None = None) -> Workload:
    """The workload with as many blocks and starts as were measured, as it may have ended early; its files from the store.

    Args: folder: where a trace and a file of inputs are put.  data: stands for a file of inputs that is not kept.
    Raises: UserError: a field of it cannot be read, or a file is missing.
    """
    try:
        found = msgspec.convert(recorded.workload, Workload)
    except msgspec.ValidationError as error:
        raise UserError(f"the workload of run {recorded.id} cannot be read: {error}") from None
    num, num_starts = found.num_blocks, found.num_starts or 1  # before starts were counted, there was one
    blocks = blocks_of(recorded, store)
    if blocks and found.scenario == "steady":  # others make their blocks themselves
        num, num_starts = len(blocks), len({block.start for block in blocks})
    asking, arrivals = found.asking, found.arrivals
    if asking.inputs:
        path = folder / f"inputs{Path(asking.inputs).suffix}"
        put_back(path, _kept_data(recorded, store, data), recorded.dataset.get("form", ""))
        asking = msgspec.structs.replace(asking, inputs=str(path))
    trace = recorded.artifacts.get("trace")
    if trace is not None:
        kind, _, detail = arrivals.partition(":")
        file, how = _arrival_words(detail)
        path = folder / f"arrivals{Path(file).suffix}"
        put_back(path, store.get(trace), "")
        arrivals = f"{kind}:{path}{how}"
    return msgspec.structs.replace(
        found,
        num_blocks=num,
        duration_ns=found.block_ns * num,
        until_decided=False,
        num_starts=num_starts,
        turn_ns=found.turn_ns or 0,
        asking=asking,
        arrivals=arrivals,
    )


def _arrival_words(detail: str) -> tuple[str, str]:
    """FILE and :SCALING:FACTOR, where that follows; a file may hold colons itself."""
    file, _, factor = detail.rpartition(":")
    file, _, how = file.rpartition(":")
    if file and how in ("users", "amplitude", "time"):
        return file, f":{how}:{factor}"
    return detail, ""


def blocks_of(recorded: Run, store: RecordStore) -> list[BlockRecord]:
    """The records of the blocks that were measured."""
    if "blocks" not in recorded.artifacts:
        return []
    return msgspec.json.decode(store.get(recorded.artifacts["blocks"]), type=list[BlockRecord])


def subject_of_run(
    recorded: Run, store: RecordStore, folder: Path, *, here: bool, data: Path | None = None
) -> Subject:
    """What a run measured, ready to be measured again.

    Args: folder: where its service is put together, if it has to be.  here: its service file is taken where the run
    found it, if there is one; else what was kept.  data: stands for data that is not kept.
    Raises: UserError: it cannot be put together; names what is missing.
    """
    if not recorded.configuration_hash:
        return subject_of(str(recorded.configuration["target"]))
    source = str(recorded.configuration.get("source", ""))
    if here and source and Path(source).is_file():
        return subject_of(source)
    return subject_of(str(restore(recorded, store, folder, _service_data(recorded, store, data))))


def measure_again(
    subjects: Sequence[Subject],
    recorded: Sequence[Run],
    workload: Workload,
    catalog: Catalog,
    *,
    command: Sequence[str] = (),
    say: Say = lambda text: None,
    **settings: Any,
) -> list[Run]:
    """One more measurement of each, interleaved where they are several; as they are in the catalog afterwards.

    Raises: UserError: nothing was begun.
    """
    tags = {"replay_of": ",".join(run.id for run in recorded)}
    chosen = Settings(command=tuple(command), tags=tags, kind="replay", measure_floor=False, **settings)
    finished = run(subjects, workload, catalog=catalog, settings=chosen, say=say)
    return [catalog.run(side.run_id) for side in finished]


def _service_data(recorded: Run, store: RecordStore, given: Path | None) -> bytes | None:
    """The bytes of the service's data; None where the service has none, or its inputs came from another file.

    Raises: UserError: it is needed and is not there, or is not the data that was recorded.
    """
    declared = recorded.configuration["service"].get("data")
    if not declared:
        return None
    if not (recorded.workload.get("asking") or {}).get("inputs"):
        return _kept_data(recorded, store, given)
    beside = Path(recorded.configuration.get("source", "")).parent / declared["path"]
    return content_of(beside) if beside.exists() else None


def _kept_data(recorded: Run, store: RecordStore, given: Path | None) -> bytes:
    """What inputs come from: as given, else as kept."""
    digest = recorded.dataset.get("digest", "")
    kept = recorded.artifacts.get("data", f"sha256:{digest}")
    if given is not None:
        try:
            content = content_of(given)
        except OSError as error:
            raise UserError(f"--data {given} cannot be read: {error.strerror}") from None
        if digest and hashlib.sha256(content).hexdigest() != digest:
            raise UserError(f"--data {given} is not the data of the run, whose SHA-256 is {digest}")
        return content
    if store.has(kept):
        return store.get(kept)
    raise UserError(
        f"the data of run {recorded.id} is not kept here; give it with --data"
        + (f" (its SHA-256 is {digest})" if digest else "")
    )
