"""Tries over HTTP, with aiohttp: one request, one answer or one `TryError`, whatever the upstream does.

Nothing is kept of a try that is cancelled: its connection is closed, so that the upstream sees that nobody waits. The key
goes into one header and nowhere else; `told` searches for it what an upstream says back.
"""

import asyncio
import json
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

from trivet.engine.remote.contract import Asking, TryError, status_error
from trivet.errors import ExtraMissingError, SpecError
from trivet.spec.remote import Remote
from trivet.wire.sse import EventReader

if TYPE_CHECKING:
    import aiohttp

_MAX_ANSWER = 256 * 2**20
# Between two parts of a stream: a service that thinks for longer sends comments meanwhile.
_MAX_SILENCE_S = 60.0
_SHORTEST_KEY = 6  # a shorter one would be found in any text


class Client:
    """Of one model; for one event loop. Connections are kept between tries."""

    def __init__(self, remote: Remote, max_silence_s: float = _MAX_SILENCE_S) -> None:
        """Raises: SpecError: the environment has no such key.  ExtraMissingError."""
        try:
            import aiohttp  # said at load, not by the first request
        except ImportError:
            raise ExtraMissingError("a model on another server", "remote") from None
        self._key = _key(remote)
        self._max_silence_s = max_silence_s
        self._session: aiohttp.ClientSession | None = None

    async def ask(self, url: str, asking: Asking) -> tuple[Mapping[str, str], bytes]:
        """Headers and body of a whole answer of status 200. Raises: TryError."""
        import aiohttp

        try:
            async with self._post(url, asking) as response:
                body = await _whole(response)
                self._check_status(response, body)
                return response.headers, body
        except (aiohttp.ClientError, OSError, EOFError) as error:
            raise self._connection(error) from None

    async def stream(self, url: str, asking: Asking) -> AsyncGenerator[bytes, None]:
        """The data of each event, as it comes. Raises: TryError, also in the middle."""
        import aiohttp

        reader = EventReader()
        try:
            async with self._post(url, asking) as response:
                if response.status != 200:
                    self._check_status(response, await _whole(response))
                if response.content_type != "text/event-stream":
                    raise TryError("rubbish", f"{response.content_type} came where a stream was asked for")
                while piece := await self._piece(response):
                    for data in reader.feed(piece):
                        yield data
        except OverflowError as error:
            raise TryError("rubbish", str(error)) from None
        except (aiohttp.ClientError, OSError, EOFError) as error:
            raise self._connection(error) from None

    async def tell(self, url: str, path: str) -> Any:
        """What an upstream tells of itself, as JSON. Raises: TryError."""
        import aiohttp

        try:
            async with self._opened().get(_joined(url, path), headers=self._headers({})) as response:
                body = await _whole(response)
                self._check_status(response, body)
        except (aiohttp.ClientError, OSError, EOFError) as error:
            raise self._connection(error) from None
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise TryError("rubbish", f"{path} is not JSON") from None

    def told(self, name: str, error: TryError) -> str:
        """What may be said of a failed try of an upstream: it may have said the key back."""
        text = f"{name}: {error}"
        return text if self._key is None else text.replace(self._key, "***")

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _post(self, url: str, asking: Asking) -> "AbstractAsyncContextManager[aiohttp.ClientResponse]":
        # No redirects: they would carry the key to whomever the upstream names.
        return self._opened().post(
            _joined(url, asking.path),
            data=asking.body,
            headers=self._headers(asking.headers),
            allow_redirects=False,
        )

    def _opened(self) -> "aiohttp.ClientSession":
        import aiohttp

        if self._session is None:
            # Times are the calls' own (pipeline/attempts.py); as many connections as there are tries.
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                timeout=aiohttp.ClientTimeout(),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    def _headers(self, own: Mapping[str, str]) -> dict[str, str]:
        return dict(own) if self._key is None else {**own, "Authorization": f"Bearer {self._key}"}

    async def _piece(self, response: "aiohttp.ClientResponse") -> bytes:
        try:
            async with asyncio.timeout(self._max_silence_s):
                return await response.content.readany()
        except TimeoutError:
            raise TryError(
                "timeout", f"silent in the middle of a stream for {self._max_silence_s:g} s"
            ) from None

    def _check_status(self, response: "aiohttp.ClientResponse", body: bytes) -> None:
        if response.status != 200:
            raise status_error(response.status, response.headers, body)

    def _connection(self, error: Exception) -> TryError:
        text = str(error) or type(error).__name__
        return TryError("connection", text)


async def _whole(response: "aiohttp.ClientResponse") -> bytes:
    pieces: list[bytes] = []
    size = 0
    async for piece in response.content.iter_any():
        size += len(piece)
        if size > _MAX_ANSWER:
            raise TryError("rubbish", f"the answer has more than {_MAX_ANSWER} bytes")
        pieces.append(piece)
    return b"".join(pieces)


def _joined(url: str, path: str) -> str:
    """OpenAI's clients are given addresses that end in /v1, other people's without it: both are right."""
    base = url.rstrip("/")
    return base + (path.removeprefix("/v1") if base.endswith("/v1") else path)


def _key(remote: Remote) -> str | None:
    if remote.key_env is None:
        return None
    key = os.environ.get(remote.key_env, "").strip()
    if len(key) < _SHORTEST_KEY or not key.isascii() or not key.isprintable():
        what = (
            "is not set" if not key else f"holds no key: at least {_SHORTEST_KEY} printable ASCII characters"
        )
        raise SpecError(f"key_env: the environment variable {remote.key_env} {what}")
    return key
