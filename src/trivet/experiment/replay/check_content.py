"""Check (a), and what the runs were made of: files, levers, data, libraries, threads. Digests and words, no measuring."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trivet.catalog.environment import Difference, Environment, differences
from trivet.catalog.records import Run
from trivet.experiment.replay.checks import Change, Check

SHOWN_DIGEST = 12
_ABSENT = "absent"
_DIGEST = re.compile("[0-9a-f]{64}")

# Fields of a service that its hash does not cover: they change no answer and no lever. See spec/configuration.py.
_UNHASHED = ("name", "slo.latency", "slo.percentile", "slo.accuracy", "slo.throughput", "data")
# The environment's fields that belong to what was measured, as a lever does: where one is different it is another
# thing that was measured, whatever the figures say. The other causes (kernel, memory, governor ...) surround it.
_MEASURED = ("packages.", "contents.", "python", "threads.", "trivet")
_WORDS = {"packages.": "library ", "contents.": "files of library ", "threads.": "threads "}
_NOT_MEASURED = ("trivet_code",)  # its version is in `trivet`; a commit may be one of documentation
_HARDWARE = ("processor.model", "processor.flags", "architecture", "gpus")


def check_content(then: Run, now: Run) -> Check:
    """(a) The bytes and levers of two configurations."""
    if not then.configuration_hash:
        return Check(
            "content", "configuration", "not compared", "a server that ran already: nobody knows what it runs"
        )
    if then.configuration_hash == now.configuration_hash:
        detail = f"every file and lever ({then.configuration_hash[:SHOWN_DIGEST]})"
        return Check("content", "configuration", "same", detail)
    first, second = then.configuration, now.configuration
    found = (*_files(first["files"], second["files"]), *_fields(first["service"], second["service"]))
    hashes = (run.configuration_hash[:SHOWN_DIGEST] for run in (then, now))
    what = found or (Change("configuration", *hashes),)
    return Check("content", "configuration", "differs", "; ".join(map(str, what)), what)


def check_data(then: Run, now: Run) -> Check:
    """(a) The data that inputs and labels come from, by its digest, and the requests that were made of it."""
    keys = ("digest", "split", "requests_digest")
    changed = tuple(
        Change(f"data {key}", _word(then.dataset.get(key)), _word(now.dataset.get(key)))
        for key in keys
        if then.dataset.get(key) != now.dataset.get(key)
    )
    traces = then.artifacts.get("trace"), now.artifacts.get("trace")
    if traces[0] != traces[1]:
        changed += (Change("trace", _word(traces[0]), _word(traces[1])),)
    if changed:
        return Check("content", "data", "differs", "; ".join(map(str, changed)), changed)
    return Check(
        "content", "data", "same", f"{then.dataset.get('requests', 'the same')} requests, byte by byte"
    )


def check_environment(then: Environment, now: Environment, packages: Sequence[str] | None = None) -> Check:
    """Libraries, Python and thread settings. What surrounds them is told, and is no difference by itself.

    Args: packages: those that can change what is measured; None: all that were installed.
    """
    causes = [
        difference
        for difference in differences(then, now)
        if not difference.is_noise and not _is_told_elsewhere(difference.field)
    ]
    changed = tuple(_change(difference) for difference in causes if _is_measured(difference.field, packages))
    around = [difference.field for difference in causes if not _is_part(difference.field)]
    beside = f"; beside it: {', '.join(around)}" if around else ""
    if changed:
        return Check("environment", "environment", "differs", "; ".join(map(str, changed)) + beside, changed)
    return Check("environment", "environment", "same", f"libraries, Python and threads{beside}")


def is_same_hardware(then: Environment, now: Environment) -> bool:
    """Whether times may be compared at all: processor, its features, the cores that the server had, accelerators."""
    fields = {difference.field for difference in differences(then, now)}
    same_cores = len(_server_cores(then)) == len(_server_cores(now))
    return same_cores and not any(
        field == name or field.startswith(f"{name}.") for field in fields for name in _HARDWARE
    )


def is_same_arithmetic(then: Environment, now: Environment, packages: Sequence[str] | None = None) -> bool:
    """Whether answers must be the same bit by bit: processor, libraries and threads."""
    return is_same_hardware(then, now) and check_environment(then, now, packages).status == "same"


def surroundings(then: Environment, now: Environment) -> tuple[Change, ...]:
    """Differences that may be the cause where a measured figure differs, and are none by themselves."""
    return tuple(
        _change(difference)
        for difference in differences(then, now)
        if not difference.is_noise and not _is_part(difference.field)
    )


def _server_cores(environment: Environment) -> tuple[int, ...]:
    return environment.pinning.get("server", environment.cores)


def _is_part(field: str) -> bool:
    return field.startswith(_MEASURED) and not field.startswith(_NOT_MEASURED)


def _is_told_elsewhere(field: str) -> bool:
    return field in (
        "packages.trivet",
        "contents.trivet",
    )  # installed or not, its version is a field of its own


def _is_measured(field: str, packages: Sequence[str] | None) -> bool:
    kind, _, name = field.partition(".")
    if packages is not None and kind in ("packages", "contents"):
        return name in packages
    return _is_part(field)


def _change(difference: Difference) -> Change:
    field = difference.field
    for prefix, word in _WORDS.items():
        if field.startswith(prefix):
            field = word + field.removeprefix(prefix)
    return Change(field, _word(difference.a), _word(difference.b))


def _files(then: Sequence[Mapping[str, str]], now: Sequence[Mapping[str, str]]) -> Iterator[Change]:
    """Files by the name they were declared under, several of one name in their order."""
    sides = [_by_name(files) for files in (then, now)]
    for name in dict.fromkeys((*sides[0], *sides[1])):
        first, second = (side.get(name, _ABSENT) for side in sides)
        if first != second:
            yield Change(f"file {name}", first, second)


def _by_name(files: Sequence[Mapping[str, str]]) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for file in files:
        found.setdefault(file["name"], []).append(file["digest"][:SHOWN_DIGEST])
    return {name: " ".join(digests) for name, digests in found.items()}


def _fields(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Change]:
    """Settings of the service that are not what they were, by their place in the service file."""
    sides = [dict(_leaves(side, "")) for side in (then, now)]
    for place in dict.fromkeys((*sides[0], *sides[1])):
        first, second = (side.get(place) for side in sides)
        covered = not any(place == name or place.startswith(f"{name}.") for name in _UNHASHED)
        if first != second and covered and ".lengths" not in place:
            lever = place.rpartition(".levers.")[2]
            yield Change(f"lever {lever}" if lever != place else place, _word(first), _word(second))


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _leaves(item, f"{path}.{index}")
    else:
        yield path, value


def _word(value: Any) -> str:
    if value is None:
        return _ABSENT
    text = " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    text = text.removeprefix("sha256:")
    return text[:SHOWN_DIGEST] if _DIGEST.fullmatch(text) else text
