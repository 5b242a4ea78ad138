"""A real Redis: shared answers come and go with it; whatever happens to it, who asks is told in time."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest
from redis.asyncio import Redis

from tests.support.redis_server import RedisServer, free_port
from trivet.clock import MonotonicClock
from trivet.errors import SpecError
from trivet.runtime.counts import Counts
from trivet.runtime.fronts.kept import Kept, keep
from trivet.runtime.fronts.redis_store import RedisStore, check_store
from trivet.runtime.fronts.shared_answers import SharedAnswers
from trivet.runtime.fronts.shared_entry import KEY_PREFIX

NEVER = 1 << 62
SECOND_NS = 1_000_000_000


class Shared:
    """A worker's store, with one configuration's answers in it."""

    def __init__(self, url: str, patience_ns: int = 10 * SECOND_NS) -> None:
        self.said: list[str] = []
        self.store = RedisStore(
            url, asyncio.get_running_loop(), MonotonicClock.now_ns, self.said.append, patience_ns
        )
        self.counts = Counts()
        self.answers = SharedAnswers(self.store, self.counts, MonotonicClock.now_ns)

    async def look_up(self, key: bytes) -> Kept | None:
        """None: nothing was found, or nobody was asked."""
        found: asyncio.Future[Kept | None] = asyncio.get_running_loop().create_future()
        if not self.answers.look_up(key, NEVER, MonotonicClock.now_ns(), found.set_result):
            return None
        return await found

    async def keep(self, key: bytes, kept: Kept, ttl_ns: int | None = None) -> None:
        """Until the store has said what it makes of it."""
        before = sum(self.outcomes("stores").values())
        self.answers.store(key, kept, ttl_ns)
        while sum(self.outcomes("stores").values()) == before:
            await asyncio.sleep(0)

    def outcomes(self, what: str) -> dict[str, int | float]:
        family = f"trivet_cache_shared_{what}_total"
        return {labels["outcome"]: value for name, labels, value in self.counts.snapshot() if name == family}

    @property
    def is_up(self) -> bool:
        return self.counts.of("trivet_cache_shared_up").value == 1


def run(
    url: str, work: Callable[[Shared], Coroutine[Any, Any, None]], patience_ns: int = 10 * SECOND_NS
) -> None:
    """With so much patience that a busy machine is never taken for a slow store."""

    async def main() -> None:
        shared = Shared(url, patience_ns)
        try:
            await work(shared)
        finally:
            await shared.store.close()

    asyncio.run(main())


def answer(value: float, num: int = 4) -> Kept:
    return keep({"y": np.full((1, num), value, np.float32)}, ["y"], 1, MonotonicClock.now_ns())


def key(name: str) -> bytes:
    return name.encode().ljust(24, b".")


def test_what_one_worker_keeps_another_finds(redis_url: str) -> None:
    async def work(shared: Shared) -> None:
        assert await shared.look_up(key("found")) is None
        await shared.keep(key("found"), answer(1.5))
        other = Shared(redis_url)
        found = await other.look_up(key("found"))
        assert found is not None
        assert found.tensors["y"].tolist() == [[1.5] * 4]
        assert (shared.outcomes("lookups"), shared.outcomes("stores")) == ({"miss": 1}, {"ok": 1})
        assert other.outcomes("lookups") == {"hit": 1}
        await other.store.close()

    run(redis_url, work)


def test_many_are_asked_at_once(redis_url: str) -> None:
    async def work(shared: Shared) -> None:
        for number in range(0, 600, 2):
            shared.answers.store(key(f"many{number}"), answer(number), None)
        while shared.outcomes("stores") != {"ok": 300}:
            await asyncio.sleep(0)
        found = await asyncio.gather(*[shared.look_up(key(f"many{number}")) for number in range(600)])
        assert [None if one is None else one.tensors["y"][0, 0] for one in found] == [
            None if number % 2 else number for number in range(600)
        ]

    run(redis_url, work)


def test_it_is_kept_there_as_long_as_it_is_fresh(redis_url: str) -> None:
    async def work(shared: Shared) -> None:
        old = keep({"y": np.zeros(1)}, ["y"], 1, MonotonicClock.now_ns() - 40 * SECOND_NS)
        await shared.keep(key("aged"), old, 100 * SECOND_NS)
        await shared.keep(key("for ever"), answer(1), None)
        shared.answers.store(key("over"), old, 40 * SECOND_NS)
        client = Redis.from_url(redis_url)
        assert 55_000 < await client.pttl(KEY_PREFIX + key("aged")) <= 60_000
        assert await client.pttl(KEY_PREFIX + key("for ever")) == -1
        assert await client.pttl(KEY_PREFIX + key("over")) == -2
        await client.aclose()
        found = await shared.look_up(key("aged"))
        assert found is not None
        age_ns = MonotonicClock.now_ns() - found.stored_ns
        assert 40 * SECOND_NS <= age_ns < 50 * SECOND_NS

    run(redis_url, work)


@pytest.mark.parametrize("foreign", [b"", b"TRVT\x02" + b"x" * 40, b"a text", b"\x00" * 1000])
def test_what_another_version_left_is_not_an_answer(redis_url: str, foreign: bytes) -> None:
    async def work(shared: Shared) -> None:
        client = Redis.from_url(redis_url)
        await client.set(KEY_PREFIX + key("foreign"), foreign)
        assert await shared.look_up(key("foreign")) is None
        assert shared.outcomes("lookups") == {"foreign": 1}
        assert shared.is_up
        await shared.keep(key("foreign"), answer(2))
        assert await shared.look_up(key("foreign")) is not None
        await client.aclose()

    run(redis_url, work)


def test_a_key_that_holds_something_else_is_a_miss(redis_url: str) -> None:
    async def work(shared: Shared) -> None:
        client = Redis.from_url(redis_url)
        await client.rpush(KEY_PREFIX + key("list"), b"x")
        assert await shared.look_up(key("list")) is None
        assert shared.is_up
        await client.aclose()

    run(redis_url, work)


def test_who_has_little_time_does_not_ask(redis_url: str) -> None:
    async def work(shared: Shared) -> None:
        now_ns = MonotonicClock.now_ns()
        assert not shared.answers.look_up(key("a"), now_ns + 30 * SECOND_NS, now_ns, lambda _: None)
        assert shared.outcomes("lookups") == {"no_time": 1}

    run(redis_url, work)


def test_without_a_server_nobody_waits_and_it_is_said_once() -> None:
    port = free_port()

    async def work(shared: Shared) -> None:
        found = await asyncio.gather(*[shared.look_up(key(str(number))) for number in range(50)])
        assert found == [None] * 50
        assert not shared.is_up
        assert await shared.look_up(key("later")) is None
        shared.answers.store(key("later"), answer(1), None)
        assert shared.outcomes("lookups") == {"error": 50, "down": 1}
        assert shared.outcomes("stores") == {"down": 1}
        assert [line.startswith("cache: going on without") for line in shared.said] == [True]
        assert "secret" not in shared.said[0]
        assert f"redis://127.0.0.1:{port}/0: " in shared.said[0]

    run(f"redis://anne:secret@127.0.0.1:{port}/0?health_check_interval=0", work)


def test_it_says_so_before_the_first_request() -> None:
    async def work(shared: Shared) -> None:
        shared.store.start()
        while not shared.said:
            await asyncio.sleep(0)
        assert not shared.is_up

    run(f"redis://127.0.0.1:{free_port()}/0", work)


def test_one_that_hangs_is_given_up_and_taken_back() -> None:
    with RedisServer() as server:

        async def work(shared: Shared) -> None:
            await shared.keep(key("a"), answer(1))
            assert await shared.look_up(key("a")) is not None
            server.freeze()
            shared.store.patience_ns = SECOND_NS // 50
            begun_ns = MonotonicClock.now_ns()
            for _ in range(3):
                assert await shared.look_up(key("a")) is None
            assert MonotonicClock.now_ns() - begun_ns >= 3 * SECOND_NS // 50
            assert (shared.is_up, shared.outcomes("lookups")["timeout"]) == (False, 3)
            timer = shared.store._timer
            assert timer is not None
            timer.cancel()  # what it would do is done here
            shared.store.patience_ns = 10 * SECOND_NS
            server.thaw()
            await shared.store._probe()
            assert shared.is_up
            assert await shared.look_up(key("a")) is not None
            assert [line.split(":")[1].split(" redis")[0] for line in shared.said] == [
                " going on without the shared store",
                " the shared store",
            ]

        run(server.url, work)


def test_one_that_dies_under_load_takes_no_answer_with_it() -> None:
    with RedisServer() as server:

        async def work(shared: Shared) -> None:
            await shared.keep(key("a"), answer(1, 10_000))
            asked = [asyncio.ensure_future(shared.look_up(key("a"))) for _ in range(2000)]
            for number in range(200):
                shared.answers.store(key(f"b{number}"), answer(number, 10_000), None)
            await asked[0]
            server.kill()
            found = await asyncio.gather(*asked)
            assert {None if one is None else one.tensors["y"].shape for one in found} >= {(1, 10_000)}
            while shared.is_up:
                await shared.look_up(key("a"))
            assert sum(shared.outcomes("lookups").values()) >= 2000
            timer = shared.store._timer
            assert timer is not None
            timer.cancel()  # what it would do is done here
            while sum(shared.outcomes("stores").values()) < 201:
                await asyncio.sleep(0)
            server.start()
            await shared.store._probe()
            assert shared.is_up
            assert await shared.look_up(key("a")) is None
            await shared.keep(key("a"), answer(2))
            assert await shared.look_up(key("a")) is not None

        run(server.url, work)


def test_the_first_answer_after_it_is_back_is_kept() -> None:
    with RedisServer() as server:

        async def work(shared: Shared) -> None:
            await shared.keep(key("a"), answer(1))
            server.kill()
            while shared.is_up:
                await shared.look_up(key("a"))
            timer = shared.store._timer
            assert timer is not None
            timer.cancel()  # what it would do is done here
            server.start()
            await shared.store._probe()
            await shared.keep(key("b"), answer(2))
            assert shared.outcomes("stores") == {"ok": 2}
            assert shared.is_up

        run(server.url, work)


def test_one_that_is_full_is_asked_and_not_given_more() -> None:
    with RedisServer("--maxmemory", "2mb", "--maxmemory-policy", "noeviction") as server:

        async def work(shared: Shared) -> None:
            await shared.keep(key("small"), answer(1))
            while "full" not in shared.outcomes("stores"):
                await shared.keep(key(f"n{sum(shared.outcomes('stores').values())}"), answer(1, 100_000))
            await shared.keep(key("more"), answer(1, 100_000))
            assert shared.is_up
            assert await shared.look_up(key("small")) is not None
            assert await shared.look_up(key("more")) is None
            assert ["is full" in line for line in shared.said] == [True]

        run(server.url, work)


def test_no_more_waits_to_be_kept_than_there_is_room_for(redis_url: str) -> None:
    async def work(shared: Shared) -> None:
        large = answer(1, 1_500_000)
        for number in range(4):
            shared.answers.store(key(f"large{number}"), large, None)
        assert shared.outcomes("stores") == {"dropped": 2}
        while sum(shared.outcomes("stores").values()) < 4:
            await asyncio.sleep(0)
        assert shared.outcomes("stores") == {"dropped": 2, "ok": 2}

    run(redis_url, work)


@pytest.mark.parametrize(
    "url", ["localhost:6379", "http://localhost", "redis://host:port/0", "redis://h:secret@x:y/0"]
)
def test_an_address_that_is_none_is_told_without_its_password(url: str) -> None:
    with pytest.raises(SpecError, match="cache_url") as caught:
        check_store(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["redis://h/1", "valkey://h:1/0", "rediss://u:p@h:1", "valkeys://h", "unix:///tmp/s"]
)
def test_addresses_of_all_kinds_are_taken(url: str) -> None:
    check_store(url)

    async def work(shared: Shared) -> None:
        assert shared.store._client().connection_pool is not None

    run(url, work)
