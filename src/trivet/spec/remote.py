"""A model that another server runs: which protocol it speaks, and where it is.

Protocol, name and operation change answers and are part of the configuration's hash; addresses, weights and keys belong
to the host and are not.
"""

from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

import msgspec

from trivet.spec.fields import FieldError, FieldPath
from trivet.spec.signature import Signature, TensorSpec

Operation = Literal["infer", "chat", "completions", "embeddings"]

# The whole body goes to the upstream as it is, and its answer comes back as it is: nothing that it says is lost.
RAW = Signature((TensorSpec("request", "BYTES", (1,)),), (TensorSpec("response", "BYTES", (1,)),), False)


class Upstream(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One server. A lone text is its address.

    url: `http://` or `https://`, host, port, and the path before /v2 or /v1, if any.
    weight: its share of the requests, beside the weights of the others.
    """

    shorthand: ClassVar[str] = "url"

    url: Annotated[str, msgspec.Meta(min_length=1)]
    weight: Annotated[float, msgspec.Meta(gt=0)] = 1.0

    @property
    def name(self) -> str:
        """What answers, metrics and rows call it: host and port."""
        return urlsplit(self.url).netloc


class Remote(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a model's answers come from.

    protocol: v2 (Open Inference Protocol, binary tensors) or openai.
    model: its name there; with openai it replaces the `model` of each request's body.
    upstreams: servers that give the same answers.
    key_env: the environment variable that holds the key; sent as `Authorization: Bearer`, never kept or logged.
    operation: infer with v2; chat, completions or embeddings with openai.
    inputs, outputs: of the model, so that the server starts while no upstream can be asked; v2 only, where they are
        otherwise read from the first upstream that answers.
    """

    protocol: Literal["v2", "openai"]
    model: Annotated[str, msgspec.Meta(min_length=1)]
    upstreams: tuple[Upstream, ...]
    key_env: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    operation: Operation = "infer"
    inputs: tuple[TensorSpec, ...] | None = None
    outputs: tuple[TensorSpec, ...] | None = None

    @property
    def streams(self) -> bool:
        """Its answers may come in chunks: one for each event of an upstream's stream."""
        return self.operation in ("chat", "completions")


def remote_content(remote: Remote) -> dict[str, Any]:
    """What the configuration's hash covers."""
    content: dict[str, Any] = msgspec.to_builtins(remote)
    del content["upstreams"], content["key_env"]
    return content


def check_remote(remote: Remote, path: FieldPath) -> None:
    """Raises: FieldError: settings that contradict each other, or an address that is none."""
    if (remote.protocol == "v2") != (remote.operation == "infer"):
        operations = "infer" if remote.protocol == "v2" else "chat, completions or embeddings"
        raise FieldError(
            (*path, "operation"),
            f"protocol {remote.protocol} has {operations}, not {remote.operation}",
        )
    if not remote.upstreams:
        raise FieldError((*path, "upstreams"), "name at least one upstream, as `url: http://HOST:PORT`")
    names: set[str] = set()
    for index, upstream in enumerate(remote.upstreams):
        check_url(upstream.url, (*path, "upstreams", index))
        if upstream.url in names:
            raise FieldError(
                (*path, "upstreams", index), f"{upstream.url} is there twice; give it a weight instead"
            )
        names.add(upstream.url)
    if remote.protocol == "openai" and (remote.inputs or remote.outputs):
        key = "inputs" if remote.inputs else "outputs"
        raise FieldError((*path, key), f"the {key} of an openai model are known; leave them out")
    if (remote.inputs is None) != (remote.outputs is None):
        key = "outputs" if remote.outputs is None else "inputs"
        raise FieldError(
            (*path, key), "declare both inputs and outputs, or neither: the upstream is asked then"
        )


def check_url(url: str, path: FieldPath) -> None:
    """Raises: FieldError: not an address of a server, or one that holds a key."""
    parts = urlsplit(url)
    try:
        port_fits = parts.port != 0
    except ValueError:
        port_fits = False
    if "@" in parts.netloc:  # not shown: what stands before the @ is a secret
        raise FieldError(
            path, "an address holds no user or key; name the key's environment variable as `key_env:`"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_fits:
        raise FieldError(path, f"expected http://HOST:PORT or https://HOST, got {url!r}")
    if parts.query or parts.fragment:
        raise FieldError(
            path,
            f"an address ends with its path: leave {url[url.index(parts.path) + len(parts.path) :]!r} out",
        )
