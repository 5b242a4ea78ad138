"""What a V2 server says about a model: its inputs and outputs, from the model's metadata.

Servers differ: bodies of health are JSON or empty, versions are missing, null or numbers, an unknown model is 404 or
400, and the models are listed under the repository index (Triton, MLServer, trivet) or under /v2/models (KServe).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import msgspec

from trivet.errors import SpecError, UserError
from trivet.load.connection import TargetError
from trivet.load.dialects._asking import Reply, ask
from trivet.spec.fields import nearest
from trivet.spec.signature import VARIABLE, Signature, TensorSpec
from trivet.wire.tensor import shown
from trivet.wire.v2_client import error_text

_BINARY = "binary_tensor_data"
_MAX_LISTED = 20


@dataclass(frozen=True, slots=True)
class Discovered:
    """A model as its server describes it. `speaks_binary`: the server says so; some that do say nothing.

    The signature has a batch axis where axis 0 of every input and output is free.
    """

    signature: Signature
    model: str
    version: str
    platform: str
    server: str
    speaks_binary: bool


class UnknownModelError(UserError):
    """The server has no such model, or no such version of it; the message names those that it has."""


def discover(
    target: str,
    model: str | None = None,
    version: str = "",
    *,
    prefix: str = "",
    headers: Mapping[str, str] | None = None,
    timeout_s: float = 5.0,
) -> Discovered:
    """Ask the server at `target` (host:port or unix:PATH) for a model.

    Args: model: None: the only one that the server lists.
    Raises: TargetError: nothing answers, nothing that speaks V2, or the model is not ready.  UnknownModelError.
    SpecError: the metadata tells no inputs, or tensors that make no sense.
    """
    server = _Server(target, prefix.rstrip("/"), dict(headers or {}), timeout_s)
    name = server.only_model() if model is None else model
    metadata = server.metadata(name, version)
    server.check_ready(name, version)
    about = server.ask("/v2").json()
    about = about if isinstance(about, dict) else {}
    extensions = about.get("extensions")
    return Discovered(
        signature=_signature(metadata, name),
        model=name,
        version=version,
        platform=str(metadata.get("platform") or ""),
        server=" ".join(str(about[key]) for key in ("name", "version") if about.get(key)),
        speaks_binary=isinstance(extensions, list) and _BINARY in extensions,
    )


@dataclass(frozen=True, slots=True)
class _Server:
    target: str
    prefix: str
    headers: Mapping[str, str]
    timeout_s: float

    def ask(self, path: str, method: str = "GET", body: bytes | None = None) -> Reply:
        headers = self.headers if body is None else {**self.headers, "Content-Type": "application/json"}
        return ask(
            self.target,
            self.prefix + path,
            method=method,
            body=body,
            headers=headers,
            timeout_s=self.timeout_s,
        )

    def metadata(self, model: str, version: str) -> dict[str, Any]:
        reply = self.ask(_path(model, version))
        if reply.status == 200:
            found = reply.json()
            if isinstance(found, dict) and "name" in found:
                return found
            what = shown(found) if found is not None else error_text(reply.body)
            raise TargetError(f"{self.target}: the metadata of model {model!r} is {what}; is it a V2 server?")
        if reply.status in (400, 404):
            raise self._unknown(model, version, reply)
        raise TargetError(
            f"{self.target}: status {reply.status} for model {model!r}: {error_text(reply.body)}"
        )

    def check_ready(self, model: str, version: str) -> None:
        """Health has a body (KServe, trivet) or none (Triton); a server without the path (404) is taken at its word."""
        reply = self.ask(f"{_path(model, version)}/ready")
        said = reply.json()
        if reply.status == 200 and not (isinstance(said, dict) and said.get("ready") is False):
            return
        if reply.status != 404:
            why = f"status {reply.status}" + (f": {error_text(reply.body)}" if reply.body else "")
            raise TargetError(f"{self.target}: model {model!r} is not ready ({why}); wait until it is loaded")

    def _unknown(self, model: str, version: str, reply: Reply) -> UserError:
        which = f"model {model!r}" + (f" of version {version!r}" if version else "")
        models = self.models()
        if model in models:
            return UnknownModelError(f"{self.target} has no {which}: {error_text(reply.body)}")
        if models:
            return UnknownModelError(f"{self.target} has no {which}{nearest(model, models[:_MAX_LISTED])}")
        if self.ask("/v2/health/live").status != 200:
            return TargetError(f"{self.target} does not speak V2: no /v2/health/live, no {which}")
        return UnknownModelError(
            f"{self.target} has no {which} ({error_text(reply.body)}), and does not list those that it has"
        )

    def models(self) -> list[str]:
        """The models that the server lists; none where it lists none."""
        index = self.ask("/v2/repository/index", "POST", b"{}")
        if index.status == 200 and isinstance(found := index.json(), list):
            entries = [one.get("name") for one in found if isinstance(one, dict)]
            return list(dict.fromkeys(name for name in entries if isinstance(name, str)))
        listed = self.ask("/v2/models").json()
        names = listed.get("models") if isinstance(listed, dict) else None
        return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []

    def only_model(self) -> str:
        models = self.models()
        if len(models) == 1:
            return models[0]
        if not models:
            raise UnknownModelError(f"{self.target} does not list its models: name one")
        raise UnknownModelError(
            f"{self.target} has {len(models)} models; name one: {', '.join(models[:_MAX_LISTED])}"
        )


def _path(model: str, version: str) -> str:
    path = f"/v2/models/{quote(model, safe='')}"
    return f"{path}/versions/{quote(version, safe='')}" if version else path


def _signature(metadata: Mapping[str, Any], model: str) -> Signature:
    where = f"the metadata of model {model!r}"
    tensors: dict[str, tuple[TensorSpec, ...]] = {}
    for kind in ("inputs", "outputs"):
        try:
            tensors[kind] = msgspec.convert(metadata.get(kind) or [], tuple[TensorSpec, ...])
        except (msgspec.ValidationError, SpecError) as error:
            raise SpecError(f"{where}: {kind} cannot be read: {error}") from None
    if not tensors["inputs"]:
        raise SpecError(f"{where} tells no inputs (the server was not given any): declare them by hand")
    specs = (*tensors["inputs"], *tensors["outputs"])
    batch_axis = bool(tensors["outputs"]) and all(spec.shape[:1] == (VARIABLE,) for spec in specs)
    return Signature(tensors["inputs"], tensors["outputs"], batch_axis)
