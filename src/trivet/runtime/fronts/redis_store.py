"""Redis or Valkey as a store that servers share: asked without anybody waiting long, given up when it is not well.

Lookups of one turn of the loop travel as one MGET, and so do those that come while one is on its way; answers that are to
be kept take a connection of their own, so that no lookup waits behind a large one. No request waits longer than
twice the store's patience, whatever the store does.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from trivet.errors import ExtraMissingError, SpecError
from trivet.pipeline.shared_store import StoreBreaker

if TYPE_CHECKING:
    from redis.asyncio import Redis

PATIENCE_NS: Final = 20_000_000  # an answer that takes longer than this is no use to who waits for it
_PROBE_PATIENCE_S: Final = 1.0
_MOST_PENDING_BYTES: Final = 16 * 2**20  # of answers on their way to the store; more are not kept there
_MOST_AT_ONCE: Final = 256
_MOST_WRITTEN_BYTES: Final = 2**20  # in one go: what is cut off after PATIENCE is tried by nobody
_WRITE_PATIENCE_S: Final = 1.0
_SCHEMES: Final = {"valkey": "redis", "valkeys": "rediss"}
_KNOWN: Final = ("redis", "rediss", "unix", "valkey", "valkeys")

Got = Callable[[bytes | None, str], None]  # what was found, and else why not: miss, timeout, error
Stored = Callable[[str], None]  # ok, full, refused, timeout, error, dropped


def check_store(url: str) -> None:
    """Reads the client's modules, which takes a while: not in the loop.

    Raises: ExtraMissingError: there is no client. SpecError: the address is none; what it says is not repeated, for it may
    hold a password.
    """
    try:
        from redis.asyncio.connection import parse_url
    except ImportError:
        raise ExtraMissingError("a cache that servers share (cache_url)", "redis") from None
    try:
        parse_url(_plain_url(url))
    except ValueError as error:
        raise SpecError(
            f"cache_url is no address of a store: {error}; expected redis://HOST:PORT/NUMBER"
        ) from None


def _plain_url(url: str) -> str:
    scheme, colon, rest = url.partition("://")
    if not colon or scheme not in _KNOWN:
        raise ValueError(f"it does not begin with one of {', '.join(f'{known}://' for known in _KNOWN)}")
    return f"{_SCHEMES.get(scheme, scheme)}://{rest}"


def _shown(url: str) -> str:
    """Without user, password and options."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('?')[0].rpartition('@')[2]}"


