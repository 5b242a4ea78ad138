"""A configuration: one value for every lever of one service, identified by the hash of its content.

Covered: the bytes of every model (with its external data), tokenizer and other file, and of every named
Python file; every lever as declared, static defaults filled in, `auto` as "auto"; deadline and priorities;
how answers are decoded and measured. Not covered: names and paths, key order, comments, number spelling,
goals (latency, accuracy, throughput), where the data lies, and anything about the host. See decisions/0003.
"""

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from trivet.errors import SpecError
from trivet.spec.canonical import canonical_json
from trivet.spec.degrade import Degrade
from trivet.spec.failures import failures_content
from trivet.spec.fields import FieldError, FieldPath
from trivet.spec.onnx_file import external_files
from trivet.spec.remote import remote_content
from trivet.spec.route import route_content
from trivet.spec.service import Model, Service, Stage
from trivet.spec.sources import attribute_of, is_target, resolve_file, resolve_target

_WRITTEN = (("cascade", "certificate"), ("route", "router"))  # by a command
FORMAT = 1  # of the hashed content; a change gives every configuration a new hash
SHORT_LENGTH = 12

Digests = Mapping[str, list[str]]  # name as declared -> digests of its files


class HashedFile(msgspec.Struct, frozen=True):
    """A file whose bytes the hash covers. `name`: the declaration it came from; `digest`: SHA-256 in hex."""

    name: str
    path: str
    digest: str


class Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """What a server runs. `service` and the folder `root` say how to load it; `hash` says which one it is."""

    service: Service
    root: str
    files: tuple[HashedFile, ...]
    hash: str
    source: str = ""  # the service file, for messages; empty for a bare model

    @property
    def short_hash(self) -> str:
        """The first 12 characters: what people read and type."""
        return self.hash[:SHORT_LENGTH]

    def model_digest(self, model: str) -> str:
        """One digest for all that the named model is made of (bytes and levers): the key of its profile."""
        return _sha256(_model_content(self.service.models[model], _digests(self.files)))

    def stages_digest(self, num_stages: int) -> str:
        """One digest for all that the first stages of the pipeline are made of."""
        digests = _digests(self.files)
        order = _model_order(self.service)
        stages = self.service.pipeline[:num_stages]
        return _sha256(
            [
                [
                    _stage_content(stage, order, digests),
                    stage.model and _model_content(self.service.models[stage.model], digests),
                ]
                for stage in stages
            ]
        )

    def stage_digest(self, place: int) -> str:
        """One digest for all that the stage at `place` of the pipeline is made of, whatever stands beside it."""
        digests = _digests(self.files)
        stage = self.service.pipeline[place]
        content = _stage_content(stage, [stage.model or ""], digests)
        return _sha256([content, stage.model and _model_content(self.service.models[stage.model], digests)])

    def model_path(self, model: str) -> Path:
        """The file of a native model. Raises: KeyError: no such model.  SpecError: it is Python code."""
        declared = self.service.models[model].file
        if declared is None:
            raise SpecError(f"model {model!r} is Python code: it has no model file")
        return Path(self.root, declared)


class Resolution(msgspec.Struct, frozen=True, kw_only=True):
    """What `auto` became for one model or step on one host: recorded beside the hash, never part of it.

    one_ns: profiled time of one row at the largest profiled length; None: nothing was profiled.
    profiled_on: in words: rows of data, or random inputs, and of which lengths.
    deadline_ns: of the service that the model belongs to; None until all its models are profiled.
    """

    execution: str
    instances: int
    threads: int
    max_batch_size: int
    one_ns: int | None = None
    profiled_on: str | None = None
    deadline_ns: int | None = None


def configuration(service: Service, root: Path, source: str = "") -> Configuration:
    """The configuration of a validated service whose files are named relative to the folder `root`.

    Args: source: the service file, for messages.
    Raises: FieldError: a file that the service names does not exist or cannot be read.
    """
    files = tuple(_hashed_files(service, root))
    content = hashed_content(service, _digests(files))
    return Configuration(service=service, root=str(root), files=files, hash=_sha256(content), source=source)


