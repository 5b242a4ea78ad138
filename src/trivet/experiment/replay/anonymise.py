"""What `--anonymise` takes out of a run before it leaves the house; REMOVED says it in words, in every such bundle.

Out: who and where (host, paths, command, tags, other programs, the diff of changed code, request keys, tenants), and
what was asked and answered (data, inputs, labels, answers that hold text). In: what the figures depend on.
"""

import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import msgspec

from trivet.catalog.code_version import CodeVersion
from trivet.catalog.environment import Environment
from trivet.catalog.records import Run
from trivet.spec.row import RowColumns, Words

REMOVED = (
    "host name, paths, addresses, command, tags, writer",
    "names of other programs, differences of changed code",
    "keys, tenants and answers in the rows",
)
REMOVED_DATA = (
    "data, inputs and labels, decisions on them, and answers that hold text: give the data with --data"
)
DATA_ARTIFACTS = ("data", "inputs", "predictions")
TEXT_ARTIFACTS = (
    "configuration",
)  # the service file once more, as text: what is needed of it is in the record

_PATH = re.compile(r"""(?<![\w./])(?:~|\.\.?)?/(?!/)(?:[^\s:/'",;()]+/)*([^\s:/'",;()]*)""")
_ADDRESS = re.compile(r"\b(https?://)[^/\s'\"]+")


def anonymous_run(run: Run) -> Run:
    """The record without names of people, machines and places; artifacts are not touched here."""
    host = run.environment.host
    return msgspec.structs.replace(
        run,
        configuration=_anonymous_configuration(run.configuration),
        workload=scrubbed(run.workload, host),
        dataset=scrubbed(run.dataset, host),
        environment=anonymous_environment(run.environment),
        reason=scrubbed(run.reason, host),
        figures={
            name: msgspec.structs.replace(f, verdict=scrubbed(f.verdict, host))
            for name, f in run.figures.items()
        },
        command=[],
        tags={},
        writer="",
    )


def _anonymous_configuration(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Without where it lay. Names from the service's own folder stay: they are what it is put together by."""
    found = dict(configuration)
    for key in ("source", "target"):
        if key in found:
            found[key] = scrubbed(found[key])
    data = (found.get("service") or {}).get("data")
    if data and PurePath(data["path"]).is_absolute():
        found["service"] = found["service"] | {"data": data | {"path": PurePath(data["path"]).name}}
    return found


def anonymous_environment(environment: Environment) -> Environment:
    """Without the host's name, the code's differences, and what else ran on the machine."""
    conditions = environment.conditions
    return msgspec.structs.replace(
        environment,
        host="",
        code=_commit_only(environment.code),
        trivet_code=_commit_only(environment.trivet_code),
        threads=scrubbed(environment.threads, environment.host),
        conditions=conditions and msgspec.structs.replace(conditions, others={}),
    )


def anonymous_rows(rows: RowColumns) -> RowColumns:
    """Without keys, tenants and answers; every time and outcome stays."""
    empty = {name: Words.of("", rows.num_rows) for name in ("key", "tenant")}
    blobs = {name: [b""] * rows.num_rows for name in rows.blobs}
    return RowColumns(rows.header, rows.num_rows, rows.numbers, {**rows.words, **empty}, blobs)


def scrubbed(value: Any, host: str = "") -> Any:
    """The same value with every path in a text cut to its last name, and no address or host name."""
    match value:
        case str():
            text = _PATH.sub(r"\1", _ADDRESS.sub(r"\1host", value))
            return re.sub(rf"\b{re.escape(host)}\b", "host", text) if host else text
        case Mapping():
            return {key: scrubbed(item, host) for key, item in value.items()}
        case list() | tuple():
            return type(value)(scrubbed(item, host) for item in value)
    return value


def _commit_only(code: CodeVersion) -> CodeVersion:
    return CodeVersion(commit=code.commit, dirty=code.dirty)
