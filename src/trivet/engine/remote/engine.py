"""A remote model at load: its signature, and single answers for whatever is measured before there is a loop."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Literal, TypeVar

from trivet.engine.contract import Tensors
from trivet.engine.remote.client import Client
from trivet.engine.remote.contract import Dialect, Outputs, TryError
from trivet.engine.remote.openai import EmbeddingsDialect, RawDialect
from trivet.engine.remote.v2 import V2Dialect, metadata_path, signature_of, with_batch_axis
from trivet.errors import BadRequestError, EngineError, SpecError
from trivet.spec.remote import Remote, Upstream
from trivet.spec.signature import Signature

# What an upstream is asked at load, and a row of data on its way to the stages behind it.
_ASKED_S = 5.0
_ANSWERED_S = 60.0

T = TypeVar("T")


class RemoteEngine:
    """As every engine; what serves requests is `runtime/remote_executor.py`, with the same dialect."""

    def __init__(self, remote: Remote, batch_axis: Literal["auto"] | bool = "auto") -> None:
        """Args: batch_axis: of a V2 model, whether axis 0 of all its tensors counts rows; auto: where it is free.

        Raises: SpecError: no key, or nobody tells the signature.  ExtraMissingError.
        """
        self.remote = remote
        self._batch_axis = batch_axis
        Client(remote)  # a missing key or package is told before anybody is asked
        self.dialect = self._dialect()

    @property
    def signature(self) -> Signature:
        return self.dialect.signature

    @property
    def streams(self) -> bool:
        """Its answers come in chunks, or as one chunk."""
        return self.remote.streams

    def run(self, inputs: Tensors) -> Outputs:
        asking = self.dialect.asking(inputs)

        async def ask(client: Client, upstream: Upstream) -> Outputs:
            return self.dialect.told(asking, *await client.ask(upstream.url, asking)).outputs

        try:
            return self._first_good(ask, _ANSWERED_S)
        except TryError as error:
            raise (BadRequestError if error.why == "request" else EngineError)(str(error)) from None

    def close(self) -> None:
        """Nothing is held."""

    def _dialect(self) -> Dialect:
        remote = self.remote
        if remote.operation == "embeddings":
            return EmbeddingsDialect(remote)
        if remote.protocol == "openai":
            return RawDialect(remote)
        if remote.inputs is not None and remote.outputs is not None:
            return self._v2(with_batch_axis(remote.inputs, remote.outputs))

        async def tell(client: Client, upstream: Upstream) -> Signature:
            told = await client.tell(upstream.url, metadata_path(remote))
            try:
                return signature_of(told, remote.model)
            except SpecError as error:
                raise TryError("rubbish", str(error)) from None

        try:
            return self._v2(self._first_good(tell, _ASKED_S))
        except TryError as error:
            raise SpecError(
                f"no upstream tells what model {remote.model!r} takes and gives ({error}); declare `inputs:` and "
                "`outputs:` under `remote:` to start without them"
            ) from None

    def _v2(self, found: Signature) -> V2Dialect:
        batch_axis = found.batch_axis if self._batch_axis == "auto" else self._batch_axis
        return V2Dialect(self.remote, Signature(found.inputs, found.outputs, batch_axis))

    def _first_good(self, ask: Callable[[Client, Upstream], Awaitable[T]], seconds: float) -> T:
        """What the first upstream that has an answer gives.

        Raises: TryError: all of what they said; `request`, where one calls the request wrong.
        """

        async def work() -> T:
            client, said = Client(self.remote), []
            try:
                for upstream in self.remote.upstreams:
                    try:
                        async with asyncio.timeout(seconds):
                            return await ask(client, upstream)
                    except TimeoutError:
                        said.append(f"{upstream.name}: no answer within {seconds:g} s")
                    except TryError as error:
                        said.append(client.told(upstream.name, error))
                        if error.why == "request":
                            raise TryError("request", said[-1]) from None
            finally:
                await client.close()
            raise TryError("connection", "; ".join(said))

        return asyncio.run(work())
