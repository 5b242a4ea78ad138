"""Features in Redis or Valkey: fetched before a request begins, looked up in memory when its turn comes.

As a front it holds a request until its entities are here; those of one turn of the loop, and those that come while others
are on their way, travel together. Nobody waits longer than twice the declared timeout, and while the store does not answer
nobody waits at all.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from cachetools import TTLCache
from numpy.typing import NDArray

from trivet.clock import MonotonicClock
from trivet.errors import BadRequestError, ExtraMissingError, RequestError
from trivet.runtime.counts import Counts
from trivet.runtime.features.entity_key import entity_keys
from trivet.runtime.features.table import MISSING, UNAVAILABLE, FeatureRows
from trivet.runtime.results import Results
from trivet.spec.features import Features
from trivet.wire.tensor import as_array

if TYPE_CHECKING:
    from redis import Redis as BlockingRedis
    from redis.asyncio import Redis

    from trivet.runtime.request import Request

_MAX_ENTITIES = 100_000  # in memory
_FRESH_S = 1.0  # after so long they are fetched again, when somebody asks
# What is older than that is still taken while the store does not answer, and by who asked just before.
_KEPT_S = 10.0
_DOWN_NS = 1_000_000_000  # until the store is asked again after it has not answered
_LOAD_TIMEOUT_S = 2.0  # before anybody is served

Row = Mapping[str, NDArray[Any]]


class _Found(NamedTuple):
    """row: or why there is none. updated_s: when it was written, fetched_ns: when it was read."""

    row: Row | int
    updated_s: float
    fetched_ns: int


class FeatureStore:
    """A FeatureSource, and the front that fills it.

    Args: url: with its password, if any; never repeated.
    """

    name = "features"

    def __init__(self, declared: Features, url: str, say: Callable[[str], None]) -> None:
        _check_client()
        self._declared = declared
        self._url = url
        self._say = say
        self._columns = list(dict.fromkeys(name for names in declared.tensors.values() for name in names))
        if declared.updated is not None:
            self._columns.append(declared.updated)
        self._now_ns: Callable[[], int] = MonotonicClock.now_ns
        self._local: TTLCache[bytes, _Found] = TTLCache(
            _MAX_ENTITIES, _KEPT_S, timer=lambda: self._now_ns() / 1e9
        )
        self._blocking: BlockingRedis | None = None
        self._client: Redis | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._place = 0
        self._datatype = ""
        self._waiting: list[tuple[list[bytes], Callable[[], None]]] = []
        self._fetching: asyncio.Task[None] | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._down_until_ns = 0
        self._is_down = False

    def ask_for(self, place: int, datatype: str) -> None:
        """Args: place: of the input that names entities, in the service's signature."""
        self._place, self._datatype = place, datatype

    # --- as a FeatureSource -------------------------------------------------------------------------------------

    def begin(self, loop: asyncio.AbstractEventLoop, _counts: Counts, now_ns: Callable[[], int]) -> None:
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        if self._blocking is not None:
            self._blocking.close()
            self._blocking = None
        self._loop, self._now_ns = loop, now_ns
        self._local.clear()
        self._client = Redis.from_url(self._url, retry=Retry(NoBackoff(), 0))
        self._connecting = loop.create_task(self._connect(self._client))

    async def _connect(self, client: "Redis") -> None:
        """So that the first request need not. Where it cannot be reached, the first request says so."""
        from redis import RedisError

        with contextlib.suppress(RedisError, OSError):
            await client.ping()

    def fetch(self, keys: Sequence[bytes]) -> None:
        from redis import Redis, RedisError

        wanted = [key for key in dict.fromkeys(keys) if key not in self._local]
        if self._blocking is None:
            self._blocking = Redis.from_url(
                self._url, socket_timeout=_LOAD_TIMEOUT_S, socket_connect_timeout=_LOAD_TIMEOUT_S
            )
        pipeline = self._blocking.pipeline(transaction=False)
        for key in wanted:
            pipeline.hmget(self._key(key), self._columns)
        try:
            self._keep(wanted, pipeline.execute(raise_on_error=False))
        except RedisError as error:
            self._say(f"{self._declared.table} does not answer: {_plain(error)}")

    def find(self, keys: Sequence[bytes]) -> FeatureRows:
        rows: list[Row] = []
        updated: list[float] = []
        places: list[int] = []
        for key in keys:
            found = self._local.get(key)
            row = UNAVAILABLE if found is None else found.row
            if isinstance(row, int):
                places.append(row)
                continue
            assert found is not None  # or there would be no row
            places.append(len(rows))
            rows.append(row)
            updated.append(found.updated_s)
        rows = rows or [self._blank()]
        tensors = {name: np.stack([row[name] for row in rows]) for name in self._declared.tensors}
        return FeatureRows(places, tensors, np.array(updated, np.float64))

    def close(self) -> None:
        for task in (self._connecting, self._fetching):
            if task is not None:
                task.cancel()
        client, self._client = self._client, None
        if client is not None and self._loop is not None:
            self._loop.create_task(client.aclose())
        if self._blocking is not None:
            self._blocking.close()

    # --- as a Front ---------------------------------------------------------------------------------------------

    def ask(self, request: "Request", go_on: Callable[[], None]) -> bool:
        tensor = request.message.inputs[self._place]
        try:
            named = entity_keys(self._declared.key, as_array(self._datatype, tensor.data, tensor.shape))
        except BadRequestError:
            return False  # the stage says so
        since_ns = self._now_ns() - int(_FRESH_S * 1e9)
        wanted = [key for key in named if not self._is_fresh(key, since_ns)]
        if not wanted or self._now_ns() < self._down_until_ns or self._loop is None:
            return False
        self._waiting.append((wanted, go_on))
        if self._fetching is None:
            self._fetching = self._loop.create_task(self._fetch_all())
        return True

    def _is_fresh(self, key: bytes, since_ns: int) -> bool:
        found = self._local.get(key)
        return found is not None and found.fetched_ns >= since_ns

    def answered(self, request: "Request", results: Results, start: int) -> None:
        """Only what comes before a request is of interest."""

    def failed(self, request: "Request", error: RequestError) -> None:
        """The entities are fetched nevertheless: another may want them."""

    def stale(self, request: "Request") -> Results | None:
        return None

    async def _fetch_all(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            wanted = list(dict.fromkeys(key for keys, _ in waiting for key in keys))
            if self._now_ns() >= self._down_until_ns:
                await self._fetch(wanted)
            for _, go_on in waiting:
                loop.call_soon(go_on)  # whatever becomes of one, the others go on
        self._fetching = None

    async def _fetch(self, keys: Sequence[bytes]) -> None:
        from redis import RedisError

        client = self._client
        if client is None:
            return
        pipeline = client.pipeline(transaction=False)
        for key in keys:
            pipeline.hmget(self._key(key), self._columns)
        try:
            async with asyncio.timeout(self._declared.timeout_ns / 1e9):
                found = await pipeline.execute(raise_on_error=False)
        except (RedisError, OSError, TimeoutError) as error:
            self._down_until_ns = self._now_ns() + _DOWN_NS
            if not self._is_down:
                self._say(f"{self._declared.table} does not answer: {_plain(error)}; asked again each second")
            self._is_down = True
            with contextlib.suppress(RedisError, OSError):
                await client.connection_pool.disconnect(inuse_connections=True)
            return
        if self._is_down:
            self._is_down = False
            self._say(f"{self._declared.table} answers again")
        self._keep(keys, found)

    # --- what a hash means --------------------------------------------------------------------------------------

    def _key(self, key: bytes) -> bytes:
        return self._declared.prefix.encode() + key

    def _keep(self, keys: Sequence[bytes], found: Sequence[Any]) -> None:
        now_ns = self._now_ns()
        for key, values in zip(keys, found, strict=True):
            self._local[key] = _Found(*self._row(values), now_ns)

    def _row(self, values: Any) -> tuple[Row | int, float]:
        """Args: values: of the columns, in their order; an exception where the key holds no hash."""
        if not isinstance(values, list):
            return UNAVAILABLE, 0.0
        given = dict(zip(self._columns, values, strict=True))
        updated = self._declared.updated
        if any(value is None for name, value in given.items() if name != updated):
            return MISSING, 0.0
        try:
            when = float(given.get(updated) or 0.0) if updated is not None else 0.0
            row = {
                name: self._tensor(name, [given[column] for column in columns])
                for name, columns in self._declared.tensors.items()
            }
        except ValueError:  # another version's: what should be a number is none
            return UNAVAILABLE, 0.0
        return row, when

    def _tensor(self, name: str, values: Sequence[bytes]) -> NDArray[Any]:
        """Numbers, unless its default is text. Raises: ValueError: not a number."""
        array: NDArray[Any]
        if isinstance(self._declared.default.get(name), str):
            array = np.array(values, np.object_)
        else:
            array = np.array([float(value) for value in values], np.float64)
        return array if self._declared.is_joined(name) else array.reshape(())

    def _blank(self) -> Row:
        """For its types and shapes."""
        return {
            name: self._tensor(name, [b"0"] * len(columns))
            for name, columns in self._declared.tensors.items()
        }


def _plain(error: BaseException) -> str:
    """What it was, without addresses or words of the store's."""
    return type(error).__name__


def _check_client() -> None:
    """Raises: ExtraMissingError."""
    try:
        import redis.asyncio  # noqa: F401  # a slow import: here, off the loop
    except ImportError:
        raise ExtraMissingError("features in Redis", "redis") from None