def with_service(base: Configuration, service: Service) -> Configuration:
    """The configuration of a service that names the same files as `base`, with other levers: nothing is read again."""
    content = hashed_content(service, _digests(base.files))
    return msgspec.structs.replace(base, service=service, hash=_sha256(content))


def hashed_content(service: Service, digests: Digests) -> dict[str, Any]:
    """What the hash is taken of. Models stand in the order of their first use; their names do not matter."""
    order = _model_order(service)
    decode = service.decode
    content = {
        "format": FORMAT,
        "inputs": _plain(service.inputs),
        "outputs": _plain(service.outputs),
        "models": [_model_content(service.models[name], digests) for name in order],
        "pipeline": [_stage_content(stage, order, digests) for stage in service.pipeline],
        "deadline": service.slo.deadline_ns,
        "priorities": _plain(service.priorities),
        "decode": decode
        and _plain(decode) | {"by": _code(decode.by, digests), "labels": _labels(decode.labels, digests)},
        "metric": service.metric and _code(service.metric, digests),
    }
    if service.cache is not None:  # a service without keeps the hash that it had before there were any
        content["cache"] = _plain(service.cache)
    if service.precomputed is not None:
        policy: dict[str, Any] = _plain(service.precomputed)
        del policy["table"]  # a path; what is in the table belongs to this hash, not the other way round
        content["precomputed"] = policy
    if service.openai is not None:  # its names are names
        content["openai"] = service.openai.kind
    if service.degrade is not None:
        content["degrade"] = _degrade_content(service.degrade, order)
    if service.certified is not None:
        cascade = service.certified[1]
        content["cascade"] = _plain(cascade) | {"certificate": digests[cascade.certificate]}
    if service.semantic_cache is not None:
        content["semantic_cache"] = _semantic_content(service, digests)
    if service.route is not None:
        content["route"] = route_content(service.route) | {"router": digests[service.route.router]}
    return content


def _semantic_content(service: Service, digests: Digests) -> dict[str, Any]:
    """The encoder as the model or the code that it is."""
    declared = service.semantic_cache
    assert declared is not None  # asked for by `hashed_content`
    model = declared.encoder_model
    encoder = (
        _code(declared.encoder, digests) if model is None else _model_content(service.models[model], digests)
    )
    content: dict[str, Any] = _plain(declared)
    return content | {"encoder": encoder}


def _model_order(service: Service) -> list[str]:
    """Those of the pipeline, then those that stand in for them."""
    used = [stage.model for stage in service.pipeline if stage.model is not None]
    rungs = service.degrade.names if service.degrade else ()
    return list(dict.fromkeys([*used, *service.stand_ins, *rungs]))


def _model_content(model: Model, digests: Digests) -> dict[str, Any]:
    content: dict[str, Any] = _plain(model)
    del content["lengths"]
    if model.remote is None:
        del content["remote"]  # a service of local models keeps the hash that it had before there were others
    else:
        content["remote"] = remote_content(model.remote)
    return content | {
        "file": model.file and digests[model.file],
        "python": model.python and _code(model.python, digests),
        "files": [digests[name] for name in model.files],
    }


def _stage_content(stage: Stage, order: list[str], digests: Digests) -> dict[str, Any]:
    content: dict[str, Any] = _plain(stage)
    if stage.exit is None:
        del content["exit"]  # a pipeline without exits keeps the hash that it had before there were any
    elif stage.exit.max_loss is None:
        del content["exit"]["max_loss"]  # the same
    if stage.failures is None:
        del content["failures"]  # the same
    else:
        content["failures"] = failures_content(stage.failures, order)
    if stage.features is None:
        del content["features"]
    else:  # a path, and what only says where the store is
        content["features"] = {
            key: value for key, value in content["features"].items() if key not in ("table", "url_env")
        }
    return content | {
        "preprocess": stage.preprocess and _code(stage.preprocess, digests),
        "model": order.index(stage.model) if stage.model else None,
        "postprocess": stage.postprocess and _code(stage.postprocess, digests),
        "files": [digests[name] for name in stage.files],
    }


