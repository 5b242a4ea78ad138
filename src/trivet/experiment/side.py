"""One of the sides of a measurement: who answers, in which language, and what it is asked."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from numpy.typing import NDArray

from trivet.errors import SpecError, UserError
from trivet.experiment.asking import Answer
from trivet.experiment.inputs import input_rows_of
from trivet.experiment.placement import Placement
from trivet.experiment.target import Started, Subject, started
from trivet.experiment.workload import Asking, Workload
from trivet.load.dialects.contract import Dialect, Row
from trivet.load.dialects.discover import discover
from trivet.load.dialects.openai_chat import OpenAIChat
from trivet.load.dialects.openai_embeddings import OpenAIEmbeddings
from trivet.load.dialects.template import JsonTemplate
from trivet.load.dialects.v2 import V2Dialect
from trivet.load.inputs.perf_analyzer import has_payloads, json_payloads
from trivet.load.job import HttpRequest
from trivet.spec.configuration import Configuration
from trivet.spec.signature import Signature

TIMING_HEADER = "X-Trivet-Timing"  # our own servers say where a request's time went when they are asked
API_KEY = "OPENAI_API_KEY"  # of the environment: where OpenAI's own client looks for it, too
_V2_MODELS = "/v2/models/"


@dataclass(slots=True)
class Side:
    """`requests[i]` asks about `inputs[i]`. `signature` is None where the language has none."""

    name: str  # of the service or model
    label: str  # as the user named it: tells sides of one name apart
    started: Started
    dialect: Dialect
    signature: Signature | None
    inputs: Sequence[Row]
    requests: Sequence[HttpRequest]
    phases: bool = False

    @property
    def configuration(self) -> Configuration | None:
        return self.started.subject.configuration

    @property
    def streams(self) -> bool:
        """Its answers come token by token, and when each came is a figure."""
        return isinstance(self.dialect, OpenAIChat)

    @property
    def target(self) -> str:
        return self.started.target

    def requests_for(self, rows: Sequence[Row]) -> list[HttpRequest]:
        """Requests of these rows; our own servers are asked for the phases of each, where that is wanted."""
        requests = self.dialect.requests(rows)
        if not (self.phases and self.started.subject.is_ours):
            return requests
        return [
            msgspec.structs.replace(request, headers={**request.headers, TIMING_HEADER: "1"})
            for request in requests
        ]

    def outputs(self, answer: Answer) -> dict[str, NDArray[Any]]:
        """Raises: BadAnswerError."""
        return self.dialect.outputs(answer.status, answer.headers, answer.body)


@contextlib.contextmanager
def side(subject: Subject, workload: Workload, placement: Placement) -> Iterator[Side]:
    """Start what is to be started, find out what it takes, and make the requests.

    Raises: UserError: it does not start, is not there, or its inputs cannot be made.
    """
    with started(subject, placement, workers=workload.workers) as running:
        yield _side(running, workload)


def _side(running: Started, workload: Workload) -> Side:
    asking = workload.asking
    dialect, signature, name = _dialect(running, asking)
    payloads = _payloads(dialect, asking)
    inputs: Sequence[Row] = [{} for _ in payloads]
    if not payloads:
        inputs = input_rows_of(running.subject.configuration, signature, asking, workload.seed)
    made = Side(name, running.subject.text, running, dialect, signature, inputs, payloads, asking.phases)
    made.requests = payloads or made.requests_for(inputs)
    return made


def _payloads(dialect: Dialect, asking: Asking) -> list[HttpRequest]:
    """Whole bodies of an OpenAI-compatible endpoint, where the file of inputs holds such; else none."""
    path = Path(asking.inputs)
    if isinstance(dialect, OpenAIChat | OpenAIEmbeddings) and path.suffix == ".json" and has_payloads(path):
        return dialect.payload_requests(json_payloads(path))
    return []


def _dialect(running: Started, asking: Asking) -> tuple[Dialect, Signature | None, str]:
    """How to speak to it, what it takes where it says so, and its name."""
    subject = running.subject
    match asking.dialect:
        case "v2":
            return _v2(running, asking)
        case "json":
            if not asking.template or not asking.answer:
                raise UserError(
                    'a JSON endpoint needs --template \'{"text": "{{text}}"}\' (or a file with it) and '
                    "--answer score=$.result.score"
                )
            dialect = JsonTemplate(
                subject.path or "/", template_text(asking.template), _places(asking.answer)
            )
            return dialect, None, asking.model or subject.address
        case "openai-chat":
            chat = OpenAIChat(_model(asking), headers=_bearer(), **_endpoint(subject))
            return chat, None, asking.model
    embeddings = OpenAIEmbeddings(_model(asking), headers=_bearer(), **_endpoint(subject))
    return embeddings, None, asking.model


def _v2(running: Started, asking: Asking) -> tuple[Dialect, Signature | None, str]:
    prefix, _, model = running.subject.path.partition(_V2_MODELS)
    model = asking.model or model.partition("/")[0]
    if running.subject.configuration is not None:
        model = running.subject.configuration.service.name
    prefix = prefix.removesuffix("/v2")
    found = discover(running.target, model or None, asking.version, prefix=prefix)
    dialect = V2Dialect(found.signature, asking.binary, found.model, asking.version, prefix=prefix)
    return dialect, found.signature, found.model


def _model(asking: Asking) -> str:
    if not asking.model:
        raise UserError(f"{asking.dialect} needs the name of a model: give --name")
    return asking.model


def _endpoint(subject: Subject) -> dict[str, Any]:
    """The URL's path, unless it is only the root."""
    return {"path": subject.path} if subject.path else {}


def _bearer() -> dict[str, str]:
    """The caller's key, if there is one; it is in requests, and in no record."""
    key = os.environ.get(API_KEY)
    return {"Authorization": f"Bearer {key}"} if key else {}


def template_text(template: str) -> str:
    """The template itself, or what the file of this name holds. Raises: SpecError: it cannot be read."""
    if not template or template.lstrip().startswith(("{", "[", '"')):
        return template
    try:
        return Path(template).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(
            f"--template {template!r} is neither JSON text nor a file that can be read: {error}"
        ) from None


def _places(answer: str) -> dict[str, str]:
    """`score=$.result.score,label=$.label` by name."""
    places = {}
    for part in answer.split(","):
        name, equals, path = part.strip().partition("=")
        if not equals or not name or not path:
            raise SpecError(f"--answer {answer!r}: expected name=$.path, several of them with commas")
        places[name] = path
    return places
