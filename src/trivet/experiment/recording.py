"""One run in the catalog, from before any load is offered to its end: whatever happens leaves a state and a reason."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from trivet.catalog.catalog import Catalog
from trivet.catalog.environment import Environment
from trivet.catalog.records import Figure, RunDraft, RunKind, RunState
from trivet.errors import UserError
from trivet.experiment.data_files import content_of, describe, size_of
from trivet.experiment.measured import Measured, pack
from trivet.experiment.offered import file_of
from trivet.experiment.passes import Judged
from trivet.experiment.side import Side
from trivet.experiment.workload import Workload
from trivet.spec.configuration import Configuration
from trivet.spec.yaml_text import service_yaml

DATA_LIMIT_BYTES = 256 * 2**20  # larger data is named by its digest and not copied


@dataclass(slots=True)
class Recording:
    """What is known of one side's run so far. `catalog` is None where nothing is to be kept."""

    side: Side
    catalog: Catalog | None
    run_id: str = ""
    artifacts: dict[str, str] = field(default_factory=dict)
    blocks: list[Measured] = field(default_factory=list)
    judged: Judged | None = None
    answer_bytes: float = 0.0  # of an answer's body, on average
    start: int = 0  # which one of its server its next block is of

    def begin(self, draft: RunDraft) -> None:
        """On disk as running, before any load is offered."""
        if self.catalog is not None:
            self.run_id = self.catalog.begin(draft)

    def keep(self, name: str, content: bytes) -> None:
        if self.catalog is not None:
            self.artifacts[name] = self.catalog.put(content)

    def keep_rows(self) -> None:
        """The rows of all blocks so far, and the records of the blocks."""
        if self.catalog is None or not self.blocks:
            return
        rows, records = pack(self.blocks)
        self.artifacts["rows"] = self.catalog.put_rows(rows)
        self.artifacts["blocks"] = self.catalog.put(records)

    def keep_configuration(self) -> None:
        """Everything that the configuration is made of, so that a replay needs no file of this machine."""
        configuration = self.side.configuration
        if self.catalog is None or configuration is None:
            return
        self.keep("configuration", service_yaml(configuration.service).encode())
        for file in configuration.files:
            self.artifacts[f"model:{relative(file.path, configuration)}"] = self.catalog.put(Path(file.path))

    def keep_sources(self, workload: Workload) -> None:
        """What inputs and arrivals come from, a file or a folder of data, where it is not too large to copy."""
        if self.catalog is None:
            return
        for name, path in (("data", data_path(self.side, workload)), ("trace", file_of(workload))):
            if path is None or not path.exists() or size_of(path) > DATA_LIMIT_BYTES:
                continue
            self.artifacts[name] = self.catalog.put(content_of(path) if path.is_dir() else path)

    def finish(
        self,
        state: RunState,
        figures: Mapping[str, Figure],
        reason: str = "",
        environment: Environment | None = None,
    ) -> None:
        """The last word. Rows are kept first: a run that is complete has all of its artifacts.

        Raises: UserError: they could not be kept; the run is failed then, and says why.
        """
        if self.catalog is None:
            return
        try:
            self.keep_rows()
        except UserError as error:
            self.catalog.finish(
                self.run_id, "failed", figures=figures, reason=f"its rows were not kept: {error}"
            )
            raise
        self.catalog.finish(
            self.run_id,
            state,
            figures=figures,
            reason=reason,
            artifacts=self.artifacts,
            environment=environment,
        )


def draft_of(
    side: Side,
    workload: Workload,
    environment: Environment,
    *,
    command: Sequence[str],
    group: str,
    tags: Mapping[str, str],
    kind: RunKind = "bench",
) -> RunDraft:
    """What is known of a run before it begins."""
    configuration = side.configuration
    return RunDraft(
        kind=kind,
        service=side.name,
        configuration_hash=configuration.hash if configuration is not None else "",
        configuration=_configuration(side),
        workload=msgspec.to_builtins(workload),
        seeds={"workload": workload.seed},
        dataset=_dataset(side, workload),
        environment=environment,
        command=list(command),
        group=group,
        tags=dict(tags),
    )


def relative(path: str, configuration: Configuration) -> str:
    """A file's path from the folder of its service."""
    return os.path.relpath(path, configuration.root)


def _configuration(side: Side) -> dict[str, Any]:
    """What ran, for people and for a comparison; its bytes are artifacts."""
    configuration = side.configuration
    if configuration is None:
        return {"target": side.label}
    return {
        "service": msgspec.to_builtins(configuration.service),
        "files": [
            {"name": file.name, "path": relative(file.path, configuration), "digest": file.digest}
            for file in configuration.files
        ],
        "resolution": msgspec.to_builtins(dict(side.started.resolutions)),
        "source": side.label,
    }


def _dataset(side: Side, workload: Workload) -> dict[str, Any]:
    """Where the inputs came from, how many there were, and what tells whether they were the same."""
    asked = hashlib.sha256()
    for request in side.requests:
        asked.update(request.path.encode() + b"\0" + request.body)
    found: dict[str, Any] = {"requests": len(side.requests), "requests_digest": asked.hexdigest()}
    service = side.configuration.service if side.configuration is not None else None
    if workload.asking.inputs:
        found["source"] = workload.asking.inputs
    elif service is not None and service.data is not None:
        found |= {"source": service.data.path, "split": workload.split or ""}
    else:
        found["source"] = "random"
    path = data_path(side, workload)
    return found | describe(path) if path is not None and path.exists() else found


def data_path(side: Side, workload: Workload) -> Path | None:
    """The inputs that were named, else the service's data; None where inputs are random."""
    if workload.asking.inputs:
        return Path(workload.asking.inputs)
    configuration = side.configuration
    if configuration is None or configuration.service.data is None:
        return None
    return Path(configuration.root, configuration.service.data.path)