def _degrade_content(degrade: Degrade, order: list[str]) -> dict[str, Any]:
    content: dict[str, Any] = _plain(degrade)
    to = [_plain(rung) | {"model": order.index(rung.model or "")} for rung in degrade.to]
    return content | {"to": to}


def _code(target: str, digests: Digests) -> Any:
    """A built-in word as it is; Python code as the bytes of its file and the attribute."""
    return {"source": digests[target], "attribute": attribute_of(target)} if is_target(target) else target


def _labels(labels: str | tuple[str, ...] | None, digests: Digests) -> Any:
    return {"file": digests[labels]} if isinstance(labels, str) else labels


def _plain(value: Any) -> Any:
    return msgspec.to_builtins(value)


def _sha256(content: Any) -> str:
    return hashlib.sha256(canonical_json(content)).hexdigest()


def _digests(files: tuple[HashedFile, ...]) -> Digests:
    digests: dict[str, list[str]] = defaultdict(list)
    for file in files:
        digests[file.name].append(file.digest)
    return digests


def _hashed_files(service: Service, root: Path) -> list[HashedFile]:
    """Every named file once, with its path and digest."""
    found: dict[str, list[HashedFile]] = {}
    for field, name in _named_files(service):
        if name in found:
            continue
        try:
            found[name] = [HashedFile(name, str(path), _digest(path)) for path in files_of(name, root)]
        except SpecError as error:
            todo = "; `trivet certify` writes it" if field in _WRITTEN else ""
            raise FieldError(field, f"{error}{todo}") from None
        except OSError as error:
            raise FieldError(field, f"{name!r} cannot be read: {error.strerror}") from None
    return [file for files in found.values() for file in files]


def _named_files(service: Service) -> list[tuple[FieldPath, str]]:
    """Every file and Python target that a service names, with the place that names it."""
    named: list[tuple[FieldPath, str]] = []
    for key, model in service.models.items():
        if model.remote is None:
            named.append((("models", key, "file" if model.file else "python"), model.source))
        named += [(("models", key, "files", index), name) for index, name in enumerate(model.files)]
    for index, stage in enumerate(service.pipeline):
        if stage.model is None and stage.features is None:
            named.append((("pipeline", index, stage.kind), stage.target))
        named += [(("pipeline", index, "files", place), name) for place, name in enumerate(stage.files)]
    if service.certified is not None:
        named.append((("cascade", "certificate"), service.certified[1].certificate))
    if service.route is not None:
        named.append((("route", "router"), service.route.router))
    if service.decode is not None:
        if is_target(service.decode.by):
            named.append((("decode", "by"), service.decode.by))
        if isinstance(service.decode.labels, str):
            named.append((("decode", "labels"), service.decode.labels))
    if service.metric is not None and is_target(service.metric):
        named.append((("metric",), service.metric))
    if service.semantic_cache is not None and is_target(service.semantic_cache.encoder):
        named.append((("semantic_cache", "encoder"), service.semantic_cache.encoder))
    return named


def files_of(name: str, root: Path) -> list[Path]:
    """The files behind one declared name: a Python target's file, or a file with the data that belongs to it.

    Raises: SpecError: one of them does not exist.
    """
    if is_target(name):
        return [resolve_target(name, root)[0]]
    path = resolve_file(name, root)
    if path.suffix == ".onnx":
        return [path, *(resolve_file(location, path.parent) for location in external_files(path))]
    if path.suffix == ".xml" and path.with_suffix(".bin").is_file():  # OpenVINO keeps its weights beside it
        return [path, path.with_suffix(".bin")]
    return [path]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