class RedisStore:
    """One for each worker; everything in its loop.

    Args: say: for the log, when the store is given up and when it is back. patience_ns: for one lookup; whoever asks
        waits for at most twice as long.
    """

    def __init__(
        self,
        url: str,
        loop: asyncio.AbstractEventLoop,
        now_ns: Callable[[], int],
        say: Callable[[str], None],
        patience_ns: int = PATIENCE_NS,
    ) -> None:
        self.patience_ns = patience_ns
        self.watchers: list[Callable[[bool], None]] = []  # told of each change of `is_up`
        self._url = url
        self._loop = loop
        self._now_ns = now_ns
        self._say = say
        self._breaker = StoreBreaker()
        self._gets: list[tuple[bytes, Got]] = []
        self._puts: list[tuple[bytes, bytes, int | None, Stored]] = []
        self._put_bytes = 0
        self._reader: Redis | None = None
        self._writer: Redis | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_reading = False
        self._is_writing = False
        self._is_full = False  # said once
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Connect before the first request wants it, and say so where that is not possible."""
        self._spawn(self._probe())

    @property
    def is_up(self) -> bool:
        return not self._breaker.is_open

    def get(self, key: bytes, done: Got) -> None:
        """`done` is called later, once."""
        self._gets.append((key, done))
        if not self._is_reading:
            self._is_reading = True
            self._spawn(self._read())

    def put(self, key: bytes, data: bytes, ttl_ns: int | None, done: Stored) -> None:
        if self._put_bytes + len(data) > _MOST_PENDING_BYTES:
            done("dropped")
            return
        self._put_bytes += len(data)
        self._puts.append((key, data, ttl_ns, done))
        if not self._is_writing:
            self._is_writing = True
            self._spawn(self._write())

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(_close(self._reader), _close(self._writer))

    def _spawn(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _client(self) -> "Redis":
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        # The library would try again, and wait: here somebody waits for the answer, and the breaker decides.
        return Redis.from_url(_plain_url(self._url), retry=Retry(NoBackoff(), 0), protocol=2)

    # --- lookups ------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        try:
            while self._gets:
                batch, self._gets = self._gets[:_MOST_AT_ONCE], self._gets[_MOST_AT_ONCE:]
                await self._read_batch(batch)
        finally:
            self._is_reading = False

    async def _read_batch(self, batch: list[tuple[bytes, Got]]) -> None:
        word, found = "miss", list[Any]()
        try:
            async with asyncio.timeout(self.patience_ns / 1e9):
                self._reader = self._reader or self._client()
                found = await self._reader.mget([key for key, _ in batch])
        except Exception as error:  # whatever the library or the store says: somebody waits for an answer
            self._let_go_of_reader()
            word = self._failed(error)
            # Who came meanwhile has waited as well.
            batch, self._gets = batch + self._gets, []
            found = [None] * len(batch)
        else:
            self._succeeded()
        for (_, done), data in zip(batch, found, strict=True):
            self._loop.call_soon(done, data, word)

    # --- answers that are to be kept ----------------------------------------------------------------------------

    async def _write(self) -> None:
        try:
            while self._puts:
                await self._write_batch(self._next_puts())
        finally:
            self._is_writing = False

    def _next_puts(self) -> list[tuple[bytes, bytes, int | None, Stored]]:
        size, num = 0, 0
        for _, data, _, _ in self._puts[:_MOST_AT_ONCE]:
            if num and size + len(data) > _MOST_WRITTEN_BYTES:
                break
            size += len(data)
            num += 1
        batch, self._puts = self._puts[:num], self._puts[num:]
        self._put_bytes -= size
        return batch

    async def _write_batch(self, batch: list[tuple[bytes, bytes, int | None, Stored]]) -> None:
        words: list[str]
        try:
            async with asyncio.timeout(_WRITE_PATIENCE_S):
                self._writer = self._writer or self._client()
                pipe = self._writer.pipeline(transaction=False)
                for key, data, ttl_ns, _ in batch:
                    pipe.set(key, data, px=None if ttl_ns is None else ttl_ns // 1_000_000)
                replies = await pipe.execute(raise_on_error=False)
        except Exception as error:  # as above; the lookups find out whether it is well
            self._let_go_of_writer()
            words = [self._failed(error)] * len(batch)
        else:
            words = [self._word_of(reply) for reply in replies]
        for (_, _, _, stored), word in zip(batch, words, strict=True):
            stored(word)

    def _word_of(self, reply: object) -> str:
        if not isinstance(reply, Exception):
            self._is_full = False
            return "ok"
        is_full = "OOM" in str(reply) or "used memory" in str(reply)
        if not self._is_full:
            self._is_full = True
            why = "is full" if is_full else f"refuses answers ({reply})"
            self._say(
                f"cache: the shared store {_shown(self._url)} {why}: what it does not take is kept here only"
            )
        return "full" if is_full else "refused"

    # --- whether it is well -------------------------------------------------------------------------------------

    def _failed(self, error: Exception, *, is_certain: bool = False) -> str:
        is_slow = isinstance(error, TimeoutError)
        if self._breaker.failed(self._now_ns(), is_certain=is_certain or not is_slow):
            why = "it is too slow" if is_slow else f"{type(error).__name__}: {error}"
            self._say(f"cache: going on without the shared store {_shown(self._url)}: {why}")
            self._tell()
            if not self._is_writing:  # its connection is to what is gone: the next answer would be lost on it
                self._let_go_of_writer()
            self._arm_probe()
        return "timeout" if is_slow else "error"

    def _succeeded(self) -> None:
        if self._breaker.succeeded():
            self._say(f"cache: the shared store {_shown(self._url)} answers again")
            self._tell()

    def _tell(self) -> None:
        for watcher in self.watchers:
            watcher(self.is_up)

    def _arm_probe(self) -> None:
        delay_s = max(0, self._breaker.probe_at_ns - self._now_ns()) / 1e9
        self._timer = self._loop.call_later(delay_s, lambda: self._spawn(self._probe()))

    async def _probe(self) -> None:
        """Ask for nothing, as quickly as lookups want it, after a connection has been made with patience."""
        client = self._client()
        try:
            async with asyncio.timeout(max(_PROBE_PATIENCE_S, self.patience_ns / 1e9)):
                await client.ping()
            async with asyncio.timeout(self.patience_ns / 1e9):
                await client.mget([b"trivet:probe"])
        except Exception as error:  # as above
            self._spawn(_close(client))
            if self.is_up:
                self._failed(error, is_certain=True)
            else:  # which has been said
                self._breaker.probe_failed(self._now_ns())
                self._arm_probe()
        else:
            if self._reader is None:
                self._reader = client
            else:  # somebody may be waiting at it
                self._spawn(_close(client))
            self._succeeded()

    def _let_go_of_reader(self) -> None:
        """What a broken-off command left on its connection would be taken for the answer to the next."""
        client, self._reader = self._reader, None
        self._spawn(_close(client))

    def _let_go_of_writer(self) -> None:
        client, self._writer = self._writer, None
        self._spawn(_close(client))


async def _close(client: "Redis | None") -> None:
    if client is None:
        return
    with contextlib.suppress(
        Exception
    ):  # its other end may be gone, or deaf: nothing is wanted of it any more
        async with asyncio.timeout(_PROBE_PATIENCE_S):
            await client.aclose()
